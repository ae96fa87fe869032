"""The report of a comparison."""

from collections.abc import Iterator, Sequence

from experiments.common.result import (
    Figure,
    Finding,
    Note,
    Paragraph,
    Part,
    Section,
    Table,
)
from experiments.compare_lstm.costs import Size, Speed
from experiments.compare_lstm.equality import (
    KERAS,
    QUANTITIES,
    REFERENCE,
    Equality,
    number,
    table,
)
from experiments.compare_lstm.settings import Settings
from experiments.compare_lstm.training import Difference, Training
from experiments.speed import layers
from experiments.speed.report import milliseconds, spread
from experiments.speed.shapes import KINDS
from lstm_keras import plots

EQUALITY_HEADER = ("Dtype", "Layer", "Against", "Largest", "Tolerance", "Result")
QUANTITIES_HEADER = ("Dtype, layer", "Mask", "Result", "Tolerance", *QUANTITIES)
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

EQUALITY_EXPLANATION = (
    "Largest absolute difference relative to the largest expected element, over both "
    "directions and with and without return_sequences, from the same random weights, "
    "sequences and initial states; every case is in equality.csv. output, h and c are "
    "the outputs of a call with return_state, the columns with d the gradients of a "
    "weighted sum of all three. loop is our cell step by step; the other names are our "
    "engines. In mixed precision an engine may differ from a loop by four times the "
    "tolerance, since it computes in float32 and the loop rounds at every step. Where "
    "keras.ops does not compute float64 in float64 (JAX, torch), the tolerance is that "
    "of float32."
)
SPEED_EXPLANATION = (
    "Median time of a whole step (train_on_batch, predict_on_batch) of Embedding → "
    "LSTM → Dense(1) with Adam, float32, all paths in turn in one process. Times as "
    "fast as Keras: median of the ratios within each round. Peak: resident memory over "
    "some steps beyond that after the imports, each in a process of its own. First "
    "call: includes compilation. keras is keras.layers.LSTM; torch.nn.LSTM, on torch, "
    "is a plain torch model."
)
SIZE_EXPLANATION = (
    "The sentiment model of 5,000 words with each layer, before training, which adds "
    "the state of the optimizer."
)


def finding(metrics, rows: Sequence[dict]) -> Finding:
    """Return whether the layers are equal, or else the first of the other headlines."""
    equality = metrics.equality
    if equality is None:
        return Finding([*headlines(metrics), "The run was interrupted."][0])
    if equality.failed:
        text = (
            f"Our LSTM is NOT equal to Keras's: {equality.failed} of "
            f"{equality.cases:,} cases exceed their tolerance."
        )
    else:
        text = (
            f"Our LSTM equals Keras's: outputs, states and gradients differ by less "
            f"than the tolerance in all {equality.cases:,} cases."
        )
    return Finding(text, equality_figure(rows))


def sections(metrics, settings: Settings, rows: Sequence[dict]) -> list[Section]:
    """Return the sections of the report; `rows` are those of `equality.compare_all`."""
    equality, training = metrics.equality, metrics.training
    found = [Section(None, first_parts(metrics))]
    method = []
    if equality:
        found += equality_sections(equality, rows)
        method.append(EQUALITY_EXPLANATION)
    if training:
        found.append(Section("Training", [*training_parts(training)]))
        if training.differences:
            method.append(measured(training, settings))
    if metrics.speed:
        found.append(Section("Speed and memory", speed_parts(metrics.speed)))
        method.append(SPEED_EXPLANATION)
    if metrics.size:
        found.append(Section("Size", size_parts(metrics.size)))
        method.append(SIZE_EXPLANATION)
    parts = [Paragraph(text, page_only=True) for text in method]
    return [*found, Section("Method", parts)]


def first_parts(metrics) -> list[Part]:
    """Return a sentence on each part but for that of the finding."""
    equality, others = metrics.equality, headlines(metrics)
    if equality is None:
        others[:1] = ["Equality was not examined (--parts)."]
    failed = [Note(equality.verdict)] if equality and equality.failed else []
    return [*failed, *map(Paragraph, others)]


