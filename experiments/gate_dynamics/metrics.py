"""What `metrics.json` contains."""

from pydantic import NonNegativeFloat

from experiments.common.result import RunMetrics, metrics


@metrics
class UnitStep:
    """One step of the one unit."""

    step: int
    """Number of the step, from 1."""
    x: float
    """Input."""
    i: float
    """Input gate."""
    f: float
    """Forget gate."""
    g: float
    """Candidate."""
    o: float
    """Output gate."""
    c: float
    """Cell state after the step."""
    h: float
    """Hidden state after the step."""


@metrics
class GradientRatios:
    """What is left of a layer's gradient on its way back through time."""

    layer: str
    """Recurrent layer."""
    trained: bool
    """Whether it was measured after training."""
    ratios: list[NonNegativeFloat | None]
    """For each seed |dL/dh| at lag 100 over that at lag 1; null for sequences that are
    too short, 0 of a gradient below the smallest float32."""
    median: NonNegativeFloat | None
    """Median of the ratios; null if there is none."""
    loss: float
    """Mean squared error, mean over the seeds."""


@metrics
class Contributions:
    """What each word contributes to the logit, by one method."""

    output: float
    """Logit of the whole text."""
    baseline: float
    """Logit without any word."""
    rest: float
    """Part of the logit that belongs to no single word."""
    scores: dict[int, float]
    """Contribution of each word, by its position."""


@metrics
class NotPossible:
    """A method that this model does not allow."""

    not_possible: str
    """The reason."""


@metrics
class SentenceMetrics:
    """A text as a trained model reads it."""

    words: int
    """Number of words that the model reads."""
    probability: float
    """Probability of positive."""
    attributions: dict[str, Contributions | NotPossible]
    """Contributions of the words, by method."""
    units_that_move_most: dict[str, list[tuple[int, float]]]
    """For each layer the units whose cell state moves most, and by how much."""


@metrics
class PairCounts:
    """What a "not" changes, by one method."""

    pairs: int
    """Number of pairs of sentences without and with a "not"."""
    changed: int
    """Pairs in which the "not" changed the sign of the adjective's contribution."""
    as_read: int
    """Of those the pairs whose adjective alone has the sign that a reader gives it."""


@metrics
class Metrics(RunMetrics):
    """What a run of gate_dynamics found."""

    one_unit: list[UnitStep]
    """One unit, step by step."""
    gradient: list[GradientRatios]
    """Gradients of each layer, untrained and trained."""
    sentence: SentenceMetrics | None
    """The text of --text; null without --run."""
    pairs: dict[str, PairCounts] | None
    """What a "not" changes, by method of attribution; null if not measured."""
