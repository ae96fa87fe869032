"""The report of `experiments.gate_dynamics`, as a page and as text."""

from pathlib import Path

from experiments import gate_flow, gate_sentence, gate_unit, report, sentence_view

METHOD_NAMES = {
    "prefix": "change of the prediction (prefix)",
    "gradient": "integrated gradients (gradient)",
    "decomposition": "contextual decomposition (decomposition)",
}


def figures(unit, flow: list[dict], sentence: dict | None) -> dict:
    """Return the figures by name, each with its caption.

    Args:
        unit: The trace of the one unit.
        flow: What `gate_flow.measure` found.
        sentence: What `gate_sentence.read_sentence` found, or None.
    """
    from lstm_keras import plots

    drawn = {
        "one_unit": (plots.plot_steps(unit), "Gates and states of one unit, by step."),
        "gradient_product": (
            plots.plot_gradient_flow(
                gate_flow.products(),
                "A product of equal factors",
                "Gradient, relative to the last step's",
            ),
            "The textbook's gradient: 0.5 or 2 at every step.",
        ),
    }
    for trained in (False, True):
        state = "after training" if trained else "at initialisation"
        drawn[f"gradient_{'trained' if trained else 'untrained'}"] = (
            plots.plot_gradient_flow(
                gate_flow.mean_curves(flow, trained), f"Gradient by h, {state}"
            ),
            f"Measured gradient of the loss by the hidden state {state}: the median of "
            "the seeds, and the range of their middle half.",
        )
    if sentence:
        drawn |= sentence_figures(sentence)
    return drawn


def sentence_figures(sentence: dict) -> dict:
    """Return the figures of the sentence, likewise."""
    from lstm_keras import plots

    words = sentence["words"]
    drawn = {
        "prediction": (
            plots.plot_prefix_predictions(words, sentence["probabilities"]),
            "What the model would say if the text ended after each word.",
        )
    }
    for method, one in sentence["attributions"].items():
        if not isinstance(one, str):
            drawn[f"attribution_{method}"] = (
                plots.plot_attribution(one),
                f"What each word contributes to “positive”: {METHOD_NAMES[method]}.",
            )
    for number, (name, trace) in enumerate(sentence["traces"].items()):
        units = [unit for unit, _ in gate_sentence.moving_units(trace, len(words))]
        drawn[f"gates_{number}"] = (
            plots.plot_gates(trace, words, units=units),
            f"Gates and states of {name}, the units that move most at the top.",
        )
    return drawn


def sentence_facts(sentence: dict) -> dict:
    """Return what `metrics.json` says about the sentence."""
    facts = {
        "words": len(sentence["words"]),
        "probability": sentence["probability"],
        "attributions": {},
        "units_that_move_most": {
            name: gate_sentence.moving_units(trace, len(sentence["words"]))[
                : gate_sentence.MOVING
            ]
            for name, trace in sentence["traces"].items()
        },
    }
    for method, one in sentence["attributions"].items():
        facts["attributions"][method] = (
            {"not_possible": one}
            if isinstance(one, str)
            else {
                "output": one.output,
                "baseline": one.baseline,
                "rest": one.rest,
                "scores": dict(enumerate(one.scores.round(6).tolist())),
            }
        )
    return facts


def gradient_rows(ratios: list[dict]) -> list[tuple]:
    """Return the rows of the table of what is left of the gradient."""
    return [
        (
            row["layer"],
            "after training" if row["trained"] else "at initialisation",
            _number(row["median"]),
            ", ".join(map(_number, row["ratios"])),
            f"{row['loss']:.4f}",
        )
        for row in ratios
    ]


UNIT_HEADER = ("Step", "x", *gate_unit.QUANTITIES)


def unit_rows(rows: list[dict]) -> list[tuple]:
    """Return the rows of the table of the one unit."""
    return [
        (
            str(row["step"]),
            f"{row['x']:g}",
            *(f"{row[name]:.4f}" for name in gate_unit.QUANTITIES),
        )
        for row in rows
    ]


GRADIENT_HEADER = (
    "Layer",
    "",
    f"|dL/dh| at lag {gate_flow.FAR} over lag {gate_flow.NEAR}, median",
    "each seed",
    "Loss (MSE)",
)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return "0" if value == 0 else f"{value:.2g}"


def pair_rows(shares: dict) -> list[tuple]:
    """Return the rows of the table of methods."""
    return [
        (
            METHOD_NAMES[method],
            f"{one['changed']} of {one['pairs']}",
            f"{one['changed'] / one['pairs']:.0%}",
            f"{one['as_read']} of {one['pairs']}",
        )
        for method, one in shares.items()
    ]


