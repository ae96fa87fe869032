"""What is installed: the version, the wheel, the annotations."""

import ast
import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import lstm_keras
from tests.helpers.fresh_process import CHECKOUT

FOLDER = Path(lstm_keras.__file__).parent


def test_the_version_is_that_of_the_installed_package():
    assert lstm_keras.__version__ == importlib.metadata.version("lstm_keras")


def test_wheel_and_sdist_hold_the_package_and_its_version(tmp_path):
    # In a copy, since setuptools leaves a folder behind; and without Keras, since a
    # build must not need what is yet to be installed.
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, tmp_path)
    copy = tmp_path / "lstm_keras"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    files = [path for path in copy.rglob("*") if path.is_file()]
    expected = {path.relative_to(tmp_path).as_posix() for path in files}
    assert "lstm_keras/py.typed" in expected
    build = (
        "import sys; sys.modules['keras'] = None\n"
        "from setuptools import build_meta\n"
        "build_meta.build_wheel('.'); build_meta.build_sdist('.')\n"
    )
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True)
    stem = f"lstm_keras-{lstm_keras.__version__}"
    with zipfile.ZipFile(tmp_path / f"{stem}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    assert {name for name in names if ".dist-info/" not in name} == expected
    with tarfile.open(tmp_path / f"{stem}.tar.gz") as sdist:
        assert {f"{stem}/{name}" for name in expected} <= set(sdist.getnames())


def test_public_functions_say_what_they_take_and_return():
    for path in sorted(FOLDER.rglob("*.py")):
        assert [*_not_annotated(ast.parse(path.read_text("utf-8")))] == [], path


def _not_annotated(tree, prefix=""):
    """Yield the names of public functions without complete annotations."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _not_annotated(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            is_constructor = node.name in ("__init__", "__new__")
            if node.name.startswith("_") and not is_constructor:
                continue
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            arguments = arguments[bool(prefix) :]  # not `self` or `cls`
            says = all(argument.annotation for argument in arguments)
            if not (says and (node.returns or is_constructor)):
                yield f"{prefix}{node.name}"
