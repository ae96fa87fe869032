"""The report of a benchmark."""

import math
from collections.abc import Iterator, Mapping, Sequence

from experiments.common.result import (
    Environment,
    Figure,
    Finding,
    Note,
    Paragraph,
    Section,
    Table,
)
from experiments.speed.layers import KERAS, TORCH
from experiments.speed.metrics import (
    Growth,
    LayerMetrics,
    Memory,
    Step,
    TableMetrics,
    Times,
)
from experiments.speed.shapes import GROWTH, KINDS, Shape
from lstm_keras import plots

HEADER = (
    "Shape B,T,D,H",
    "Backend",
    "Path",
    "ms a step",
    "10% to 90%",
    "Times as fast as Keras",
    "× limit",
    "First call s",
)
LIMIT = "matrix products alone"


def finding(metrics: LayerMetrics | TableMetrics) -> Finding | None:
    """Return what the times show, if they show anything."""
    if isinstance(metrics, TableMetrics):
        return Finding(metrics.finding) if metrics.finding else None
    first = next(iter(metrics.results.values()))[0].shape
    steps = {
        backend: {path: kinds["training"] for path, kinds in result.paths.items()}
        for backend, (result, *_) in metrics.results.items()
    }
    figure = Figure(
        "step_times",
        plots.plot_step_times(
            f"Training at B,T,D,H = {first}",
            {
                backend: {path: (s.low, s.median, s.high) for path, s in paths.items()}
                for backend, paths in steps.items()
            },
        ),
        f"Median time of a training step at B,T,D,H = {first}, with the quantiles of "
        "10% and 90%.",
    )
    return Finding(f"{in_words(Shape.read(first))}, {comparison(steps)}.", figure)


def comparison(steps: Mapping[str, Mapping[str, Step]]) -> str:
    """Return how fast our fastest engine of each backend is, by backend and path."""
    found = []
    for backend, paths in steps.items():
        ours = set(paths) - {KERAS, TORCH}
        best = min(ours, key=lambda path: paths[path].median)
        how = f"{best}; 1 round" if paths[best].rounds == 1 else best
        found.append(f"{paths[best].ratio:.1f} times on {backend} ({how})")
    first, *others = found
    first = first.replace("times", "times as fast as Keras's", 1)
    return f"our LSTM trains {', '.join([first, *others])}"


def in_words(shape: Shape) -> str:
    """Return a shape as the beginning of a sentence."""
    masked = ", masked" if shape.masked else ""
    return f"With {shape.batch} sequences of {shape.steps} steps{masked}"


def ending(missing: Sequence[str], seconds: float | None, interrupted: bool) -> str:
    """Return whether the benchmark was interrupted, and what it lacks.

    Args:
        missing: What was not measured.
        seconds: The time that it had.
        interrupted: Whether it was interrupted.
    """
    found = ["The benchmark was interrupted."] if interrupted else []
    if missing:
        within = f" within {seconds:g} s" if seconds and not interrupted else ""
        growth = [name for name in missing if name.startswith("growth ")]
        names = [name for name in missing if name not in growth]
        names += [f"growth at {len(growth)} shapes"] if growth else []
        found.append(f"Not measured{within}: {'; '.join(names)}.")
    return " ".join(found)


def sections(
    metrics: LayerMetrics | TableMetrics, remarks: Sequence[str]
) -> list[Section]:
    """Return the sections of the report, with remarks that nobody must miss."""
    layers = isinstance(metrics, LayerMetrics)
    remarks = [*remarks, *(metrics.failures if layers else metrics.notes)]
    return [
        Section(None, [Note(text) for text in remarks if text]),
        *(layer_sections if layers else tables)(metrics),
        Section(
            "Method",
            [
                *([Paragraph(explanation(metrics), page_only=True)] if layers else []),
                machine(metrics.environment),
            ],
        ),
    ]


def layer_sections(metrics: LayerMetrics) -> list[Section]:
    """Return the sections of `--measure layers`."""
    rows = shape_rows(metrics)
    sections = [Section(kind.capitalize(), [time_table(rows, kind)]) for kind in KINDS]
    if isinstance(metrics.memory, Memory):
        sections.append(Section("Memory", memory_parts(metrics.memory)))
    if isinstance(metrics.growth, Growth):
        rows = growth_rows(metrics)
        sections.append(Section("Growth", figures(metrics)))
        sections += [
            Section(f"Growth: {kind}", [time_table(rows, kind)], folded=True)
            for kind in KINDS
        ]
    return sections


def tables(metrics: TableMetrics) -> list[Section]:
    """Return the sections of the other measures: their tables."""
    return [
        Section(
            title, [Table([*rows[0]], [[*map(_shown, row.values())] for row in rows])]
        )
        for title, rows in metrics.results.items()
        if rows
    ]


def machine(environment: Environment) -> Paragraph:
    """Return a sentence on the machine."""
    computer = environment.machine
    return Paragraph(f"Measured on {computer.cpu}, {computer.cores} cores.")


