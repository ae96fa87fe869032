"""Compare what was asked for: equality, training, speed, size."""

import logging

from experiments.common.layers import engine_facts
from experiments.common.lifecycle import Context
from experiments.common.result import Result, RunMetrics, metrics, varying
from experiments.common.signals import INTERRUPTED
from experiments.compare_lstm import costs, equality, report, training
from experiments.compare_lstm.costs import Size, Speed
from experiments.compare_lstm.equality import Equality
from experiments.compare_lstm.settings import Settings
from experiments.compare_lstm.training import Training


@metrics
class Metrics(RunMetrics):
    """What a comparison found; null for a part that was not asked for."""

    equality: Equality | None = None
    """The largest differences of outputs, states and gradients."""
    training: Training | None = None
    """Both layers trained from the same seeds."""
    speed: Speed | None = varying(None)
    """What a step costs."""
    size: list[Size] | None = None
    """Sizes of the sentiment model with Keras's layer and with ours."""


def run(settings: Settings, context: Context) -> Result[Metrics]:
    """Compare the layers, and describe the result."""
    parts, found, rows = settings.parts.split(","), {}, []
    # TensorFlow warns of functions that are traced again: here each is another case.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # First: its processes need a GPU's memory before this one takes it.
    if "speed" in parts:
        found["speed"] = costs.speed(settings)
    if "equality" in parts:
        dtypes = settings.chosen_dtypes()
        rows = equality.compare_all(dtypes, settings.seed, settings.quick)
        found["equality"] = equality.summary(rows)
    if "size" in parts:
        found["size"] = costs.sizes(settings)
    if "training" in parts:
        found["training"] = training.compare(settings)
    trained = found.get("training")
    compared = Metrics(
        data=trained.data if trained else {},
        engine=engine_facts("custom", settings.engine),
        **found,
    )
    return Result(
        title=f"Custom and built-in LSTM: {settings.name}",
        metrics=compared,
        sections=report.sections(compared, settings, rows),
        status=status(compared),
        ending=trained.ending if trained else "",
        tables={
            "equality.csv": rows,
            "history.csv": training.history_rows(trained, settings.seed)
            if trained
            else [],
        },
    )


def status(compared: Metrics) -> int:
    """Return the exit status: whether the layers are equal, or Ctrl-C came before."""
    if compared.training and compared.training.ending:
        return INTERRUPTED
    return int(bool(compared.equality and compared.equality.failed))
