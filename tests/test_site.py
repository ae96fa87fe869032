"""The site of documentation. Oracles: MkDocs in strict mode, a browser, and axe."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lstm_keras
from tests.helpers import browser

pytest.importorskip("mkdocs", reason="the site needs the extra docs")

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "index.html",
    "api/lstm_keras.html",
    "api/reference.html",
    "notebooks/sentiment.html",
)

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    subprocess.run([*command, "-d", folder], cwd=ROOT, env=environment, check=True)
    return folder


@browser.in_a_browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_sound(site, name, width, scheme):
    with browser.opened(site / name, width, scheme, within=site) as page:
        page.wait_for_timeout(300)  # until scripts have arranged the page
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert not browser.grave_findings(page)


@browser.in_a_browser
def test_the_search_works_without_a_server(site):
    with browser.opened(site / "index.html", within=site) as page:
        page.click("input.md-search__input")
        page.keyboard.type("perplexity")
        page.wait_for_selector(".md-search-result__item")


def test_equations_are_typeset_and_every_public_name_is_there(site):
    page = (site / "api/lstm_keras.html").read_text("utf-8")
    assert all(f'id="lstm_keras.{name}"' in page for name in lstm_keras.__all__)
    assert "<msub><mi>h</mi><mi>t</mi></msub><mo>&#x0003D;</mo><mi>o</mi>" in page


@browser.in_a_browser
def test_subscripts_are_set_lower_than_their_letters(site):
    with browser.opened(site / "api/lstm_keras.html", within=site) as page:
        letter, subscript = page.locator("msub").first.evaluate(
            "one => [...one.children].map(part => part.getBoundingClientRect().bottom)"
        )
        assert subscript > letter + 1
