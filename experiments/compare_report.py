"""The report of a comparison of the two layers, as a page and as text."""

import math
from collections.abc import Sequence
from pathlib import Path

from experiments import report, speed_report
from experiments.compare_equality import KERAS as KERAS_LAYER
from experiments.compare_equality import QUANTITIES, REFERENCE, table
from experiments.speed_layers import KERAS
from experiments.speed_shapes import KINDS

SHOWN_FAILURES = 5

WAY = ("dtype", "layer", "against")
EQUALITY_HEADER = ("Dtype, layer", "Mask", "Result", "Tolerance", *QUANTITIES)
EQUALITY_TEXT_HEADER = ("Dtype", "Layer", "Against", "Largest", "Tolerance", "Result")
DIFFERENCE_HEADER = ("Outcome", "Keras's", "Ours", "Difference", "95% interval")
SPEED_HEADER = (
    "Shape B,T,D,H; path",
    "Step",
    "ms",
    "10% to 90%",
    "Times as fast as Keras",
    "Peak MiB",
    "Memory ÷ Keras's",
    "First call s",
)
SIZE_HEADER = ("Layer", "Parameters", "Bytes of weights", "Bytes of the .keras file")


def failed(metrics: dict) -> list[dict]:
    """Return the rows of equality that exceed their tolerance."""
    return [row for row in metrics.get("equality", ()) if not row["passed"]]


def verdict(metrics: dict) -> str:
    """Return whether the layers are equal, in a sentence."""
    backend = metrics["environment"]["backend"]
    if "equality" not in metrics:
        return f"Equality was not examined (--parts), on {backend}."
    cases, wrong = len(metrics["equality"]), failed(metrics)
    if not wrong:
        compared = dict.fromkeys(row["layer"] for row in metrics["equality"])
        return (
            f"Equal within tolerance in all {cases} cases, on {backend} "
            f"({'; '.join(compared)})."
        )
    named = "; ".join(map(failure, wrong[:SHOWN_FAILURES]))
    more = len(wrong) - SHOWN_FAILURES
    return (
        f"NOT equal, on {backend}: {len(wrong)} of {cases} cases exceed their "
        f"tolerance: {named}{f'; and {more} more' if more > 0 else ''}."
    )


def failure(row: dict) -> str:
    """Return what a case is, and where it differs most."""
    # Not max by the number alone: NaN compares with nothing.
    worst = max(QUANTITIES, key=lambda name: (math.isnan(row[name]), row[name]))
    options = [option for option in ("go_backwards", "return_sequences") if row[option]]
    of = ", ".join([row["dtype"], f"mask {row['mask']}", *options])
    return (
        f"{row['layer']} against {row['against']} ({of}): {worst} "
        f"{number(row[worst])} > {number(row['tolerance'])}"
    )


def number(value: float) -> str:
    """Return a small number with two digits."""
    return "0" if value == 0 else f"{value:.1e}"


def headlines(metrics: dict) -> list[str]:
    """Return what the other parts found, a sentence or two each."""
    parts = []
    differences = metrics.get("training", {}).get("differences")
    if differences:
        one = differences["test accuracy"]
        parts.append(
            f"Training: the test accuracy is {one['ours']:.4f} with ours and "
            f"{one['keras']:.4f} with Keras's, seed by seed a difference of "
            f"{difference(one)} ({seeds(one)})."
        )
    if metrics.get("speed", {}).get("results"):
        parts.append(speed_headline(metrics["speed"]))
    if "size" in metrics:
        keras, ours = metrics["size"]
        same = (
            "the same" if keras["parameters"] == ours["parameters"] else "not the same"
        )
        parts.append(
            f"Size: {same} number of parameters, {ours['parameters']:,} with ours and "
            f"{keras['parameters']:,} with Keras's."
        )
    return parts


def seeds(one: dict) -> str:
    """Return over how many seeds a difference is."""
    return "1 seed" if one["seeds"] == 1 else f"{one['seeds']} seeds"


def speed_headline(speed: dict) -> str:
    """Return how fast each way of ours is at the first shape, and its memory."""
    paths = speed["results"][0]["paths"]
    ours = []
    for path, kinds in paths.items():
        if path != KERAS:
            each = [f"{kinds[kind]['ratio']:.2f} in {kind}" for kind in KINDS]
            ours.append(f"{path} {', '.join(each)}")
    return f"Speed: times as fast as Keras at {speed['shape']}: {'; '.join(ours)}."


def difference(one: dict) -> str:
    """Return a paired difference with its interval."""
    text = signed(one["mean"])
    return text if one["interval"] is None else f"{text}, 95% interval {interval(one)}"


def interval(one: dict) -> str:
    """Return the ends of a paired difference's interval."""
    if one["interval"] is None:
        return "–"
    return " to ".join(map(signed, one["interval"]))


