"""A page as a reader meets it: in a headless browser."""

import contextlib
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# The widths of a phone and a desktop, of which axe looks at the last.
SCREENS = {"dark": (1200, 390), "light": (390, 1200)}
PAPER = 680  # pixels between margins of 1.5 cm on A4
# Of the folded sources of a page of documentation one will do.
UNFOLD = """[
    ...document.querySelectorAll("details:not(.mkdocstrings-source)"),
    ...[...document.querySelectorAll(".mkdocstrings-source")].slice(0, 1),
].forEach((one) => { one.open = true; })"""
CUT = """[...document.querySelectorAll(".table")].filter(
    (one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)"""
# What ends to the right of the paper, or hides a part of itself.
BEYOND = """width => [...document.body.querySelectorAll("*")].filter((one) => {
    const box = one.getBoundingClientRect();
    const hides = getComputedStyle(one).overflowX !== "visible"
        && one.scrollWidth > one.clientWidth + 1;
    return box.width && box.height && (box.right > width + 1 || hides);
}).map((one) => one.outerHTML.slice(0, 200))"""
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@contextlib.contextmanager
def opened(path, width=1200, scheme="light", within=None):
    """A page, which may neither write to the console nor load anything from outside.

    It may load the files of the folder `within`; without one, nothing but itself. With
    an address as `path` it may load what is below that.
    """
    said, loaded = [], []
    address = path if isinstance(path, str) else path.as_uri()
    allowed = within.as_uri() if within else address
    with sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        with playwright.chromium.launch(**options) as browser:
            view = {"width": width, "height": 900}
            page = browser.new_page(viewport=view, color_scheme=scheme)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: loaded.append(request.url))
            page.goto(address)
            yield page
    assert not said, said
    assert not [url for url in loaded if not url.startswith(("data:", allowed))]


def grave_findings(page):
    """What axe finds in a page that is serious or critical."""
    found = Axe().run(page, options={"preload": False}).response["violations"]
    return [
        (one["id"], node["html"], node["failureSummary"])
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def browse(folder, page, actions, width=1200):
    """Open a page, do what `actions` says, and return what it collects in `seen`."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    with opened(path, width) as page:
        return page.evaluate(f"() => {{ const seen = []; {actions}; return seen; }}")


def assert_page_is_sound(path, within=None):
    """Nothing is cut or wider than screen or paper, and axe finds nothing serious."""
    for scheme, widths in SCREENS.items():
        with opened(path, widths[0], scheme, within) as page:
            page.evaluate(UNFOLD)
            for width in widths:
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_timeout(200)  # until scripts have arranged the page
                assert page.evaluate("document.documentElement.scrollWidth") == width
                cut = page.evaluate(CUT)
                assert not cut, (width, scheme, cut)
            grave = grave_findings(page)
            assert not grave, (width, scheme, grave)
            page.emulate_media(media="print")
            page.set_viewport_size({"width": PAPER, "height": 900})
            beyond = page.evaluate(BEYOND, PAPER)
            assert not beyond, beyond
