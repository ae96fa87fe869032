"""A page as a reader meets it: in a headless browser."""

import contextlib
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@contextlib.contextmanager
def opened(path, width=1200, scheme="light", within=None):
    """A page, which may neither write to the console nor load anything from outside.

    It may load the files of the folder `within`; without one, nothing but itself.
    """
    said, loaded = [], []
    allowed = within.as_uri() if within else path.as_uri()
    with sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        with playwright.chromium.launch(**options) as browser:
            view = {"width": width, "height": 900}
            page = browser.new_page(viewport=view, color_scheme=scheme)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: loaded.append(request.url))
            page.goto(path.as_uri())
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


def assert_page_is_sound(path):
    """Nothing is cut or wider than the screen, and axe finds nothing serious.

    That holds on a phone with a dark page, and on a desktop with a light one.
    """
    with opened(path) as page:
        page.evaluate(
            "document.querySelectorAll('details').forEach(d => d.open = true)"
        )
        for width, scheme in ((390, "dark"), (1200, "light")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate(
                "[...document.querySelectorAll('.table')]"
                ".every(table => table.scrollWidth <= table.clientWidth)"
            )
            grave = grave_findings(page)
            assert not grave, (width, scheme, grave)