def signed(value: float) -> str:
    """Return a difference with its sign, so that only zero looks like zero."""
    if value == 0:
        return "0"
    return f"{value:+.4f}" if abs(value) >= 0.0005 else f"{value:+.1e}"


def equality_rows(metrics: dict, against: str) -> list[list[str]]:
    """Return the rows of the table of differences from one of the two judges."""
    rows = [row for row in metrics["equality"] if row["against"] == against]
    return [
        [
            f"{row['dtype']}, {row['layer'].removeprefix('lstm_keras.LSTM, ')}",
            row["mask"],
            result(row),
            *(number(row[name]) for name in ("tolerance", *QUANTITIES)),
        ]
        for row in table(rows, (*WAY, "mask"))
    ]


def result(row: dict) -> str:
    """Return whether all cases of a row of `table` passed."""
    return f"FAIL: {row['failed']} of {row['cases']}" if row["failed"] else "pass"


def equality_text_rows(metrics: dict) -> list[list[str]]:
    """Return the rows that the terminal shows: the masks together, too."""
    return [
        [
            *(row[key] for key in WAY),
            *(number(row[key]) for key in ("largest", "tolerance")),
            result(row),
        ]
        for row in table(metrics["equality"], WAY)
    ]


def difference_rows(metrics: dict) -> list[list[str]]:
    """Return the rows of the table of the training."""
    return [
        [
            outcome,
            f"{one['keras']:.4f}",
            f"{one['ours']:.4f}",
            signed(one["mean"]),
            interval(one),
        ]
        for outcome, one in metrics["training"]["differences"].items()
    ]


def speed_rows(metrics: dict) -> list[list[str]]:
    """Return the rows of the table of time and memory."""
    speed = metrics["speed"]
    return [
        [
            f"{found['shape']}; {path}",
            kind,
            speed_report.milliseconds(kinds[kind]["median"]),
            f"{speed_report.milliseconds(kinds[kind]['low'])} to "
            f"{speed_report.milliseconds(kinds[kind]['high'])}",
            f"{kinds[kind]['ratio']:.2f}",
            *memory_cells(speed, found["shape"], path, kind),
            f"{kinds[kind]['first']:.2f}",
        ]
        for found in speed["results"]
        for kind in KINDS
        for path, kinds in found["paths"].items()
    ]


def memory_cells(speed: dict, shape: str, path: str, kind: str) -> list[str]:
    """Return the MiB of a path, and how many times Keras's they are, where measured."""
    measured = speed["memory"].get(kind, {}) if shape == speed["shape"] else {}
    if path not in measured:
        return ["–", "–"]
    keras = measured.get(KERAS)
    ratio = f"{measured[path] / keras:.2f}" if keras else "–"
    return [f"{measured[path]:,.0f}", ratio]


def size_rows(metrics: dict) -> list[list[str]]:
    """Return the rows of the table of sizes."""
    columns = ("parameters", "weights", "file")
    return [
        [row["layer"], *(f"{row[name]:,}" for name in columns)]
        for row in metrics["size"]
    ]


def figures(metrics: dict) -> dict:
    """Return the figures by name, each with its caption; without a training none."""
    training = metrics.get("training")
    if not training or not training["differences"]:
        return {}
    from lstm_keras import plots

    differences = training["differences"]
    panels = {
        f"{name.capitalize()}, ours − Keras's": {
            split: differences[f"{split} {name}"] for split in ("validation", "test")
        }
        for name in ("accuracy", "loss")
    }
    return {
        "training": (
            plots.plot_paired_curves(training["histories"]),
            "Validation after each epoch, of both layers from the same seeds: every "
            "seed, thin, and the mean.",
        ),
        "differences": (
            plots.plot_paired_differences(panels),
            "Paired differences of the trained models, with 95% t intervals over the "
            "seeds.",
        ),
    }


def page(metrics: dict, settings: dict, pictures: Sequence) -> str:
    """Return the HTML report.

    Args:
        metrics: What was found.
        settings: What `config.json` holds.
        pictures: PNG bytes and caption of each figure.
    """
    first = report.note if failed(metrics) else report.paragraph
    parts = [first(verdict(metrics)), *map(report.paragraph, headlines(metrics))]
    if "equality" in metrics:
        parts += equality_parts(metrics)
    if "training" in metrics:
        parts += training_parts(metrics, settings, pictures)
    if "speed" in metrics:
        parts += speed_parts(metrics)
    if "size" in metrics:
        parts += [
            report.heading("Size"),
            report.paragraph(
                "The sentiment model of 5,000 words with each layer, before its "
                "training: an optimizer's state is not in it yet."
            ),
            report.table(SIZE_HEADER, size_rows(metrics)),
        ]
    parts += report.provenance(metrics, settings)
    return report.page(f"Custom and built-in LSTM: {settings['name']}", parts)


