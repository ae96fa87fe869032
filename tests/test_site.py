"""The site of documentation. Oracles: MkDocs in strict mode, a browser, and axe."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lstm_keras
from tests.helpers import browser

pytest.importorskip("mkdocs", reason="the site needs the extra docs")

ROOT = Path(__file__).resolve().parents[1]
PAGES = re.findall(r"([\w/]+)\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    subprocess.run([*command, "-d", folder], cwd=ROOT, env=environment, check=True)
    return folder


def test_every_page_is_in_the_navigation(site):
    pages = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    assert pages == {f"{name}.html" for name in PAGES}


@browser.in_a_browser
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_sound(site, name):
    browser.assert_page_is_sound(site / f"{name}.html", within=site)


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


def in_tables(html, identity):
    """The names in the tables under a heading."""
    section = re.split("<h[23] ", html.split(f'id="{identity}"')[1])[0]
    return set(re.findall(r"<td>\s*<code>(?:<span[^>]*>)?(\w+)<", section))


@pytest.mark.parametrize("name", ["reference", "runs", "interpret", "evaluation"])
def test_every_field_is_documented(site, name):
    html = (site / f"api/{name}.html").read_text("utf-8")
    module = importlib.import_module(f"lstm_keras.{name}")
    for identity in re.findall(r'<h2 id="([\w.]+)"', html):
        one = getattr(module, identity.rpartition(".")[2], None)
        fields = getattr(one, "_fields", getattr(one, "__dataclass_fields__", ()))
        assert {*fields} <= in_tables(html, identity), identity


@pytest.mark.parametrize("name", ["LSTM", "RNN", "LSTMCell"])
def test_every_argument_of_a_call_is_documented(site, name):
    html = (site / "api/lstm_keras.html").read_text("utf-8")
    arguments = inspect.signature(getattr(lstm_keras, name).call).parameters
    assert {*arguments} - {"self"} <= in_tables(html, f"lstm_keras.{name}.call")


@browser.in_a_browser
@pytest.mark.parametrize(("width", "shown"), [(390, False), (1200, True)])
def test_a_desktop_shows_the_tabs(site, width, shown):
    with browser.opened(site / "index.html", width, within=site) as page:
        assert page.locator(".md-tabs").is_visible() == shown


@browser.in_a_browser
def test_subscripts_are_set_lower_than_their_letters(site):
    with browser.opened(site / "api/lstm_keras.html", within=site) as page:
        letter, subscript = page.locator("msub").first.evaluate(
            "one => [...one.children].map(part => part.getBoundingClientRect().bottom)"
        )
        assert subscript > letter + 1
