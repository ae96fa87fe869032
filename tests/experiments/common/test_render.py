"""A report on its page and on the terminal: nothing from data is taken for markup."""

import csv
import sys
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest
import rich.text
from markupsafe import Markup
from matplotlib.figure import Figure as Drawing

from experiments.common import render
from experiments.common.result import (
    Code,
    Figure,
    Html,
    Note,
    Paragraph,
    Section,
    Table,
)
from tests.helpers import runs
from tests.helpers.browser import browse, in_a_browser

HOSTILE = "</td><script>alert('x')</script><img src=http://evil onerror=\"x\">&"


class Reader(HTMLParser):
    """Collects the tags with their attributes, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.fixture
def page(tmp_path):
    """Render parts of a report as a page, and read it."""

    def read(*parts, title="title", heading=None):
        sections = [Section(heading, parts)]
        render.save_figures(tmp_path / "figures", sections)
        return Reader(render.page(title, sections, tmp_path / "figures"))

    return read


def drawn(caption):
    return Figure("drawn", Drawing(figsize=(1, 1)), caption)


@pytest.mark.parametrize(
    "parts",
    [
        [Paragraph(HOSTILE)],
        [Note(HOSTILE)],
        [Code(HOSTILE)],
        [Table((HOSTILE,), [(HOSTILE,)])],
        [Table(("a", HOSTILE), [("b", 1)])],
        [],
    ],
)
def test_text_from_data_stays_text(page, parts):
    reader = page(*parts, title=HOSTILE, heading=HOSTILE)
    assert reader.texts.count(HOSTILE) >= 3 + bool(parts)
    assert not {"script", "img"} & {tag for tag, _ in reader.tags}


def test_a_caption_cannot_leave_its_attribute(page):
    images = [found for tag, found in page(drawn(HOSTILE)).tags if tag == "img"]
    assert [image["alt"] for image in images] == [HOSTILE]
    assert set(images[0]) == {"src", "alt"}


def test_a_page_loads_nothing_from_outside(page):
    for tag, found in page(drawn("caption"), Note("x")).tags:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href"):
            assert found.get(name, "data:").startswith("data:")


def test_markup_of_an_experiment_is_left_as_it_is(page):
    assert ("b", {"id": "own"}) in page(Html(Markup('<b id="own">x</b>'))).tags


def test_a_figure_that_was_not_saved_is_an_error(tmp_path):
    with pytest.raises(jinja2.UndefinedError):
        render.page("title", [Section(None, [drawn("caption")])], tmp_path)


MIXED = Table(("a", "b", "c"), [("1", "2.5", "x"), ("y", "–", "3")])


def test_columns_of_numbers_are_right_aligned_and_texts_are_not(page, capsys):
    cells = [found for tag, found in page(MIXED).tags if tag == "td"]
    assert [cell.get("class") for cell in cells] == [None, "number", None] * 2
    render.show([Section(None, [MIXED])])
    assert capsys.readouterr().out.splitlines() == [
        "a    b  c",
        "1  2.5  x",
        "y    –  3",
    ]


def test_the_terminal_shows_texts_as_they_are_and_leaves_out_what_is_of_the_page(
    capsys,
):
    text = "[bold]b[/bold] :smile: [link=x]"
    render.show(
        [
            Section(
                text,
                [
                    Paragraph(text),
                    Note(text),
                    Table((text,), [(text,)]),
                    Paragraph("no", page_only=True),
                    Table(("no",), [], page_only=True),
                    Code("no"),
                    Html(Markup("no")),
                ],
            ),
            Section("no", [Code("no")]),
        ]
    )
    assert capsys.readouterr().out.split("\n") == ["", *[text] * 5, ""]


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [
        (("0.5", "−1,000.25", "±2", "+3.1e-05", "12%", "0.1 ± 0.2", "1\n2 to 3"), True),
        (("1", "nan", "-inf", "none", "–", ""), True),
        (("1", "3D"), False),
        (("3D film", "12 Monkeys"), False),
        (("1", "information"), False),
        (("1", "x"), False),
    ],
)
def test_a_column_is_numeric_if_each_cell_starts_with_a_number(cells, numeric):
    table = Table(("a", "b"), [("x", cell) for cell in cells])
    assert table.numeric == [False, numeric]


def test_control_characters_are_shown_not_obeyed(page, capsys):
    text = "a\x1b[2J\x9b1m\0\r\tb\nc"
    safe = "a\ufffd[2J\ufffd1m\ufffd\ufffd\tb\nc"
    parts = [Paragraph(text), Note(text), Table((text, text), [(text, Path(text))])]
    reader = page(*parts, Code(text), drawn(text), title=text, heading=text)
    assert reader.texts.count(safe) == 11
    assert [found["alt"] for tag, found in reader.tags if tag == "img"] == [safe]
    render.show([Section(text, parts)])
    said = capsys.readouterr().out
    assert said.count("a\ufffd[2J\ufffd1m\ufffd\ufffd ") == 7
    assert not {*text} & {*said} - {*safe}


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Show a table on a terminal of some columns, and return the lines."""

    def shown(table, columns):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        render.show([Section(None, [table])])
        said = rich.text.Text.from_ansi(capsys.readouterr().out).plain
        return [line.rstrip() for line in said.splitlines()]

    return shown