def explanation(metrics: LayerMetrics) -> str:
    """Return an explanation of the numbers."""
    denormal = "treated as zero" if metrics.flush_denormal else "not treated as zero"
    return (
        "Median time of a whole step (train_on_batch, predict_on_batch) of Embedding → "
        "LSTM → Dense(1) with Adam, the paths of a backend in turn in one process. "
        "Times as fast as Keras: median of the rounds' ratios to Keras's layer on the "
        "same backend. × limit: time relative to the layer's matrix products alone (of "
        "steps that are not masked; for training three times those of prediction) at "
        f"{metrics.operations_per_second / 1e9:,.0f} GFLOP/s, the fastest large "
        "float32 matrix product of this machine in NumPy. First call: includes "
        "compilation. keras is keras.layers.LSTM, loop and the engines are "
        "lstm_keras.LSTM, torch.nn.LSTM is a plain torch model, which packs masked "
        f"sequences. Denormal numbers are {denormal} on torch."
    )


def measurements(results: Sequence[Times], backend: str, peak: float) -> Iterator[dict]:
    """Yield a row of numbers for each shape, path and kind of step.

    Args:
        results: The times of a backend.
        backend: Its name.
        peak: The machine's operations per second.
    """
    for result in results:
        for path, kinds in result.paths.items():
            for kind in KINDS:
                step = kinds[kind]
                yield {
                    "backend": backend,
                    "shape": result.shape,
                    "path": path,
                    "kind": kind,
                    **vars(step),
                    "times_limit": step.median / (result.operations[kind] / peak),
                }


def shape_rows(metrics: LayerMetrics) -> list[dict]:
    """Return the numbers of the chosen shapes, shape by shape."""
    rows = [
        row
        for backend, results in metrics.results.items()
        for row in measurements(results, backend, metrics.operations_per_second)
    ]
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    return sorted(rows, key=lambda row: shapes.index(row["shape"]))


def growth_rows(metrics: LayerMetrics) -> list[dict]:
    """Return the numbers of the growing shapes."""
    growth, peak = metrics.growth, metrics.operations_per_second
    if not isinstance(growth, Growth):
        return []
    return list(measurements(growth.results, growth.backend, peak))


def csv_rows(metrics: LayerMetrics) -> list[dict]:
    """Return all numbers, those of the growing shapes last."""
    parts = {"shapes": shape_rows(metrics), "growth": growth_rows(metrics)}
    return [{"part": part, **row} for part, rows in parts.items() for row in rows]


def time_table(rows: Sequence[dict], kind: str) -> Table:
    """Return the table of one kind of step."""
    body = [
        [
            row["shape"],
            row["backend"],
            row["path"],
            milliseconds(row["median"]),
            spread(row),
            f"{row['ratio']:.2f}",
            f"{row['times_limit']:,.1f}",
            f"{row['first']:.2f}",
        ]
        for row in rows
        if row["kind"] == kind
    ]
    return Table(HEADER, body)


def milliseconds(seconds: float) -> str:
    """Return seconds as milliseconds, with at least three digits."""
    value = 1000 * seconds
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def spread(step: Mapping) -> str:
    """Return the quantiles of the fields of a `Step`, of which one round has none."""
    if step["rounds"] == 1:
        return "–"
    return f"{milliseconds(step['low'])} to {milliseconds(step['high'])}"


def memory_parts(memory: Memory) -> list[Paragraph | Table]:
    """Return the table of memory, with an explanation."""
    rows = [
        [backend, path, f"{mebibytes:,.0f}"]
        for backend, paths in memory.mebibytes.items()
        for path, mebibytes in paths.items()
    ]
    meaning = (
        f"Peak resident memory over training steps at {memory.shape}, beyond that "
        "after the imports, each in a process of its own."
    )
    return [Paragraph(meaning), Table(("Backend", "Path", "MiB"), rows)]


def figures(metrics: LayerMetrics) -> list[Figure]:
    """Return the figures of growth."""
    return [
        Figure(
            f"growth_{kind}",
            plots.plot_growth(kind.capitalize(), growth_panels(metrics, kind), LIMIT),
            f"Median time of a step ({kind}, {metrics.growth.backend}) while one size "
            "doubles and the others stay; dashed: the layer's matrix products at the "
            "speed of a large one.",
        )
        for kind in KINDS
    ]


def growth_panels(metrics: LayerMetrics, kind: str) -> dict:
    """Return the curves of the paths and of the limit, by size."""
    rows = [row for row in growth_rows(metrics) if row["kind"] == kind]
    return {
        size: _curves([row for row in rows if row["shape"] in shapes], size)
        for size, shapes in metrics.growth.shapes.items()
    }


def _curves(rows: Sequence[dict], size: str) -> dict:
    curves, limit = {}, {}
    for row in rows:
        value = getattr(Shape.read(row["shape"]), GROWTH[size][0])
        curves.setdefault(row["path"], {})[value] = row["median"]
        limit[value] = row["median"] / row["times_limit"]
    return {
        name: tuple(zip(*sorted(curve.items()), strict=True))
        for name, curve in (curves | {LIMIT: limit}).items()
    }


def _shown(value) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else value
