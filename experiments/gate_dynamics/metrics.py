"""The types in `metrics.json`."""

from pydantic import NonNegativeFloat

from experiments.common.result import RunMetrics, metrics


@metrics
class UnitStep:
    """A step of the one unit."""

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
    """The gradient in a layer at a long lag, relative to a short one."""

    layer: str
    """Recurrent layer."""
    trained: bool
    """Whether it was measured after training."""
    ratios: list[NonNegativeFloat | None]
    """|dL/dh| at lag 100 over that at lag 1, by seed; null if the sequences are too
    short, 0 if the gradient is below the smallest float32."""
    median: NonNegativeFloat | None
    """Median of the ratios; null if there is none."""
    loss: float
    """Mean squared error, averaged over the seeds."""


@metrics
class Contributions:
    """Contributions of the words to the logit, by one method."""

    output: float
    """Logit of the whole text."""
    baseline: float
    """Logit without any word."""
    rest: float
    """Part of the logit that is attributed to no word."""
    scores: dict[int, float]
    """Contribution of each word, by its position."""


@metrics
class NotPossible:
    """A method that does not support this model."""

    not_possible: str
    """The reason."""


@metrics
class SentenceMetrics:
    """A trained model on one text."""

    words: int
    """Number of words that the model reads."""
    probability: float
    """Probability of positive."""
    attributions: dict[str, Contributions | NotPossible]
    """Contributions of the words, by method."""
    units_that_move_most: dict[str, list[tuple[int, float]]]
    """The units whose cell state changes most, and by how much, for each layer."""


@metrics
class PairCounts:
    """How a "not" changes contributions, by one method."""

    pairs: int
    """Number of pairs of sentences without and with a "not" whose adjective the model
    knows."""
    changed: int
    """Number of pairs in which "not" and the adjective together contribute with another
    sign than the adjective alone."""
    as_read: int
    """Number of those in which the sign of the adjective alone is right."""


@metrics
class Metrics(RunMetrics):
    """The results of a gate_dynamics run; null for a part that --parts leaves out."""

    one_unit: list[UnitStep] | None
    """One unit, step by step."""
    gradient: list[GradientRatios] | None
    """Gradients of each layer, untrained and trained."""
    sentence: SentenceMetrics | None
    """The text of --text."""
    pairs: dict[str, PairCounts] | None
    """How a "not" changes contributions, by method."""
    unknown_adjectives: list[str] | None
    """The adjectives of the pairs that are left out, since the model does not know
    them."""
