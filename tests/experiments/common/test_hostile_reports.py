"""Reports of hostile data, as a reader meets them: data stays text, and no script runs.

The scripts write to the browser's console, which must stay silent.
"""

import csv

import pytest

from experiments import imdb_sentiment, next_word, report
from tests.helpers.browser import browse, in_a_browser

HOSTILE = (
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
    """Texts of the cells, and of title and heading, of a run's report."""
    page = (folder / "report.html").read_text("utf-8")
    *cells, title, heading, elements, fits = browse(tmp_path, page, READ)
    assert elements == 0
    assert fits
    assert NAME in title and NAME in heading
    return cells


@in_a_browser
def test_hostile_reviews_stay_text(tmp_path):
    # All reviews have the same words, so that half of the predictions are wrong.
    text = " ".join([*HOSTILE, "<scr\0ipt>console.error(8)</scr\0ipt>"])
    review = f"{HUGE} {text} "
    data = tmp_path / f"{NAME}.csv"
    with data.open("w", encoding="utf-8", newline="") as file:
        rows = [(review + "!" * n, n % 2) for n in range(24)]
        csv.writer(file).writerows([("review", "sentiment"), *rows])
    imdb_sentiment.main(
        [
            *("--data", str(data), "--output", str(tmp_path), "--name", NAME),
            *("--maxlen", "5", "--units", "2", "--epochs", "1", "--no-baselines"),
        ]
    )
    cells = read_report(tmp_path, tmp_path / "imdb_sentiment" / NAME)
    mistakes = [cell for cell in cells if HUGE[:100] in cell]
    assert len(mistakes) == 6  # of 12 test reviews
    for cell in mistakes:
        assert text.replace("\0", "") in cell  # no page can show this character
    assert any(data.name in cell for cell in cells)


@in_a_browser
def test_hostile_words_stay_text(tmp_path):
    words = [text.replace(" ", "/") for text in HOSTILE]  # each one word
    text = tmp_path / f"{NAME}.txt"
    text.write_text(f"{HUGE} {' '.join(words)}\n" * 20, encoding="utf-8")
    next_word.main(
        [
            *("--text", str(text), "--output", str(tmp_path), "--name", NAME),
            *("--tokens", "whitespace", "--embedding", "3", "--units", "2"),
            *("--epochs", "1", "--batch-size", "20", "--no-baselines"),
        ]
    )
    cells = read_report(tmp_path, tmp_path / "next_word" / NAME)
    assert any(text.name in cell for cell in cells)
    (neighbours,) = (cell for cell in cells if words[0] in cell)  # of the huge word
    assert all(word in neighbours for word in words)


@in_a_browser
def test_the_console_would_tell_of_every_script_that_runs(tmp_path):
    scripts = "".join(HOSTILE[:3])
    page = report.page("Test", [f"<table><tr><td>{scripts}</td></tr></table>"])
    with pytest.raises(AssertionError) as told:
        browse(tmp_path, page, READ)
    assert str(told.value).count("CONSOLE") == 3
