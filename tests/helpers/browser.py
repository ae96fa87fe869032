"""A page as a reader meets it: in a headless browser."""

import json
import re
import shutil
import subprocess
from urllib.parse import unquote

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def browse(folder, page, actions, *options):
    """Open a page, do what `actions` says, and return what it collects in `seen`.

    Also checks that the browser's console stays silent.
    """
    script = f"""<script>
      const seen = [];
      {actions}
      const out = document.createElement("output");
      out.id = "seen";
      out.textContent = encodeURIComponent(JSON.stringify(seen));
      document.body.append(out);
    </script></body>"""
    path = folder / "page.html"
    path.write_text(page.replace("</body>", script), encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            *options,
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not said, said
    (found,) = re.findall(r'id="seen">(.*?)</output>', done.stdout)
    return json.loads(unquote(found))
