"""A run's report: one HTML page that loads nothing from outside."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8886; --soft: #8882; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto;
  padding: 1rem; }}
h1, h2 {{ line-height: 1.2; }}
h2 {{ margin-top: 2.5rem; border-bottom: 1px solid var(--line); }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
th, td.number {{ overflow-wrap: normal; }}
td.number {{ white-space: nowrap; }}
td:not(.number) {{ min-width: 7rem; }}
td:first-child {{ min-width: 12rem; }}
pre {{ background: var(--soft); padding: .8rem; overflow-x: auto; }}
.note {{ border-left: .3rem solid #d55e00; padding: .2rem .8rem;
  background: var(--soft); }}
figure {{ margin: 1.5rem 0; }}
img {{ max-width: 100%; height: auto; background: white; }}
@media print {{ pre {{ white-space: pre-wrap; }} figure {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def page(title: str, parts: Sequence[str]) -> str:
    """Return the page, from parts that the functions below made."""
    return _PAGE.format(title=html.escape(title), body="\n".join(parts))


def heading(text: str) -> str:
    """Return a section's heading."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def note(text: str) -> str:
    """Return a paragraph that the reader must not miss."""
    return f'<p class="note" role="note">{html.escape(text)}</p>'


def code(text: str) -> str:
    """Return a block of code, such as a command."""
    return f"<pre><code>{html.escape(text)}</code></pre>"


def table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """Return a table; a column of numbers, or of text that starts so, is set flush."""

    def cells(tag: str, values: Sequence) -> str:
        return "".join(
            f'<{tag} class="number">{html.escape(str(value))}</{tag}>'
            if column in numeric
            else f'<{tag} dir="auto">{html.escape(str(value))}</{tag}>'
            for column, value in enumerate(values)
        )

    numeric = {
        column
        for column in range(1, len(header))
        if rows and all(_starts_as_number(row[column]) for row in rows)
    }
    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{cells("th", header)}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines of columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def figure(png: bytes, caption: str) -> str:
    """Return a PNG as a picture inside the page."""
    data = base64.b64encode(png).decode()
    text = html.escape(caption, quote=True)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def save_figures(folder: Path, figures: dict) -> list[tuple[bytes, str]]:
    """Save figures, each with its caption, as `folder/figures/NAME.png`.

    Returns:
        PNG bytes and caption of each, for `figure`.
    """
    (folder / "figures").mkdir()
    pictures = []
    for name, (drawing, caption) in figures.items():
        path = folder / "figures" / f"{name}.png"
        drawing.savefig(path, dpi=150)
        pictures.append((path.read_bytes(), caption))
    return pictures


def provenance(metrics: dict, settings: dict) -> list[str]:
    """Return the sections that end every report: how the numbers came about."""
    environment = metrics["environment"]
    facts = [
        *((f"data: {key}", value) for key, value in metrics["data"].items()),
        *((f"engine: {key}", value) for key, value in metrics["engine"].items()),
        ("backend", environment["backend"]),
        *environment["versions"].items(),
        ("python", environment["python"]),
        ("processor", environment["machine"]["cpu"]),
        ("cores", environment["machine"]["cores"]),
    ]
    return [
        heading("Do it again"),
        code(metrics["command"]),
        heading("Settings"),
        table(("Option", "Value"), list(settings.items())),
        heading("Data, engine and machine"),
        table(("Fact", "Value"), facts),
    ]


def _starts_as_number(value) -> bool:
    text = str(value).lstrip("-+±")
    return text[:1].isdigit() or text in ("", "–")
