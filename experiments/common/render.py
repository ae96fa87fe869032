"""Render the sections of a report for the terminal and as an HTML page.

The page is one self-contained file. Jinja escapes all text, so that none from the data
is taken for HTML.
"""

import base64
import sys
from collections.abc import Sequence
from pathlib import Path

import jinja2
import rich.console
import rich.table
import rich.text

from experiments.common.result import (
    Code,
    Figure,
    Note,
    Paragraph,
    RunMetrics,
    Section,
    Table,
)

# Columns for output that is not a terminal, so that no line of a table is folded there.
PIPE_WIDTH = 10_000

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
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
        shown = [part for part in map(_shown, section.parts) if part is not None]
        if shown and section.title:
            console.print(rich.text.Text(f"\n{section.title}", style="bold"))
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


def _shown(part):
    """Return a part as rich prints it, or None."""
    if isinstance(part, Note):
        return rich.text.Text(part.text, style="yellow")
    if isinstance(part, Paragraph) and not part.page_only:
        return rich.text.Text(part.text)
    if isinstance(part, Table) and not part.page_only:
        return _table(part)
    return None


def _table(part: Table) -> rich.table.Table:
    table = rich.table.Table(
        box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold"
    )
    for name, numeric in zip(part.header, part.numeric, strict=True):
        table.add_column(
            rich.text.Text(str(name)),
            justify="right" if numeric else "left",
            overflow="fold",
        )
    for row in part.rows:
        table.add_row(*(rich.text.Text(str(value)) for value in row))
    return table