def equality_figure(rows: Sequence[dict]) -> Figure:
    """Return the differences from Keras's layer as a figure."""
    differences = {}
    for row in table(rows):
        if row["against"] == KERAS:
            largest = float("nan") if row["largest"] is None else row["largest"]
            by_layer = differences.setdefault(row["dtype"], {})
            by_layer[row["layer"]] = largest / row["tolerance"]
    return Figure(
        "equality",
        plots.plot_equality(differences),
        "The largest difference from Keras's layer over all cases, relative to what is "
        "tolerated.",
    )


def headlines(metrics) -> list[str]:
    """Return a sentence on each of the other parts."""
    found = []
    if metrics.training and metrics.training.differences:
        one = metrics.training.differences["test accuracy"]
        found.append(
            f"Training: the test accuracy is {one.ours:.4f} with ours and "
            f"{one.keras:.4f} with Keras's, seed by seed a difference of "
            f"{difference(one)} ({seeds(one)})."
        )
    if metrics.speed and metrics.speed.results:
        found.append(speed_headline(metrics.speed))
    if metrics.size:
        keras, ours = metrics.size
        same = "the same" if keras.parameters == ours.parameters else "not the same"
        found.append(
            f"Size: {same} number of parameters, {ours.parameters:,} with ours and "
            f"{keras.parameters:,} with Keras's."
        )
    return found


def equality_sections(equality: Equality, rows: Sequence[dict]) -> list[Section]:
    """Return the sections on equality: the largest differences, and all."""
    parts = [Table(EQUALITY_HEADER, equality_rows(rows))]
    if equality.failures:
        failures = [[text] for text in equality.failures]
        header = ("Cases that exceed their tolerance",)
        parts.insert(0, Table(header, failures, page_only=True))
    quantities = []
    for against in (KERAS, REFERENCE):
        if found := quantity_rows(equality, against):
            quantities += [
                Paragraph(f"Differences from {against}:", page_only=True),
                Table(QUANTITIES_HEADER, found, page_only=True),
            ]
    return [
        Section("Equality", parts),
        Section("Equality of every quantity, by mask", quantities, folded=True),
    ]


def equality_rows(rows: Sequence[dict]) -> list[list[str]]:
    """Return the largest differences of each dtype and layer, over all masks."""
    return [
        [
            *(row[key] for key in ("dtype", "layer", "against")),
            *(number(row[key]) for key in ("largest", "tolerance")),
            result(row),
        ]
        for row in table(rows)
    ]


def quantity_rows(equality: Equality, against: str) -> list[list[str]]:
    """Return the differences of all quantities from Keras or the reference."""
    return [
        [
            f"{row['dtype']}, {row['layer'].removeprefix('lstm_keras.LSTM, ')}",
            row["mask"],
            result(row),
            *(number(row[name]) for name in ("tolerance", *QUANTITIES)),
        ]
        for row in equality.table
        if row["against"] == against
    ]


def result(row: dict) -> str:
    """Return whether all cases of a row of `equality.table` passed."""
    return f"FAIL: {row['failed']} of {row['cases']}" if row["failed"] else "pass"


def training_parts(training: Training) -> Iterator[Part]:
    """Yield the section on training."""
    notes = [training.ending, training.data["note"]]
    if not training.data["real"]:
        notes.append("These numbers are from generated reviews, not from IMDB.")
    yield from (Note(text) for text in notes if text)
    if training.differences:
        yield Table(DIFFERENCE_HEADER, difference_rows(training))
        yield from figures(training)


def difference_rows(training: Training) -> list[list[str]]:
    """Return the rows of the table of the training."""
    return [
        [
            outcome,
            f"{one.keras:.4f}",
            f"{one.ours:.4f}",
            signed(one.mean),
            interval(one),
        ]
        for outcome, one in training.differences.items()
    ]


