"""The report of a benchmark, as a page and as text."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments import report
from experiments.speed_shapes import GROWTH, KINDS, Shape

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
MEMORY_HEADER = ("Backend", "Path", "MiB")
LIMIT = "matrix products alone"


def measurements(results: list[dict], backend: str, peak: float) -> Iterator[dict]:
    """Give a row of numbers for each shape, path and kind of step.

    Args:
        results: A backend's, as `speed_layers.times` returns them.
        backend: Its name.
        peak: The machine's operations a second.
    """
    for result in results:
        for path, kinds in result["paths"].items():
            for kind in KINDS:
                limit = result["operations"][kind] / peak
                yield {
                    "backend": backend,
                    "shape": result["shape"],
                    "path": path,
                    "kind": kind,
                    **kinds[kind],
                    "times_limit": kinds[kind]["median"] / limit,
                }


def shape_measurements(metrics: dict) -> list[dict]:
    """Return the numbers of the chosen shapes, shape by shape."""
    peak = metrics["operations_per_second"]
    rows = [
        row
        for backend, results in metrics["results"].items()
        for row in measurements(results, backend, peak)
    ]
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    return sorted(rows, key=lambda row: shapes.index(row["shape"]))


def growth_measurements(metrics: dict) -> list[dict]:
    """Return the numbers of the growing shapes."""
    growth = metrics["growth"]
    if not growth:
        return []
    peak = metrics["operations_per_second"]
    return list(measurements(growth["results"], growth["backend"], peak))


def csv_rows(metrics: dict) -> list[dict]:
    """Return all numbers, those of the growing shapes last."""
    parts = {
        "shapes": shape_measurements(metrics),
        "growth": growth_measurements(metrics),
    }
    return [{"part": part, **row} for part, rows in parts.items() for row in rows]


def table_rows(rows: Sequence[dict], kind: str) -> list[list[str]]:
    """Return the rows of one kind of step as the table shows them."""
    return [
        [
            row["shape"],
            row["backend"],
            row["path"],
            milliseconds(row["median"]),
            f"{milliseconds(row['low'])} to {milliseconds(row['high'])}",
            f"{row['ratio']:.2f}",
            f"{row['times_limit']:,.1f}",
            f"{row['first']:.2f}",
        ]
        for row in rows
        if row["kind"] == kind
    ]


def milliseconds(seconds: float) -> str:
    """Return seconds as milliseconds, with at least three digits."""
    value = 1000 * seconds
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def memory_rows(metrics: dict) -> list[list[str]]:
    """Return the rows of the table of memory."""
    return [
        [backend, path, f"{mebibytes:,.0f}"]
        for backend, paths in metrics["memory"].get("mebibytes", {}).items()
        for path, mebibytes in paths.items()
    ]


def memory_title(metrics: dict) -> str:
    """Return what the numbers of memory are."""
    return (
        f"Peak resident memory (ru_maxrss) over training steps at "
        f"{metrics['memory']['shape']}, beyond that after the imports, each in a "
        "process of its own"
    )


def figures(metrics: dict) -> dict:
    """Return the figures by name, each with its caption; without growth none."""
    from lstm_keras import plots

    growth = metrics["growth"]
    if not growth:
        return {}
    return {
        f"growth_{kind}": (
            plots.plot_growth(kind.capitalize(), growth_panels(metrics, kind), LIMIT),
            f"Median time of a step ({kind}, {growth['backend']}) while one size "
            "doubles and the others stay; dashed: the layer's matrix products at the "
            "speed of a large one.",
        )
        for kind in KINDS
    }


def growth_panels(metrics: dict, kind: str) -> dict:
    """Return for each size the curves of the paths, and of the limit."""
    rows = [row for row in growth_measurements(metrics) if row["kind"] == kind]
    return {
        size: _curves([row for row in rows if row["shape"] in shapes], size)
        for size, shapes in metrics["growth"]["shapes"].items()
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


def layers_page(metrics: dict, settings: dict, pictures: Sequence) -> str:
    """Return the HTML report of the layers.

    Args:
        metrics: What `metrics.json` holds.
        settings: What `config.json` holds.
        pictures: PNG bytes and caption of each figure.
    """
    parts = [report.paragraph(explanation(metrics))]
    parts += [report.note(text) for text in metrics["failures"]]
    for title, rows in sections(metrics).items():
        parts += [report.heading(title), report.table(HEADER, rows)]
    if memory_rows(metrics):
        parts += [
            report.heading("Memory"),
            report.paragraph(memory_title(metrics) + "."),
            report.table(MEMORY_HEADER, memory_rows(metrics)),
        ]
    if pictures:
        parts.append(report.heading("Growth"))
        parts += [report.figure(png, caption) for png, caption in pictures]
    parts += report.provenance(metrics, settings)
    return report.page(f"Speed: {settings['name']}", parts)


def sections(metrics: dict) -> dict[str, list[list[str]]]:
    """Return the tables of times by their headings."""
    parts = {"": shape_measurements(metrics), " (growth)": growth_measurements(metrics)}
    return {
        f"{kind.capitalize()}{suffix}": table_rows(rows, kind)
        for suffix, rows in parts.items()
        for kind in KINDS
        if rows
    }


def explanation(metrics: dict) -> str:
    """Return what the numbers are."""
    denormal = "taken for zero" if metrics["flush_denormal"] else "not taken for zero"
    return (
        "Median time of a whole step (train_on_batch, predict_on_batch) of Embedding → "
        "LSTM → Dense(1) with Adam, the paths of a backend in turn in one process. "
        "Times as fast as Keras: median of the rounds' ratios to Keras's layer on the "
        "same backend. × limit: against the layer's matrix products alone (of steps "
        "that are not masked; for training three times those of prediction) at "
        f"{metrics['operations_per_second'] / 1e9:,.0f} GFLOP/s, the fastest large "
        "float32 matrix product of this machine in NumPy. First call: with compiling. "
        "keras is keras.layers.LSTM, loop and the engines are lstm_keras.LSTM, "
        "torch.nn.LSTM is a plain torch model, which packs masked sequences. Denormal "
        f"numbers are {denormal} on torch."
    )


def tables_page(metrics: dict, settings: dict) -> str:
    """Return the HTML report of the other measures: their tables as they are."""
    parts = [report.note(text) for text in metrics["notes"]]
    for title, rows in metrics["results"].items():
        body = [[_shown(value) for value in row.values()] for row in rows]
        parts += [report.heading(title), report.table(list(rows[0]), body)]
    parts += report.provenance(metrics, settings)
    return report.page(f"Speed: {settings['name']}", parts)


def _shown(value) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else value


def text(metrics: dict, path: Path) -> str:
    """Return what the terminal shows at the end."""
    machine = metrics["environment"]["machine"]
    lines = []
    if metrics["measure"] == "layers":
        for title, rows in sections(metrics).items():
            lines += ["", title, *report.aligned([HEADER, *rows])]
        if memory_rows(metrics):
            lines += ["", memory_title(metrics)]
            lines += report.aligned([MEMORY_HEADER, *memory_rows(metrics)])
        lines += ["", explanation(metrics), *metrics["failures"]]
    lines += [f"{machine['cpu']}, {machine['cores']} cores"]
    return "\n".join([*lines, f"Report: {path / 'report.html'}"])
