"""Render the sections of a report for the terminal and as an HTML page.

The page is one self-contained file. Jinja escapes all text, so that none from the data
is taken for HTML; Matplotlib escapes that of figures.
"""

import dataclasses
import io
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import jinja2
import matplotlib
import rich.cells
import rich.console
import rich.table
import rich.text
from markupsafe import Markup, escape

from experiments.common.result import (
    Code,
    Figure,
    Finding,
    Note,
    Paragraph,
    Part,
    RunMetrics,
    Section,
    Table,
)
from experiments.common.settings import OutputSettings
from experiments.common.terminal import printable

# Columns for output that is not a terminal, so that no line of a table is folded there.
PIPE_WIDTH = 10_000

# Columns that a text needs to be readable when it is folded, and between two columns.
TEXT_WIDTH, GAP = 20, 2


def _page_text(value: object) -> object:
    """Return a value as the page shows it: as it is if it is markup, else as text."""
    return value if isinstance(value, Markup) else printable(str(value))


def _minus(text: object) -> str:
    """Return a text whose negative numbers have a minus sign instead of a hyphen."""
    return re.sub(r"(?<![\w-])-(?=\d|inf\b)", "−", str(text))


def _themed(color: str) -> str:
    """Return a color of the style as CSS, for a light and a dark page."""
    from lstm_keras.plots.style import INK, PALETTE  # which loads Keras

    pairs = {light: f"light-dark({light}, {dark})" for light, dark in PALETTE.values()}
    return ({INK: "currentColor"} | pairs).get(color, color)


def _svg(figure: Figure) -> Markup:
    """Return a figure as SVG that takes its font and its colors from the page."""
    written = io.StringIO()
    options = {"svg.fonttype": "none", "svg.hashsalt": figure.name}
    with matplotlib.rc_context(options):
        figure.figure.savefig(
            written, format="svg", transparent=True, metadata={"Date": None}
        )

    def tag(found: re.Match) -> str:
        text = re.sub(r"font-family: [^;\"]*;? ?| xmlns[^ >]*", "", found[0])
        # Figures of one page must not share names.
        text = re.sub(r'( id="|href="#|url\(#)', rf"\1{figure.name}-", text)
        return re.sub("#[0-9a-f]{6}", lambda color: _themed(color[0]), text)

    text = printable(written.getvalue())
    text = re.sub(r"<(metadata|style|!--).*?(</\1|--)>", "", text, flags=re.DOTALL)
    text = re.sub("<[^<>]+>", tag, text).partition("<svg ")[2]
    name = escape(printable(figure.caption))
    return Markup(f'<svg role="img" aria-label="{name}" {text}')


TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    finalize=_page_text,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {"minus": _minus, "svg": _svg, "themed": _themed}


def save_figures(folder: Path, sections: Sequence[Section]) -> None:
    """Save every figure of a report as `folder/NAME.png`."""
    parts = [part for section in sections for part in section.parts]
    parts = [part.figure if isinstance(part, Finding) else part for part in parts]
    figures = [part for part in parts if isinstance(part, Figure)]
    if figures:
        folder.mkdir()
    for part in figures:
        part.figure.savefig(folder / f"{part.name}.png", dpi=200)


def page(title: str, sections: Sequence[Section]) -> str:
    """Return a report as an HTML page."""
    from lstm_keras.plots import style  # which loads Keras

    template = TEMPLATES.get_template("report.html.jinja")
    return template.render(title=title, sections=sections, style=style)


