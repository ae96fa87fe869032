"""A report on its page and on the terminal: nothing from data is taken for markup."""

import csv
import dataclasses
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import rich.text
from markupsafe import Markup
from matplotlib.figure import Figure as Drawing

from experiments.common import render
from experiments.common.result import (
    Code,
    Environment,
    Figure,
    Finding,
    Html,
    Machine,
    Note,
    Paragraph,
    RunMetrics,
    Section,
    Table,
)
from lstm_keras.plots import style
from tests.helpers import runs
from tests.helpers.browser import browse, in_a_browser, opened

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


def read(*parts, title="title", heading=None):
    """Render parts of a report as a page, and read it."""
    return Reader(render.page(title, [Section(heading, parts)]))


def drawn(caption="caption", name="drawn", text="text"):
    """A figure with a text, and a line of a clipped marker."""
    figure = Drawing(figsize=(1, 1))
    axes = figure.subplots()
    axes.plot([0, 1], marker="o", color=style.OURS)
    axes.text(0, 0, text)
    return Figure(name, figure, caption)


@pytest.mark.parametrize(
    "parts",
    [
        [Finding(HOSTILE)],
        [Paragraph(HOSTILE)],
        [Note(HOSTILE)],
        [Code(HOSTILE)],
        [Table((HOSTILE,), [(HOSTILE,)])],
        [Table(("a", HOSTILE, "c"), [("b", 1, 2)])],
        [drawn(text=HOSTILE)],
        [],
    ],
)
def test_text_from_data_stays_text(parts):
    reader = read(*parts, title=HOSTILE, heading=HOSTILE)
    assert reader.texts.count(HOSTILE) >= 3 + bool(parts)
    assert [found for tag, found in reader.tags if tag in ("script", "img")] == [{}]


def test_a_caption_cannot_leave_its_attribute():
    plain, hostile = (
        next(found for tag, found in read(drawn(caption)).tags if tag == "svg")
        for caption in ("caption", HOSTILE)
    )
    assert hostile.pop("aria-label") == HOSTILE
    assert plain.pop("aria-label") == "caption"
    assert plain == hostile


def test_a_page_refers_to_nothing_outside():
    for tag, found in read(drawn(), Note("x")).tags:
        assert tag not in ("link", "iframe")
        for name in ("src", "href", "xlink:href"):
            assert found.get(name, "#").startswith("#")


def test_figures_of_a_page_share_no_names_and_refer_to_their_own():
    page = render.page("title", [Section(None, [drawn(), drawn(name="other")])])
    assert page == render.page("title", [Section(None, [drawn(), drawn(name="other")])])
    names = Counter(re.findall(r' id="([^"]*)"', page))
    assert max(names.values()) == 1
    used = set(re.findall(r'url\(#([^)]*)|href="#([^"]*)', page))
    assert len(used) >= 4  # the clip path and the marker of each
    assert {clip or marker for clip, marker in used} <= set(names)


def test_every_table_of_a_section_has_a_name_of_its_own():
    tables = [Table((first, "b", "c"), [(1, 2, 3)]) for first in ("Method", "Sentence")]
    names = [tag.get("aria-label") for _, tag in read(*tables, heading="Found").tags]
    assert [*filter(None, names)] == ["Found, by Method", "Found, by Sentence"]


def test_figures_are_saved_as_png_that_of_the_finding_as_well(tmp_path):
    parts = [Finding("text", drawn()), drawn(name="other")]
    render.save_figures(tmp_path / "figures", [Section(None, parts)])
    saved = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert set(saved) == {"drawn.png", "other.png"}
    assert all(content.startswith(b"\x89PNG") for content in saved.values())


def test_settings_that_differ_from_the_defaults_come_first_and_are_folded():
    @dataclasses.dataclass
    class Settings:
        units: int = 64
        recipe: str = "none"
        epochs: int = 8

    environment = Environment(
        python="3",
        backend="b",
        versions={},
        machine=Machine(cpu="c", cores=1, platform="p"),
    )
    metrics = RunMetrics(command="python -m x", environment=environment)
    config = {"experiment": "x", "units": 64, "recipe": "embedded", "epochs": 6}
    config |= {"name": "demo", "output": "runs", "overwrite": True, "limit": None}
    settings, facts, last = render.provenance(metrics, config, Settings)
    differing, others = settings.parts
    assert differing.rows == [("recipe", "embedded", "none"), ("epochs", 6, 8)]
    assert others.rows == [("experiment", "x"), ("units", 64)]
    assert (settings.folded, facts.folded, last.folded) == (True, True, False)
    tags = [tag for tag, _ in Reader(render.page("title", [settings, last])).tags]
    assert tags.count("details") == tags.count("summary") == 1


