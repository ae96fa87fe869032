"""The report of a gate_dynamics run."""

from collections.abc import Sequence

from experiments.common.result import (
    Figure,
    Finding,
    Note,
    Paragraph,
    Part,
    Section,
    Table,
)
from experiments.gate_dynamics import flow, sentence_view, unit
from experiments.gate_dynamics.flow import Flow
from experiments.gate_dynamics.metrics import GradientRatios, Metrics, PairCounts
from experiments.gate_dynamics.negation import PAIRS, MeasuredPair
from experiments.gate_dynamics.sentence import Reading
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
    "“not good” counts the other way than “good”",
    "Share",
    "and “good” alone the right way",
)

GRADIENT_HEADER = (
    "Layer",
    "When",
    f"|dL/dh| at lag {flow.FAR} over lag {flow.NEAR}, median",
    "each seed",
    "Loss (MSE)",
)


def sections(
    metrics: Metrics,
    settings: Settings,
    trace: LayerTrace | None,
    flows: Sequence[Flow],
    reading: Reading | None,
    pairs: Sequence[MeasuredPair],
) -> tuple[Finding, list[Section]]:
    """Return the finding of the first part, and the sections of all.

    `trace` is that of the one unit; see `run` for the rest.
    """
    found: dict[str, tuple[Finding, list[Part]]] = {}
    if reading:
        found["The sentence, word by word"] = sentence_part(reading)
    if metrics.pairs is not None:
        found["Negation"] = negation_part(metrics, pairs)
    if metrics.gradient:
        found["The gradient through time"] = gradient_part(metrics, settings, flows)
    if metrics.one_unit:
        found["One unit, step by step"] = unit_part(metrics, trace)
    (first, _), *_ = found.values()
    return first, [
        Section(
            title,
            [part for part in parts if part is not first.figure]
            if finding is first
            else [Paragraph(finding.text), *parts],
        )
        for title, (finding, parts) in found.items()
    ]


def sentence_part(reading: Reading) -> tuple[Finding, list[Part]]:
    """Return finding and section of the sentence."""
    logit = reading.possible["prefix"].output
    finding = sentence_finding(reading)
    return finding, [
        Paragraph(
            f"The model says {reading.label}: the probability of “positive” is "
            f"{probability(reading.probabilities[-1])} (logit {logit:.3f}). "
            "Contributions are to the logit."
        ),
        sentence_view.part(reading.page_data()),
        *(
            Note(f"No {METHOD_NAMES[method]}: {one}")
            for method, one in reading.attributions.items()
            if isinstance(one, str)
        ),
        finding.figure,
        *sentence_figures(reading),
    ]


def probability(value: float) -> str:
    """Return a probability with three digits, which is never quite 0 or 1."""
    if value < 0.001:
        return "<0.001"
    return ">0.999" if value > 0.999 else f"{value:.3f}"


def sentence_finding(reading: Reading) -> Finding:
    """Return what one unit of the first layer does at the word where most turns."""
    place, words, after = reading.turn, reading.words, reading.probabilities
    trace = next(iter(reading.traces.values()))
    unit = reading.turning_unit(trace)
    i, f, g = (reading.of_words(getattr(trace, name))[place, unit] for name in "ifg")
    text = (
        f"At “{words[place]}” unit {unit} forgets {1 - f:.0%} of its cell state and "
        f"adds {i * g:+.2f}; the probability of “positive” goes from "
        f"{probability(after[place - 1])} to {probability(after[place])}"
    )
    if place + 1 < len(words):
        following = probability(after[place + 1])
        text += f", and with “{words[place + 1]}” to {following}"
    near, near_words, marked = reading.around_turn(trace)
    figure = Figure(
        "turn",
        plots.plot_steps(near, unit=unit, words=near_words, marked=marked),
        f"Gates and states of unit {unit} at each word; “{words[place]}” is marked.",
    )
    return Finding(f"{text}.", figure)


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


def negation_part(
    metrics: Metrics, pairs: Sequence[MeasuredPair]
) -> tuple[Finding, list[Part]]:
    """Return finding and section of the pairs of sentences."""
    unknown = metrics.unknown_adjectives
    left_out = Paragraph(
        f"{len(unknown)} of the {len(PAIRS)} adjectives are not in the model's "
        f"vocabulary, and left out: {', '.join(unknown)}."
    )
    if not pairs:
        text = "The model knows none of the adjectives, or not “not”."
        return Finding(text), [left_out]
    changed = [one.changed for one in metrics.pairs.values()]
    least, most = min(changed), max(changed)
    count = str(most) if least == most else f"{least} to {most}"
    named = pairs[0].pair.adjective
    finding = Finding(
        "“Not” and an adjective count the other way than the adjective alone in "
        f"{count} of {len(pairs)} pairs (“{named}” and “not {named}”).",
        pair_figure(pairs),
    )
    return finding, [
        finding.figure,
        pair_table(metrics.pairs),
        *([left_out] if unknown else []),
        Paragraph(
            "Contribution to the logit: of each adjective alone, and of “not” and the "
            "adjective together:",
            page_only=True,
        ),
        contribution_table(pairs),
    ]