def show(sections: Sequence[Section]) -> None:
    """Print the parts of a report that are not for the page alone."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    console = rich.console.Console(width=width, highlight=False, soft_wrap=True)
    for section in sections:
        parts = [_shown(part, console.width) for part in section.parts]
        shown = [part for part in parts if part is not None]
        if shown and section.title:
            console.print(_text(f"\n{section.title}", "bold"))
        for part in shown:
            console.print(part)


def provenance(metrics: RunMetrics, config: dict, settings: type) -> list[Section]:
    """Return the last sections of every report: settings, machine, command.

    Args:
        metrics: The metrics of the run.
        config: The content of its `config.json`.
        settings: The type of the experiment's settings, which has the defaults.
    """
    environment = metrics.environment
    facts = [
        *((f"data: {key}", value) for key, value in metrics.data.items()),
        *((f"engine: {key}", value) for key, value in metrics.engine.items()),
        ("backend", environment.backend),
        *environment.versions.items(),
        ("python", environment.python),
        ("processor", environment.machine.cpu),
        ("cores", environment.machine.cores),
    ]
    # Where a run was written, and what it has no value of, says nothing of its numbers.
    where = {field.name for field in dataclasses.fields(OutputSettings)}
    config = {name: value for name, value in config.items() if name not in where}
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    differing = [
        (name, config[name], default)
        for name, default in defaults.items()
        if name in config and config[name] != default
    ]
    names = [name for name, *_ in differing]
    others = [
        (name, value)
        for name, value in config.items()
        if name not in names and value is not None
    ]
    return [
        Section(
            "Settings",
            [
                Table(
                    ("Differs from the default", "Value", "Default"), differing, True
                ),
                Table(("Option", "Value"), others, page_only=True),
            ],
            folded=True,
        ),
        Section(
            "Data, engine and machine",
            [Table(("Fact", "Value"), facts, page_only=True)],
            folded=True,
        ),
        Section("Reproduce", [Code(metrics.command)]),
    ]


def _shown(part: Part, width: int) -> rich.console.RenderableType | None:
    """Return a part as rich prints it, or None."""
    if isinstance(part, Finding):
        return _text(part.text, "bold")
    if isinstance(part, Note):
        return _text(part.text, "yellow")
    if isinstance(part, Paragraph) and not part.page_only:
        return _text(part.text)
    if isinstance(part, Table) and not part.page_only:
        return _table(part, width)
    return None


def _text(value: object, style: str = "") -> rich.text.Text:
    return rich.text.Text(printable(str(value)), style=style)


def _table(part: Table, width: int) -> rich.table.Table:
    """Return a table in which no number is broken.

    If it is too wide, texts and headers are folded; if that does not suffice, each row
    becomes a list of names and values.
    """
    columns = [
        [*map(str, column)] for column in zip(part.header, *part.rows, strict=True)
    ]
    fits = (
        _total(_longest("\n".join(column).split("\n")) for column in columns) <= width
    )
    least = [
        _longest([*name.split(), *"\n".join(cells).split("\n")])
        if numeric
        else min(_longest(" ".join([name, *cells]).split()), TEXT_WIDTH)
        for (name, *cells), numeric in zip(columns, part.numeric, strict=True)
    ]
    if not fits and _total(least) > width:
        return _list(part)
    table = _grid()
    for name, numeric, needed in zip(part.header, part.numeric, least, strict=True):
        table.add_column(
            _text(name),
            justify="right" if numeric else "left",
            overflow="fold",
            width=needed if numeric and not fits else None,
        )
    for row in part.rows:
        table.add_row(*map(_text, row))
    return table


def _list(part: Table) -> rich.table.Table:
    """Return the rows of a table below each other, with a line for each cell."""
    table = _grid(show_header=False)
    for _ in range(2):
        table.add_column(overflow="fold")
    for number, row in enumerate(part.rows):
        if number:
            table.add_row()
        for name, value in zip(part.header, row, strict=True):
            table.add_row(_text(name, "bold"), _text(value))
    return table


def _grid(**options) -> rich.table.Table:
    return rich.table.Table(
        box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold", **options
    )


def _longest(texts: Iterable[str]) -> int:
    return max(map(rich.cells.cell_len, texts), default=0)


def _total(widths: Iterable[int]) -> int:
    """Return the width of a table from those of its columns."""
    widths = list(widths)
    return sum(widths) + GAP * (len(widths) - 1)