def test_markup_of_an_experiment_is_left_as_it_is():
    assert ("b", {"id": "own"}) in read(Html(Markup('<b id="own">x</b>'))).tags


def test_negative_numbers_have_a_minus_sign_on_the_page():
    text, shown = "-1.5 to -inf, 1e-05, 1-2 grams", "−1.5 to −inf, 1e-05, 1-2 grams"
    table = Table(("a", "b"), [("--x -1", "-1.5, -2")])
    texts = read(Finding(text), Paragraph(text), table, Code(text)).texts
    assert texts.count(shown) == 2 and texts.count(text) == 1
    assert {"--x -1", "−1.5, −2"} <= {*texts}


MIXED = Table(("a", "b", "c"), [("1", "2.5", "x"), ("y", "–", "3")])


def test_columns_of_numbers_are_right_aligned_and_texts_are_not(capsys):
    cells = [found for tag, found in read(MIXED).tags if tag == "td"]
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
                    Finding(text, drawn()),
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
    assert capsys.readouterr().out.split("\n") == ["", *[text] * 6, ""]


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


def test_control_characters_are_shown_not_obeyed(capsys):
    text = "a\x1b[2J\x9b1m\0\r\tb\nc"
    safe = "a\ufffd[2J\ufffd1m\ufffd\ufffd\tb\nc"
    parts = [Paragraph(text), Note(text), Table((text, text), [(text, Path(text))])]
    reader = read(*parts, Code(text), drawn(text), title=text, heading=text)
    assert reader.texts.count(safe) == 11
    assert [found["aria-label"] for tag, found in reader.tags if tag == "svg"] == [safe]
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
LINE = "path[clip-path]"  # of `drawn`, in the color of `style.OURS`
NAME = "<img src=x onerror=console.error(7)> & 'co'"

# What the reader sees of the tables and the title, and what should not be there.
READ = """
  for (const cell of document.querySelectorAll("td")) seen.push(cell.textContent);
  seen.push(document.title, document.querySelector("h1").textContent,
    document.querySelectorAll("td *, svg:not(figure svg), a, iframe, img").length,
    document.documentElement.scrollWidth);
"""


def read_report(tmp_path, folder):
    """Texts of the cells of a run's report."""
    text = (folder / "report.html").read_text("utf-8")
    *cells, title, heading, elements, width = browse(tmp_path, text, READ, width=390)
    assert elements == 0
    assert width == 390
    assert NAME in title and NAME in heading
    return cells


@pytest.mark.thorough
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


@pytest.mark.thorough
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
    # The neighbours of the huge word.
    assert any(all(word in cell for word in words) for cell in cells)


@in_a_browser
def test_the_console_would_tell_of_every_script_that_runs(tmp_path):
    scripts = Markup(f"<table><tr><td>{''.join(IN_A_BROWSER[:3])}</td></tr></table>")
    text = render.page("Test", [Section(None, [Html(scripts)])])
    with pytest.raises(AssertionError) as told:
        browse(tmp_path, text, READ)
    assert {"1", "2", "3"} <= set(re.findall(r"'(\d)'", str(told.value)))


@in_a_browser
def test_the_command_can_be_copied_and_figures_have_the_colors_of_the_page(tmp_path):
    path, command = tmp_path / "page.html", 'python -m x --name "a  b"'
    path.write_text(render.page("title", [Section(None, [drawn(), Code(command)])]))
    stroke = f"getComputedStyle(document.querySelector({LINE!r})).stroke"
    with opened(path) as page:
        page.click("text=Copy")
        assert page.inner_text("button") == "Copied"
        assert page.evaluate("getSelection().toString()") == command
        colors = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            colors.append(page.evaluate(stroke))
    assert colors == [
        "rgb({}, {}, {})".format(*bytes.fromhex(color[1:]))
        for color in style.PALETTE["green"]
    ]


@in_a_browser
@pytest.mark.parametrize("width", [style.WIDTH, style.WIDE])
def test_on_a_phone_the_ticks_of_a_figure_are_as_large_as_small_print(tmp_path, width):
    path = tmp_path / "page.html"
    figure, _ = style.new_panel(width, 3, "title", "x", "y")
    parts = [Figure("drawn", figure, "caption")]
    path.write_text(render.page("title", [Section(None, parts)]))
    tick = "document.querySelector('figure text')"
    with opened(path, width=390) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        scale = page.evaluate(f"{tick}.getScreenCTM().a")
    assert 9 * scale >= 11  # pixels