WIDE = Table(
    ("which model", "accuracy of the test", "interval"),
    [("the one with a gate", "0.5000", "0.4 to 0.6\nof 3"), ("GRU", "–", "1")],
)


def test_a_table_too_wide_for_the_terminal_folds_its_texts_and_headers(terminal):
    assert terminal(WIDE, 53) == [
        "which model          accuracy of the test    interval",
        "the one with a gate                0.5000  0.4 to 0.6",
        "                                                 of 3",
        "GRU                                     –           1",
    ]
    assert terminal(WIDE, 33) == [
        "             accuracy",
        "               of the",
        "which model      test    interval",
        "the one        0.5000  0.4 to 0.6",
        "with a gate                  of 3",
        "GRU                 –           1",
    ]


def test_if_its_numbers_do_not_fit_each_row_becomes_a_list(terminal):
    more = "1,000,000,000"
    wider = Table((*WIDE.header, "more"), [(*row, more) for row in WIDE.rows])
    assert terminal(wider, 41) == [
        "which model           the one with a gate",
        "accuracy of the test  0.5000",
        "interval              0.4 to 0.6",
        "                      of 3",
        "more                  1,000,000,000",
        "",
        "which model           GRU",
        "accuracy of the test  –",
        "interval              1",
        "more                  1,000,000,000",
    ]


@pytest.mark.parametrize("columns", [None, "60"])
def test_no_cell_of_a_table_is_cut(columns, capsys, monkeypatch):
    """Whatever the width: without a terminal there is one line for each row."""
    if columns is not None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", columns)
    long = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    render.show([Section(None, [Table(("a", "b"), [(long, 1), ("words " * 40, 2)])])])
    said = capsys.readouterr().out
    assert all(character in said for character in long)
    assert said.count("words") == 40
    assert (len(said.splitlines()) == 3) == (columns is None)


# In a browser: scripts write to the console, which must stay silent.

IN_A_BROWSER = (
    "</td></tr></table></main><script>console.error(1)</script>",
    "<img src=x onerror=console.error(2)>",
    "\"'><svg onload=console.error(3)>",
    "<a href=javascript:console.error(4)>here</a>",
    "&lt;b&gt; <!-- --> ]]> ${console.error(5)} {{6}} %s",
    "\u202ereversed\u2066",
)
HUGE = "W" * 5000
NAME = "<img src=x onerror=console.error(7)> & 'co'"

# What the reader sees of the tables and the title, and what should not be there.
READ = """
  for (const cell of document.querySelectorAll("td")) seen.push(cell.textContent);
  seen.push(document.title, document.querySelector("h1").textContent,
    document.querySelectorAll("td *, svg, a, iframe, img:not([src^='data:image/png'])")
      .length,
    document.body.scrollWidth <= document.documentElement.clientWidth);
"""


def read_report(tmp_path, folder):
    """Texts of the cells of a run's report."""
    text = (folder / "report.html").read_text("utf-8")
    *cells, title, heading, elements, fits = browse(tmp_path, text, READ)
    assert elements == 0
    assert fits
    assert NAME in title and NAME in heading
    return cells


@in_a_browser
def test_hostile_reviews_stay_text(tmp_path):
    # All reviews have the same words, so that half of the predictions are wrong.
    text = " ".join([*IN_A_BROWSER, "<scr\0ipt>console.error(8)</scr\0ipt>"])
    review = f"{HUGE} {text} "
    data = tmp_path / f"{NAME}.csv"
    with data.open("w", encoding="utf-8", newline="") as file:
        rows = [(review + "!" * n, n % 2) for n in range(24)]
        csv.writer(file).writerows([("review", "sentiment"), *rows])
    small = "--maxlen 5 --units 2 --epochs 1 --no-baselines".split()
    folder = runs.make("imdb_sentiment", tmp_path, "--data", data, *small, run=NAME)
    cells = read_report(tmp_path, folder)
    mistakes = [cell for cell in cells if HUGE[:100] in cell]
    assert len(mistakes) == 6  # of 12 test reviews
    for cell in mistakes:
        assert text.replace("\0", "\ufffd") in cell
    assert any(data.name in cell for cell in cells)


@in_a_browser
def test_hostile_words_stay_text(tmp_path):
    words = [text.replace(" ", "/") for text in IN_A_BROWSER]  # each one word
    text = tmp_path / f"{NAME}.txt"
    text.write_text(f"{HUGE} {' '.join(words)}\n" * 20, encoding="utf-8")
    small = """--tokens whitespace --embedding 3 --units 2 --epochs 1 --batch-size 20
        --no-baselines""".split()
    folder = runs.make("next_word", tmp_path, "--text", text, *small, run=NAME)
    cells = read_report(tmp_path, folder)
    assert any(text.name in cell for cell in cells)
    (neighbours,) = (cell for cell in cells if words[0] in cell)  # of the huge word
    assert all(word in neighbours for word in words)


@in_a_browser
def test_the_console_would_tell_of_every_script_that_runs(tmp_path):
    scripts = Markup(f"<table><tr><td>{''.join(IN_A_BROWSER[:3])}</td></tr></table>")
    text = render.page("Test", [Section(None, [Html(scripts)])], tmp_path)
    with pytest.raises(AssertionError) as told:
        browse(tmp_path, text, READ)
    assert str(told.value).count("CONSOLE") == 3