def pair_figure(pairs: Sequence[MeasuredPair]) -> Figure:
    """Return what each adjective contributes alone and after "not", by prefix."""
    method = "prefix"
    alone, negated = zip(*(one.contributions[method] for one in pairs), strict=True)
    return Figure(
        "negation",
        plots.plot_negation([one.pair.adjective for one in pairs], alone, negated),
        "Contribution to “positive” of each adjective alone (open), and of “not” and "
        f"the adjective together (filled): {METHOD_NAMES[method]}.",
    )


def pair_table(counts: dict[str, PairCounts]) -> Table:
    """Return the table of methods."""
    rows = [
        (
            METHOD_NAMES[method],
            f"{one.changed} of {one.pairs} known",
            f"{one.changed / one.pairs:.0%}",
            f"{one.as_read} of {one.pairs}",
        )
        for method, one in counts.items()
    ]
    return Table(PAIR_HEADER, rows)


def contribution_table(pairs: Sequence[MeasuredPair]) -> Table:
    """Return the table of sentences."""
    header = ("Sentence", *(f"{method}: alone, together" for method in METHOD_NAMES))
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


def unit_part(metrics: Metrics, trace: LayerTrace) -> tuple[Finding, list[Part]]:
    """Return finding and section of the one unit."""
    rows = [
        (
            str(step.step),
            f"{step.x:g}",
            *(f"{getattr(step, name):.4f}" for name in unit.QUANTITIES),
        )
        for step in metrics.one_unit
    ]
    last = metrics.one_unit[-1]
    figure = Figure(
        "one_unit", plots.plot_steps(trace), "Gates and states of one unit, by step."
    )
    finding = Finding(
        f"After {last.step} steps the unit's cell state is {last.c:.4f}, its hidden "
        f"state {last.h:.4f}.",
        figure,
    )
    return finding, [
        Paragraph(
            "z = x W + h U + b with, for i, f, g and o, "
            f"W = {unit.KERNEL}, U = {unit.RECURRENT_KERNEL} and b = {unit.BIAS}.",
            page_only=True,
        ),
        Table(("Step", "x", *unit.QUANTITIES), rows),
        figure,
    ]


def gradient_part(
    metrics: Metrics, settings: Settings, flows: Sequence[Flow]
) -> tuple[Finding, list[Part]]:
    """Return finding and section of the gradient."""
    product = plots.plot_gradient_flow(
        flow.products(),
        "A product of equal factors",
        "Gradient, relative to the last step's",
    )
    about = "The textbook's gradient: 0.5 or 2 at every step."
    untrained, trained = (gradient_figure(flows, after) for after in (False, True))
    return Finding(gradient_finding(metrics.gradient, settings), trained), [
        Paragraph(
            f"{settings.length} steps of the adding problem, {settings.units} units, "
            f"{settings.seeds} seeds; {settings.steps} training steps. Predicting the "
            "mean gives an MSE of 1/6 (0.1667). A ratio of 0 is one below the smallest "
            "float32.",
            page_only=True,
        ),
        gradient_table(metrics.gradient),
        Figure("gradient_product", product, about),
        untrained,
        trained,
    ]


def gradient_finding(ratios: Sequence[GradientRatios], settings: Settings) -> str:
    """Return how much of the gradient the trained layers keep, in a sentence."""
    trained = [row for row in ratios if row.trained and row.median is not None]
    if not trained:
        return (
            f"{settings.length} steps are too few to compare the gradient at lag "
            f"{flow.FAR} with that at lag {flow.NEAR} (--length)."
        )
    trained.sort(key=lambda row: -row.median)
    kept = "; ".join(f"{_number(row.median)} in {row.layer}" for row in trained)
    return (
        f"Of the gradient at lag {flow.NEAR}, this is left at lag {flow.FAR}: {kept}."
    )


def gradient_figure(flows: Sequence[Flow], trained: bool) -> Figure:
    """Return the figure of the measured gradient before or after training."""
    state = "after training" if trained else "at initialisation"
    return Figure(
        f"gradient_{'trained' if trained else 'untrained'}",
        plots.plot_gradient_flow(
            flow.curves(flows, trained), f"Gradient by h, {state}"
        ),
        f"Measured gradient of the loss by the hidden state {state}: the median of the "
        "seeds, and the range of their middle half.",
    )


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
