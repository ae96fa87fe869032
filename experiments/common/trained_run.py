"""Open a run to use its model; a wrong folder is refused before Keras is loaded."""

from collections.abc import Sequence
from pathlib import Path

from experiments.common.files import read_json
from experiments.common.options import closest
from experiments.common.terminal import start_up_messages_held


def check_run(path: str | Path, *experiments: str) -> str:
    """Refuse a folder that is not a finished run of an experiment, without Keras.

    Args:
        path: The folder.
        *experiments: Of which experiments it may be a run.

    Returns:
        The experiment that it is a run of.

    Raises:
        FileNotFoundError: The folder, or a file in it, is missing.
        ValueError: It is a run of another experiment, or its `config.json` is broken.
    """
    path = Path(path)
    if not path.is_dir():
        hint = _instead(path, experiments)
        raise FileNotFoundError(f"expected a run folder; there is none at {path}{hint}")
    if not (path / "config.json").is_file():
        runs = sorted(file.parent.name for file in path.glob("*/config.json"))
        raise FileNotFoundError(
            f"expected a run folder, which holds a config.json; received {path}"
            + (f", which holds the runs {', '.join(runs)}" if runs else "")
        )
    # Runs of version 0.1.0 do not name it.
    found = read_json(path / "config.json").get("experiment", "imdb_sentiment")
    if found not in experiments:
        raise ValueError(
            f"expected a run of {' or '.join(experiments)}; received {path}, a run of "
            f"{found}"
        )
    for name in ("vocabulary.json", "model.keras"):
        if not (path / name).is_file():
            raise FileNotFoundError(f"expected {name} in the run folder {path}")
    return found


def open_run(path: str | Path, experiment: str):
    """Open a run by `lstm_keras.load_run`, and raise what that and `check_run` do."""
    check_run(path, experiment)
    with start_up_messages_held():
        from lstm_keras import load_run
    return load_run(path)


def _instead(path: Path, experiments: Sequence[str]) -> str:
    """Return what a user may have meant by a folder that does not exist."""
    from experiments.common.run_folder import partial_path  # which loads pydantic

    if path.name and partial_path(path).is_dir():
        return f" (it is unfinished: {partial_path(path)})"
    if (path.parent / "config.json").is_file():
        return f" (did you mean {path.parent}?)"
    runs = {
        file.parent.name: file.parent
        for parent in (*(Path("runs", one) for one in experiments), path.parent)
        for file in parent.glob("*/config.json")
    }
    name = closest(path.name, runs)
    return f" (did you mean {runs[name]}?)" if name else ""
