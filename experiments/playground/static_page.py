"""Write the page of a run as a folder of files: its model runs in the browser."""

import contextlib
import html
import json
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import unicodedata
from collections.abc import Iterator
from html.entities import html5
from pathlib import Path

from experiments.common.trained_run import open_run
from experiments.imdb_sentiment.settings import vocabulary_note

# The npm package that computes, and what the page needs of it.
PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")

# Character references that may not stand for the character of their number.
_ODD_REFERENCES = (
    *range(0xA0),
    *range(0xFDD0, 0xFDF0),
    *(plane | 0xFFFE for plane in range(0, 0x110000, 0x10000)),
    *(plane | 0xFFFF for plane in range(0, 0x110000, 0x10000)),
)


def write(run: str, experiment: str, folder: str, runtime: str | None) -> None:
    """Write the page of a run.

    Args:
        run: The run's folder.
        experiment: Its experiment.
        folder: The folder to write, which is new or empty.
        runtime: A folder with the npm package; by default npm fetches it.

    Raises:
        OSError: The folder is not empty or cannot be made, or npm is missing or fails.
        ModuleNotFoundError: `onnx` is not installed.
        ValueError: The run cannot be read or exported.
    """
    place = Path(folder).resolve()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise FileExistsError(f"expected a new or an empty folder; received {place}")
    import onnx  # noqa: F401  so that it is missed before the long work

    place.parent.mkdir(parents=True, exist_ok=True)
    # Its files are moved at the end, so that what fails leaves no part of a page.
    with (
        tempfile.TemporaryDirectory(dir=place.parent) as temporary,
        _runtime(runtime) as found,
    ):
        opened = open_run(run, experiment)
        from lstm_keras import export_onnx

        page = Path(temporary, "page")
        shutil.copytree(Path(__file__).with_name("static"), page)
        export_onnx(opened, page / "model.onnx")
        (page / "onnxruntime").mkdir()
        for name in RUNTIME:
            shutil.copy(found / name, page / "onnxruntime")
        about = {
            "experiment": experiment,
            "run": opened.path.resolve().name,  # not where it lies on this machine
            "vocabulary_note": vocabulary_note(len(opened.vocabulary.words)),
            **{
                name: opened.config.get(name)
                for name in ("maxlen", "split", "backwards")
            },
            **tokenizer_tables(),
        }
        (page / "about.json").write_text(json.dumps(about), encoding="utf-8")
        place.mkdir(exist_ok=True)
        for file in page.iterdir():
            shutil.move(file, place)
    size = sum(file.stat().st_size for file in place.rglob("*")) / 2**20
    print(f"{place}: {size:.0f} MiB, for any web server, such as this one:")
    quoted = shlex.quote(str(place))
    print(f"  python -m http.server --bind 127.0.0.1 --directory {quoted}")


def tokenizer_tables() -> dict:
    """Return what Python's tokenizers know of characters, for those in JavaScript.

    A browser may know another version of Unicode.
    """
    every = "".join(map(chr, range(0x110000)))
    categories = [unicodedata.category(one) for one in every]
    kinds = "".join("n" if one == "Cn" else one[0] for one in categories)

    def ranges(pattern: str, text: str) -> list[tuple[int, int]]:
        """Return first and last of each run of characters that match."""
        return [(one.start(), one.end() - 1) for one in re.finditer(pattern, text)]

    return {
        "classes": {
            "word": ranges(r"\w+", every),
            "digit": ranges(r"\d+", every),
            "letter": ranges(r"[^\W\d_]+", every),
            "space": ranges(r"\s+", every),
            "mark": ranges("M+", kinds),
            "unassigned": ranges("n+", kinds),
        },
        "entities": html5,
        "references": {i: html.unescape(f"&#{i};") for i in _ODD_REFERENCES},
    }


@contextlib.contextmanager
def _runtime(folder: str | None) -> Iterator[Path]:
    """Give a folder with the files of `RUNTIME`."""
    if folder is not None:
        inner = ("", "dist", f"node_modules/{PACKAGE}/dist")
        for place in (Path(folder, name) for name in inner):
            if all((place / name).is_file() for name in RUNTIME):
                yield place
                return
        raise FileNotFoundError(
            f"expected the npm package {PACKAGE}, whose folder dist holds "
            f"{' and '.join(RUNTIME)}; received {folder}"
        )
    with tempfile.TemporaryDirectory() as temporary:
        _fetch(Path(temporary))
        yield Path(temporary)


def _fetch(folder: Path) -> None:
    """Let npm fetch the package, and unpack the files of `RUNTIME` into a folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(
            f"expected npm, which comes with Node.js, to fetch {PACKAGE}; there is "
            "none. Install it, or give --runtime a folder with the package"
        )
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(folder)]
    print(f"npm fetches {PACKAGE} {VERSION} (33 MB) …", flush=True)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    packed = [*folder.glob("*.tgz")]
    if done.returncode or len(packed) != 1:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise OSError(
            f"npm could not fetch {PACKAGE}: {' '.join(lines)[:300] or 'no package'}. "
            "Without a network give --runtime a folder with the package"
        )
    with tarfile.open(packed[0]) as archive:
        for name in RUNTIME:
            with archive.extractfile(f"package/dist/{name}") as file:
                (folder / name).write_bytes(file.read())