def equality_parts(metrics: dict) -> list[str]:
    """Return the section of the equality."""
    parts = [report.heading("Equality"), report.paragraph(equality_explanation())]
    wrong = failed(metrics)
    if wrong:
        rows = [[failure(row)] for row in wrong]
        parts.append(report.table(("Cases that exceed their tolerance",), rows))
    for against in (KERAS_LAYER, REFERENCE):
        rows = equality_rows(metrics, against)
        if rows:
            parts += [
                f"<h3>Differences from {against}</h3>",
                report.table(EQUALITY_HEADER, rows),
            ]
    return parts


def equality_explanation() -> str:
    """Return what the numbers of the equality are."""
    return (
        "Largest absolute difference relative to the largest element expected, over "
        "directions and with and without return_sequences, from the same random "
        "weights, sequences and initial states; every case is in equality.csv. "
        "output, h and c are what a call with return_state gives, the columns with d "
        "the gradients of a weighted sum of all three. loop is our cell step by step; "
        "the other names are our engines. An engine may differ from a loop by four "
        "times the tolerance in mixed precision, where it computes in float32 and the "
        "loop rounds at every step; and where keras.ops does not compute float64 in "
        "float64 (JAX, torch), the tolerance against it is that of float32."
    )


def training_parts(metrics: dict, settings: dict, pictures: Sequence) -> list[str]:
    """Return the section of the training."""
    training, parts = metrics["training"], [report.heading("Training")]
    data = training["data"]
    notes = [training["ending"], data["note"]]
    if not data["real"]:
        notes.append("These numbers are of generated reviews, not of IMDB's.")
    parts += [report.note(text) for text in notes if text]
    if not training["differences"]:
        return parts
    seconds = {
        name: sum(r["training_seconds"] for r in training["runs"] if r["layer"] == name)
        for name in training["histories"]
    }
    took = " and ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    one = training["differences"]["test loss"]
    return [
        *parts,
        report.table(DIFFERENCE_HEADER, difference_rows(metrics)),
        report.paragraph(
            f"Means over {seeds(one)}; the difference is ours minus Keras's of the "
            "same seed, that is of the same initial weights, order of the reviews and "
            f"split, and its interval that of Student's t. {settings['epochs']} epochs "
            f"on {data['train']:,} reviews, of which the one with the lowest loss on "
            f"{data['validation']:,} more is kept; {data['test']:,} test reviews. "
            f"Training took {took}, compiling included."
        ),
        *(report.figure(png, caption) for png, caption in pictures),
    ]


def speed_parts(metrics: dict) -> list[str]:
    """Return the section of time and memory."""
    speed = metrics["speed"]
    parts = [report.heading("Speed and memory")]
    parts += [report.note(text) for text in speed["failures"]]
    if speed["results"]:
        parts += [
            report.paragraph(speed_explanation()),
            report.table(SPEED_HEADER, speed_rows(metrics)),
        ]
    return parts


def speed_explanation() -> str:
    """Return what the numbers of time and memory are."""
    return (
        "Median time of a whole step (train_on_batch, predict_on_batch) of Embedding → "
        "LSTM → Dense(1) with Adam, float32, all ways in turn in one process. Times as "
        "fast as Keras: median of the rounds' ratios. Peak: resident memory "
        "(ru_maxrss) over some steps beyond that after the imports, each in a process "
        "of its own. First call: with compiling. keras is keras.layers.LSTM; "
        "torch.nn.LSTM, on torch, a plain torch model."
    )


def text(metrics: dict, path: Path) -> str:
    """Return what the terminal shows at the end."""
    lines = []
    tables = {
        "equality": (EQUALITY_TEXT_HEADER, equality_text_rows),
        "training": (DIFFERENCE_HEADER, difference_rows),
        "speed": (SPEED_HEADER, speed_rows),
        "size": (SIZE_HEADER, size_rows),
    }
    for part, (header, rows) in tables.items():
        if part in metrics:
            lines += ["", *report.aligned([header, *rows(metrics)])]
    lines += ["", *metrics.get("speed", {}).get("failures", ())]
    ending = metrics.get("training", {}).get("ending")
    lines += [ending] if ending else []
    lines += [verdict(metrics), *headlines(metrics)]
    return "\n".join([*lines, f"Report: {path / 'report.html'}"])


def for_json(metrics: dict) -> dict:
    """Return the metrics as `metrics.json` holds them: the equality by its tables.

    A difference that is not a number, which JSON has no word for, becomes None.
    """
    if "equality" not in metrics:
        return metrics
    rows = [
        {key: _finite(value) for key, value in row.items()}
        for row in table(metrics["equality"], (*WAY, "mask"))
    ]
    wrong = failed(metrics)
    return metrics | {
        "equality": {
            "verdict": verdict(metrics),
            "cases": len(metrics["equality"]),
            "failed": len(wrong),
            "failures": [failure(row) for row in wrong],
            "table": rows,
        }
    }


def _finite(value):
    return value if not isinstance(value, float) or math.isfinite(value) else None
