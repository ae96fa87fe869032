"""The HTML page of a run."""

from html.parser import HTMLParser

import pytest

from experiments import report

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
        self.texts.append(data)


@pytest.mark.parametrize(
    "make",
    [
        report.heading,
        report.paragraph,
        report.note,
        report.code,
        lambda text: report.table((text,), [(text,)]),
        lambda text: report.page(text, []),
    ],
)
def test_text_from_data_stays_text(make):
    reader = Reader(make(HOSTILE))
    assert HOSTILE in reader.texts
    assert not {"script", "img"} & {tag for tag, _ in reader.tags}


def test_a_caption_cannot_leave_its_attribute():
    reader = Reader(report.figure(b"PNG", HOSTILE))
    images = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert [image["alt"] for image in images] == [HOSTILE]
    assert set(images[0]) == {"src", "alt"}


def test_a_page_loads_nothing_from_outside():
    page = report.page("title", [report.figure(b"PNG", "caption")])
    for tag, attributes in Reader(page).tags:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "url(" not in page


def test_columns_of_numbers_are_set_flush_and_texts_are_not():
    page = report.table(("a", "b", "c"), [("1", "2.5", "x"), ("y", "–", "3")])
    cells = [attributes for tag, attributes in Reader(page).tags if tag == "td"]
    assert [cell.get("class") for cell in cells] == [None, "number", None] * 2
