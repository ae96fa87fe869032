"""The report of a gate_dynamics run."""

from collections.abc import Sequence

from experiments.common.result import Figure, Note, Paragraph, Part, Section, Table
from experiments.gate_dynamics import flow, sentence_view, unit
from experiments.gate_dynamics.flow import Flow
from experiments.gate_dynamics.metrics import GradientRatios, Metrics, PairCounts
from experiments.gate_dynamics.sentence import MeasuredPair, Reading
from experiments.gate_dynamics.settings import Settings
from lstm_keras import plots
from lstm_keras.interpret import LayerTrace

METHOD_NAMES = {
    "prefix": "change of the prediction (prefix)",
    "gradient": "integrated gradients (gradient)",
    "decomposition": "contextual decomposition (decomposition)",
}

PAIR_HEADER = (
    "Method",
    "“not” changed the sign",
    "Share",
    "and the adjective alone had the right sign",
)

GRADIENT_HEADER = (
    "Layer",
    "",
    f"|dL/dh| at lag {flow.FAR} over lag {flow.NEAR}, median",
    "each seed",
    "Loss (MSE)",
)


def sections(
    metrics: Metrics,
    settings: Settings,
    trace: LayerTrace,
    flows: Sequence[Flow],
    reading: Reading | None,
    pairs: Sequence[MeasuredPair],
) -> list[Section]:
    """Return the sections of the report; `trace` is that of the one unit."""
    found = []
    if reading:
        found.append(Section("The sentence, word by word", sentence_parts(reading)))
    if pairs:
        found.append(Section("Negation", pair_parts(metrics.pairs, pairs)))
    return [
        *found,
        Section("One unit, step by step", unit_parts(metrics, trace)),
        Section("The gradient through time", gradient_parts(metrics, settings, flows)),
    ]


def sentence_parts(reading: Reading) -> list[Part]:
    """Return the section on the sentence."""
    logit = reading.possible["prefix"].output
    return [
        Paragraph(
            "The model says positive with probability "
            f"{reading.probabilities[-1]:.3f} (logit {logit:.3f}). Contributions are "
            "to the logit."
        ),
        sentence_view.part(reading.page_data()),
        *(
            Note(f"No {METHOD_NAMES[method]}: {one}")
            for method, one in reading.attributions.items()
            if isinstance(one, str)
        ),
        *sentence_figures(reading),
    ]


def sentence_figures(reading: Reading) -> list[Figure]:
    """Return the figures of the sentence."""
    words = reading.words
    figures = [
        Figure(
            "prediction",
            plots.plot_prefix_predictions(words, reading.probabilities),
            "Prediction if the text ended after each word.",
        )
    ]
    for method, one in reading.possible.items():
        figures.append(
            Figure(
                f"attribution_{method}",
                plots.plot_attribution(one),
                f"Contribution of each word to “positive”: {METHOD_NAMES[method]}.",
            )
        )
    for number, (name, trace) in enumerate(reading.traces.items()):
        units = [unit for unit, _ in reading.moving_units(trace)]
        figures.append(
            Figure(
                f"gates_{number}",
                plots.plot_gates(trace, words, units=units),
                f"Gates and states of {name}, the units that change most at the top.",
            )
        )
    return figures


def pair_parts(
    counts: dict[str, PairCounts], pairs: Sequence[MeasuredPair]
) -> list[Part]:
    """Return the section on the pairs of sentences."""
    return [
        pair_table(counts),
        Paragraph(
            "Contribution of each adjective to the logit, alone and with the “not” "
            "before it:",
            page_only=True,
        ),
        contribution_table(pairs),
    ]


def pair_table(counts: dict[str, PairCounts]) -> Table:
    """Return the table of methods."""
    rows = [
        (
            METHOD_NAMES[method],
            f"{one.changed} of {one.pairs}",
            f"{one.changed / one.pairs:.0%}",
            f"{one.as_read} of {one.pairs}",
        )
        for method, one in counts.items()
    ]
    return Table(PAIR_HEADER, rows)


def contribution_table(pairs: Sequence[MeasuredPair]) -> Table:
    """Return the table of sentences."""
    header = ("Sentence", *(f"{method}: alone, with not" for method in METHOD_NAMES))
    rows = [
        (
            one.pair.negated,
            *(
                "{:+.2f}, {:+.2f}".format(*one.contributions[method])
                if method in one.contributions
                else "–"
                for method in METHOD_NAMES
            ),
        )
        for one in pairs
    ]
    return Table(header, rows, page_only=True)


def unit_parts(metrics: Metrics, trace: LayerTrace) -> list[Part]:
    """Return the section on the one unit."""
    rows = [
        (
            str(step.step),
            f"{step.x:g}",
            *(f"{getattr(step, name):.4f}" for name in unit.QUANTITIES),
        )
        for step in metrics.one_unit
    ]
    return [
        Paragraph(
            "z = x W + h U + b with, for i, f, g and o, "
            f"W = {unit.KERNEL}, U = {unit.RECURRENT_KERNEL} and b = {unit.BIAS}.",
            page_only=True,
        ),
        Table(("Step", "x", *unit.QUANTITIES), rows),
        Figure(
            "one_unit",
            plots.plot_steps(trace),
            "Gates and states of one unit, by step.",
        ),
    ]


def gradient_parts(
    metrics: Metrics, settings: Settings, flows: Sequence[Flow]
) -> list[Part]:
    """Return the section on the gradient."""
    product = plots.plot_gradient_flow(
        flow.products(),
        "A product of equal factors",
        "Gradient, relative to the last step's",
    )
    figures = [
        Figure(
            "gradient_product",
            product,
            "The textbook's gradient: 0.5 or 2 at every step.",
        )
    ]
    for trained in (False, True):
        state = "after training" if trained else "at initialisation"
        figures.append(
            Figure(
                f"gradient_{'trained' if trained else 'untrained'}",
                plots.plot_gradient_flow(
                    flow.curves(flows, trained), f"Gradient by h, {state}"
                ),
                f"Measured gradient of the loss by the hidden state {state}: the "
                "median of the seeds, and the range of their middle half.",
            )
        )
    return [
        Paragraph(
            f"{settings.length} steps of the adding problem, {settings.units} units, "
            f"{settings.seeds} seeds; {settings.steps} training steps. Predicting the "
            "mean gives an MSE of 1/6 (0.1667). A ratio of 0 is one below the smallest "
            "float32.",
            page_only=True,
        ),
        gradient_table(metrics.gradient),
        *figures,
    ]


def gradient_table(ratios: Sequence[GradientRatios]) -> Table:
    """Return the table of the gradients' ratios."""
    rows = [
        (
            row.layer,
            "after training" if row.trained else "at initialisation",
            _number(row.median),
            ", ".join(map(_number, row.ratios)),
            f"{row.loss:.4f}",
        )
        for row in ratios
    ]
    return Table(GRADIENT_HEADER, rows)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return "0" if value == 0 else f"{value:.2g}"
