"""Export a run's model as ONNX, in a folder with all that is needed to use it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.common.experiment import Experiment
from experiments.common.options import Parser
from experiments.common.trained_run import open_run

FOLDER, MODEL = "onnx", "model.onnx"

DESCRIPTION = """\
Write the model of a run as ONNX, for programs without Keras: FOLDER then holds
{model}, vocabulary.json, and the program {page}, which uses them with onnxruntime
alone, by the module lstm_tokenizers.py beside it.
"""


def export(experiment: Experiment, page: Path, argv: Sequence[str]) -> None:
    """Export the run on a command line.

    Args:
        experiment: The experiment of the run.
        page: The program that uses the model, which is copied beside it.
        argv: The arguments.
    """
    parser = Parser(
        prog=f"{experiment.program} export",
        description=DESCRIPTION.format(model=MODEL, page=page.name),
    )
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        help="where to write to (default: the folder onnx in RUN)",
    )
    parser.add_argument(
        "--quantize",
        action="store_true",
        help="round the weights to 8 bits: a file of a quarter of the size",
    )
    arguments = parser.parse_args(argv)
    run = open_run(arguments.run, experiment.name)
    folder = Path(arguments.folder or run.path / FOLDER)
    from lstm_keras import export_onnx
    from lstm_keras.preprocessing import tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    done = export_onnx(run, folder / MODEL, quantize=arguments.quantize)
    shutil.copy(page, folder)
    shutil.copy(tokenizers.__file__, folder / "lstm_tokenizers.py")
    size = done.path.stat().st_size / 2**20
    print(f"{done.path}: {size:.1f} MiB, {', '.join(done.inputs)} to")
    print(f"  {', '.join(done.outputs)}")
    if done.largest_error is None:
        print("onnxruntime is not installed: not compared with Keras")
    else:
        print(f"Largest difference from Keras: {done.largest_error:.1g}")


class ExportedModel:
    """The model that was exported from a run, in the place of its Keras model.

    Args:
        run: The run's folder.

    Raises:
        FileNotFoundError: It has not been exported.
        ModuleNotFoundError: `onnxruntime` is not installed.
        ValueError: The file is damaged.
    """

    def __init__(self, run: Path):
        file = run / FOLDER / MODEL
        if not file.is_file():
            raise FileNotFoundError(
                f"expected an exported model at {file}; the command export writes it"
            )
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(file)
        except Exception as error:  # onnxruntime's errors have no class in common
            raise ValueError(
                f"expected an ONNX model in {file}; run the command export again "
                f"({error})"
            ) from error

    def predict(self, inputs: Any, batch_size: int, verbose: int = 0) -> Any:
        """Return the only output for the only input, as `keras.Model.predict` does."""
        import numpy as np

        (name,) = (one.name for one in self._session.get_inputs())
        return np.concatenate(
            [
                self._session.run(None, {name: inputs[start : start + batch_size]})[0]
                for start in range(0, len(inputs), batch_size)
            ]
        )
