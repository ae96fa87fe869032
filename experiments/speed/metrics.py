"""The types in `metrics.json`."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from experiments.common.result import RunMetrics, metrics, varying

NotMeasured = Annotated[dict[str, None], Field(max_length=0)]


@metrics
class Step:
    """Seconds of one kind of step."""

    first: NonNegativeFloat
    """First call, which compiles."""
    low: NonNegativeFloat
    """Quantile of 10%."""
    median: NonNegativeFloat
    """Median."""
    high: NonNegativeFloat
    """Quantile of 90%."""
    ratio: NonNegativeFloat
    """Speed relative to Keras's layer: the median of the ratios within each round."""
    rounds: PositiveInt
    """Number of rounds."""


@metrics
class Times:
    """Times at one shape."""

    shape: str
    """Batch size, steps, features, units, and "masked" if the sequences are."""
    operations: dict[str, PositiveInt]
    """Floating point operations of the layer's matrix products, by kind of step."""
    paths: dict[str, dict[str, Step]]
    """Seconds, by implementation of the LSTM and by kind of step."""


@metrics
class Memory:
    """The memory of training steps."""

    shape: str
    """Shape at which it was measured."""
    mebibytes: dict[str, dict[str, NonNegativeFloat]]
    """MiB, by backend and by implementation of the LSTM."""


@metrics
class Growth:
    """Times while one size doubles and the others stay the same."""

    backend: str
    """Backend that was timed."""
    shapes: dict[str, list[str]]
    """Shapes in which steps (T), batch size (B) or units (H) alone double."""
    results: list[Times]
    """Times at each of these shapes."""


@metrics
class SpeedMetrics(RunMetrics):
    """The results of every measure."""

    load_average: NonNegativeFloat | None = varying(None)
    """Load average of the minute before the benchmark; null if it is unknown."""
    missing: list[str] = field(default_factory=list)
    """What was not measured, because time was up or the benchmark was interrupted."""


@metrics
class LayerMetrics(SpeedMetrics):
    """The results of `--measure layers`."""

    measure: Literal["layers"] = "layers"
    """What was timed."""
    operations_per_second: PositiveFloat
    """Speed of a large float32 matrix product in NumPy, the limit."""
    flush_denormal: bool
    """Whether torch treated denormal numbers as zero."""
    failures: list[str]
    """Failures, in sentences."""
    results: dict[str, list[Times]]
    """Times at each shape, by backend."""
    memory: Memory | NotMeasured
    """Memory; empty if not measured."""
    growth: Growth | NotMeasured
    """Times at growing shapes; empty if not measured."""


@metrics
class TableMetrics(SpeedMetrics):
    """The results of the other measures."""

    measure: Literal["variants", "peers", "text", "prefixes", "generation", "export"]
    """What was timed."""
    finding: str
    """What the times show, in a sentence; empty if too few were measured."""
    notes: list[str]
    """Remarks for the reader."""
    results: dict[str, list[dict[str, str | int | float]]]
    """Tables by title, each a list of rows by column. `seconds` are wall-clock time,
    `CPU seconds` processor time; `training` excludes compilation, `compiling` is the
    time by which the first epoch is longer than the others, `accuracy` the final top-1
    accuracy on the prefixes."""
