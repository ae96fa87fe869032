"""What our LSTM and Keras's cost: time and memory of a step, sizes of the model."""

import tempfile
from pathlib import Path

from experiments import compare_training, recurrent, sentiment
from experiments.speed_backends import Workers, path_memory
from experiments.speed_shapes import KINDS, read_shapes


def speed(settings) -> dict:
    """Return the times of all ways through an LSTM on the backend, and their memory.

    It has to come before this process loads Keras: see `experiments.speed_backends`.

    Args:
        settings: With `shape`, `rounds` and `memory`.

    Returns:
        The `backend`; `results` as `experiments.speed_layers` answers; `memory`, by
        kind of step and path the MiB; the `shape` at which that is; and `failures`,
        sentences. Without `results` if the timing failed.
    """
    shapes = [str(shape) for shape in read_shapes(settings.shape)]
    workers = Workers(flush_denormal=False)
    answer = workers.ask(None, "times", shapes=shapes, rounds=settings.rounds)
    found = {"shape": shapes[0], "results": [], "memory": {}}
    if answer is not None:
        backend, results = answer["environment"]["backend"], answer["results"]
        found |= {"backend": backend, "engine": answer["engine"], "results": results}
        for kind in KINDS if settings.memory else ():
            memory = path_memory(workers, {backend: results}, shapes[0], kind)
            found["memory"][kind] = memory["mebibytes"][backend]
    return found | {"failures": workers.failures}


def sizes(settings) -> list[dict]:
    """Return for each layer what the sentiment model weighs before its training.

    Args:
        settings: See `compare_training.model_settings`.

    Returns:
        A row for each layer: `layer`, `parameters`, `weights`, bytes in memory, and
        `file`, bytes of the saved `.keras`.
    """
    rows = []
    for one in compare_training.model_settings(settings):
        model = sentiment.build_model(one, one.num_words, steps=1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            model.save(path)
            file = path.stat().st_size
        rows.append(
            {
                "layer": recurrent.layer_name(one),
                "parameters": model.count_params(),
                "weights": sum(weight.nbytes for weight in model.get_weights()),
                "file": file,
            }
        )
    return rows