PAIR_HEADER = (
    "Method",
    "“not” changed the sign",
    "Share",
    "and the adjective alone had the reader's sign",
)


def pair_csv_rows(pairs: list[dict]) -> list[dict]:
    """Return a row for each pair and method."""
    return [
        {
            "plain": row["plain"],
            "negated": row["negated"],
            "adjective": row["adjective"],
            "positive": row["positive"],
            "method": method,
            "adjective_contribution": plain,
            "not_adjective_contribution": negated,
            "changed": plain * negated < 0,
        }
        for row in pairs
        for method, (plain, negated) in row["contributions"].items()
    ]


def page(
    metrics: dict, settings: dict, pictures: dict, sentence: dict | None, pairs: list
) -> str:
    """Return the HTML report.

    Args:
        metrics: What `metrics.json` holds.
        settings: What `config.json` holds.
        pictures: By name PNG bytes and caption of each figure.
        sentence: What `gate_sentence.read_sentence` found, or None.
        pairs: What `gate_sentence.measure_pairs` found, or nothing.
    """
    parts = []
    if sentence:
        parts += sentence_parts(metrics, settings, pictures, sentence, pairs)
    parts += [
        report.heading("One unit, step by step"),
        report.paragraph(
            "z = x W + h U + b with, for i, f, g and o, "
            f"W = {gate_unit.KERNEL}, U = {gate_unit.RECURRENT_KERNEL} and "
            f"b = {gate_unit.BIAS}."
        ),
        report.table(UNIT_HEADER, unit_rows(metrics["one_unit"])),
        report.figure(*pictures["one_unit"]),
        report.heading("The gradient on its way back"),
        report.paragraph(
            f"{settings['length']} steps of the adding problem, {settings['units']} "
            f"units, {settings['seeds']} seeds; {settings['steps']} training steps. "
            "Guessing has a loss of 0.1667. A ratio of 0 is one below the smallest "
            "float32."
        ),
        report.table(GRADIENT_HEADER, gradient_rows(metrics["gradient"])),
        *(
            report.figure(*picture)
            for name, picture in pictures.items()
            if name.startswith("gradient_")
        ),
        *report.provenance(metrics, settings),
    ]
    return report.page(f"Gate dynamics: {settings['name']}", parts)


def sentence_parts(
    metrics: dict, settings: dict, pictures: dict, sentence: dict, pairs: list
) -> list[str]:
    """Return the parts of the page that show the sentence and the pairs."""
    logit = sentence["attributions"]["prefix"].output
    parts = [
        report.heading("The sentence, word by word"),
        report.paragraph(
            f"The model says positive with probability {sentence['probability']:.3f} "
            f"(logit {logit:.3f}). Contributions are to the logit."
        ),
        sentence_view.section(gate_sentence.page_data(sentence)),
        *(
            report.note(f"No {METHOD_NAMES[method]}: {one}")
            for method, one in sentence["attributions"].items()
            if isinstance(one, str)
        ),
    ]
    parts += [
        report.figure(*picture)
        for name, picture in pictures.items()
        if name.startswith(("prediction", "attribution_", "gates_"))
    ]
    if pairs:
        parts += [
            report.heading("Behind a “not”"),
            report.table(PAIR_HEADER, pair_rows(metrics["pairs"])),
            report.table(
                (
                    "Sentence",
                    *(f"{method}: alone, with not" for method in METHOD_NAMES),
                ),
                [
                    (
                        row["negated"],
                        *(
                            "{:+.2f}, {:+.2f}".format(*row["contributions"][method])
                            if method in row["contributions"]
                            else "–"
                            for method in METHOD_NAMES
                        ),
                    )
                    for row in pairs
                ],
            ),
        ]
    return parts


def text(metrics: dict, path: Path) -> str:
    """Return what the terminal shows at the end."""
    rows = [UNIT_HEADER, *unit_rows(metrics["one_unit"])]
    lines = ["", "One unit, step by step:", *report.aligned(rows)]
    lines += [
        "",
        *report.aligned([GRADIENT_HEADER, *gradient_rows(metrics["gradient"])]),
    ]
    if metrics["sentence"]:
        probability = metrics["sentence"]["probability"]
        lines += ["", f"The text is positive with probability {probability:.3f}."]
    if metrics["pairs"]:
        lines += ["", *report.aligned([PAIR_HEADER, *pair_rows(metrics["pairs"])])]
    return "\n".join([*lines, "", f"Report: {path / 'report.html'}"])
