"""The costs of the two layers: time and memory of a step, sizes of the model."""

import tempfile
from pathlib import Path

from experiments.common.layers import layer_name
from experiments.common.result import metrics
from experiments.compare_lstm.settings import Settings
from experiments.compare_lstm.training import model_settings
from experiments.imdb_sentiment.train import compiled_model
from experiments.speed.backends import Workers, path_memory
from experiments.speed.metrics import Times
from experiments.speed.shapes import KINDS, read_shapes


@metrics
class Speed:
    """Time and memory of a step."""

    shape: str
    """The first shape, at which memory is measured."""
    results: list[Times]
    """Times at each shape; empty if the measurement failed."""
    memory: dict[str, dict[str, float]]
    """MiB, by kind of step and by implementation of the LSTM; empty if not measured."""
    backend: str | None = None
    """Backend of Keras; null if the measurement failed."""
    engine: str | None = None
    """The engine in training, and why others were passed over; null if it failed."""
    failures: list[str]
    """Failures, in sentences."""


@metrics
class Size:
    """Size of the sentiment model with one of the layers, before training."""

    layer: str
    """Its name in Python."""
    parameters: int
    """Number of parameters."""
    weights: int
    """Bytes of the weights in memory."""
    file: int
    """Bytes of the saved .keras file."""


def speed(settings: Settings) -> Speed:
    """Measure time and memory of every implementation of an LSTM on the backend."""
    shapes = [str(shape) for shape in read_shapes(settings.shape)]
    workers = Workers(flush_denormal=False)
    answer = workers.ask(None, "times", shapes=shapes, rounds=settings.rounds)
    found, memory = {"results": []}, {}
    if answer is not None:
        backend, results = answer["environment"]["backend"], answer["results"]
        found = {"backend": backend, "engine": answer["engine"], "results": results}
        for kind in KINDS if settings.memory else ():
            paths = results[0]["paths"]
            memory[kind] = dict(path_memory(workers, backend, paths, shapes[0], kind))
    return Speed(shape=shapes[0], memory=memory, failures=workers.failures, **found)


def sizes(settings: Settings) -> list[Size]:
    """Return the sizes of the sentiment model with each layer."""
    found = []
    for one in model_settings(settings):
        model = compiled_model(one, one.num_words, steps=1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            model.save(path)
            file = path.stat().st_size
        found.append(
            Size(
                layer=layer_name(one.layer),
                parameters=model.count_params(),
                weights=sum(weight.nbytes for weight in model.get_weights()),
                file=file,
            )
        )
    return found
