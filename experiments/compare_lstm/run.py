"""Compare the layers: equality, training, speed, size."""

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
    """The results of a comparison; null for a part that --parts leaves out."""

    equality: Equality | None = None
    """Differences of outputs, states and gradients."""
    training: Training | None = None
    """Both layers trained from the same seeds."""
    speed: Speed | None = varying(None)
    """Time and memory of a step."""
    size: list[Size] | None = None
    """Sizes of the sentiment model with Keras's layer and with ours."""


def run(settings: Settings, context: Context) -> Result[Metrics]:
    """Compare the layers, and return the result."""
    parts, found, rows = settings.parts.split(","), {}, []
    # Its warnings of retracing are wrong here: each function belongs to another case.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # First, before this process allocates the memory of a GPU.
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
        finding=report.finding(compared, rows),
        sections=report.sections(compared, settings, rows),
        status=status(compared),
        ending=ending(compared),
        tables={
            "equality.csv": rows,
            "history.csv": training.history_rows(trained, settings.seed)
            if trained
            else [],
        },
    )


def ending(compared: Metrics) -> str:
    """Return how the training was interrupted, or else whether the layers differ."""
    if compared.training and compared.training.ending:
        return compared.training.ending
    failed = compared.equality and compared.equality.failed
    return compared.equality.verdict if failed else ""


def status(compared: Metrics) -> int:
    """Return the exit status: 1 if the layers differ, or that of an interruption."""
    if compared.training and compared.training.ending:
        return INTERRUPTED
    return int(bool(compared.equality and compared.equality.failed))
