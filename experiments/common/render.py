"""Render the sections of a report for the terminal and as an HTML page.

The page is one self-contained file. Jinja escapes all text, so that none from the data
is taken for HTML.
"""

import base64
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import jinja2
import rich.cells
import rich.console
import rich.table
import rich.text
from markupsafe import Markup

from experiments.common.result import (
    Code,
    Figure,
    Note,
    Paragraph,
    Part,
    RunMetrics,
    Section,
    Table,
)
from experiments.common.terminal import printable

# Columns for output that is not a terminal, so that no line of a table is folded there.
PIPE_WIDTH = 10_000

# Columns that a text needs to be readable when it is folded, and between two columns.
TEXT_WIDTH, GAP = 20, 2


def _page_text(value: object) -> object:
    """Return a value as the page shows it: as it is if it is markup, else as text."""
    return value if isinstance(value, Markup) else printable(str(value))


TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    finalize=_page_text,
    undefined=jinja2.StrictUndefined,
)


def save_figures(folder: Path, sections: Sequence[Section]) -> None:
    """Save every figure of a report as `folder/NAME.png`."""
    figures = [
        part
        for section in sections
        for part in section.parts
        if isinstance(part, Figure)
    ]
    if figures:
        folder.mkdir()
    for part in figures:
        part.figure.savefig(folder / f"{part.name}.png", dpi=150)


def page(title: str, sections: Sequence[Section], figures: Path) -> str:
    """Return a report as an HTML page, with the figures that `save_figures` wrote."""
    images = {
        path.stem: base64.b64encode(path.read_bytes()).decode()
        for path in figures.glob("*.png")
    }
    template = TEMPLATES.get_template("report.html.jinja")
    return template.render(title=title, sections=sections, images=images)


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


def provenance(metrics: RunMetrics, config: dict) -> list[Section]:
    """Return the last sections of every report: command, settings, data, machine."""
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
    return [
        Section("Reproduce", [Code(metrics.command)]),
        Section(
            "Settings", [Table(("Option", "Value"), [*config.items()], page_only=True)]
        ),
        Section(
            "Data, engine and machine",
            [Table(("Fact", "Value"), facts, page_only=True)],
        ),
    ]


def _shown(part: Part, width: int) -> rich.console.RenderableType | None:
    """Return a part as rich prints it, or None."""
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