def measured(training: Training, settings: Settings) -> str:
    """Return an explanation of the differences."""
    data = training.data
    seconds = {
        name: sum(run.training_seconds for run in training.runs if run.layer == name)
        for name in training.histories
    }
    took = " and ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    return (
        f"Means over {seeds(training.differences['test loss'])}; the difference is "
        "ours minus Keras's with the same seed, that is with the same initial weights, "
        "order of the reviews and split, and its interval is that of Student's t. "
        f"{settings.epochs} epochs on {data['train']:,} reviews; the epoch with the "
        f"lowest loss on {data['validation']:,} others is used; {data['test']:,} test "
        f"reviews. Training took {took}, compilation included."
    )


def figures(training: Training) -> list[Figure]:
    """Return the figures of the training."""
    panels = {
        f"{name.capitalize()}, ours − Keras's": {
            split: vars(training.differences[f"{split} {name}"])
            for split in ("validation", "test")
        }
        for name in ("accuracy", "loss")
    }
    differences = Figure(
        "differences",
        plots.plot_paired_differences(panels),
        "Paired differences of the trained models, with 95% t intervals over seeds.",
    )
    if training.runs[0].epochs == 1:  # no curve
        return [differences]
    curves = Figure(
        "training",
        plots.plot_paired_curves(training.histories),
        "Validation after each epoch, for both layers: every seed (thin) and the mean.",
    )
    return [curves, differences]


def seeds(one: Difference) -> str:
    """Return the number of seeds of a difference."""
    return "1 seed" if one.seeds == 1 else f"{one.seeds} seeds"


def difference(one: Difference) -> str:
    """Return a paired difference with its interval."""
    text = signed(one.mean)
    return text if one.interval is None else f"{text}, 95% interval {interval(one)}"


def interval(one: Difference) -> str:
    """Return the interval of a paired difference."""
    return "–" if one.interval is None else " to ".join(map(signed, one.interval))


def signed(value: float) -> str:
    """Return a difference with its sign, so that only zero looks like zero."""
    if value == 0:
        return "0"
    return f"{value:+.4f}" if abs(value) >= 0.0005 else f"{value:+.1e}"


def speed_headline(speed: Speed) -> str:
    """Return how fast our engines are at the first shape."""
    ours = [
        f"{path} {', '.join(f'{kinds[kind].ratio:.2f} in {kind}' for kind in KINDS)}"
        for path, kinds in speed.results[0].paths.items()
        if path != layers.KERAS
    ]
    return f"Speed: times as fast as Keras at {speed.shape}: {'; '.join(ours)}."


def speed_parts(speed: Speed) -> list[Part]:
    """Return the section on time and memory."""
    parts = [Note(text) for text in speed.failures]
    if speed.results:
        parts.append(Table(SPEED_HEADER, speed_rows(speed)))
    return parts


def speed_rows(speed: Speed) -> list[list[str]]:
    """Return the rows of the table of time and memory."""
    return [
        [
            f"{found.shape}; {path}",
            kind,
            milliseconds(kinds[kind].median),
            spread(vars(kinds[kind])),
            f"{kinds[kind].ratio:.2f}",
            *memory_cells(speed, found.shape, path, kind),
            f"{kinds[kind].first:.2f}",
        ]
        for found in speed.results
        for kind in KINDS
        for path, kinds in found.paths.items()
    ]


def memory_cells(speed: Speed, shape: str, path: str, kind: str) -> list[str]:
    """Return the MiB of a path and their ratio to Keras's, where measured."""
    measured = speed.memory.get(kind, {}) if shape == speed.shape else {}
    if path not in measured:
        return ["–", "–"]
    keras = measured.get(layers.KERAS)
    ratio = f"{measured[path] / keras:.2f}" if keras else "–"
    return [f"{measured[path]:,.0f}", ratio]


def size_parts(sizes: Sequence[Size]) -> list[Part]:
    """Return the section on sizes."""
    rows = [
        [one.layer, *(f"{n:,}" for n in (one.parameters, one.weights, one.file))]
        for one in sizes
    ]
    return [Table(SIZE_HEADER, rows)]
