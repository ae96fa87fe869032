"""What MkDocs adds to the files of `experiments/`: pages, lessons, equations."""

import ast
import posixpath
import re
from pathlib import Path

import latex2mathml.converter
import nbconvert
import nbformat
from mkdocs.structure.files import File
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ROOT / "build/lessons"  # after `make docs` has run them

# Pages that are not where MkDocs looks for them, by their file in the checkout.
PAGES = {
    "README.md": "index.md",
    "experiments/README.md": "experiments.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
# Where links to code lead.
CODE = {
    "lstm_keras/cell.py": "api/lstm_keras.md",
    "lstm_keras/reference.py": "api/reference.md",
}
# Modules without `__all__`, whose public functions and classes are shown.
MODULES = ("reference", "variants", "pooling", "runs", "testing")
PACKAGES = (
    "interpret",
    "preprocessing",
    "datasets",
    "language_model",
    "evaluation",
    "plots",
)

LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
MATH = re.compile(r'<(div|span) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_config(config):
    """Leave out the files for a server, which hold no link that works without one."""
    config.theme.static_templates.clear()


def on_files(files, config):
    """Add the pages, and show the lessons as they ran."""
    files.remove(files.get_file_from_path("README.md"))
    for source, page in PAGES.items():
        text = (ROOT / source).read_text("utf-8")
        text = _relinked(text, source)
        if page == "index.md":
            text = text.replace("\n## ", f"\n{_lessons(config.nav)}\n\n## ", 1)
        files.append(File.generated(config, page, content=text))
    for name in ("lstm_keras", *PACKAGES, *MODULES):
        page = File.generated(config, f"api/{name}.md", content=_api(name))
        files.append(page)
    for path in LESSONS.glob("*.ipynb"):
        files.remove(files.get_file_from_path(f"notebooks/{path.stem}.md"))
        for name, content in _lesson(path):
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown, page, **kwargs):
    """Let links between the pages of the checkout lead to those of the site."""
    if page.file.src_uri == "RESULTS.md":
        return _relinked(markdown, "experiments/RESULTS.md")
    return markdown


def on_page_content(html, **kwargs):
    """Typeset equations as MathML, which needs no script and no font."""

    def mathml(found: re.Match) -> str:
        tex = found[2].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
        display = "block" if found[1] == "div" else "inline"
        return latex2mathml.converter.convert(tex.strip(), display=display)

    return MATH.sub(mathml, html)


def on_post_page(output, **kwargs):
    """Name the search for those who hear the page."""
    return output.replace('role="dialog">', 'role="dialog" aria-label="Search">')


def _relinked(text: str, source: str) -> str:
    """Return a page with the links of the site, whose pages lie at its root."""

    def target(found: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        page = (PAGES | CODE).get(path, path.removeprefix("experiments/"))
        return f"]({page}"

    return LINK.sub(target, text)


def _lessons(nav: list[dict]) -> str:
    """Return a line of links to the lessons."""
    (lessons,) = (one["Lessons"] for one in nav if "Lessons" in one)
    links = [f"[{title}]({page})" for one in lessons for title, page in one.items()]
    return f"Lessons to begin with: {'; '.join(links)}."


def _api(name: str) -> str:
    """Return the page of a module: its docstring, and every public name."""
    module = "lstm_keras" if name == "lstm_keras" else f"lstm_keras.{name}"
    path = ROOT / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(source.read_text("utf-8"))
    options = "members: false, heading_level: 1, show_root_full_path: true"
    whole = f"::: {module}\n    options: {{{options}}}"
    return "\n\n".join([whole, *(f"::: {module}.{one}" for one in _public(tree))])


def _public(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    kinds = (ast.FunctionDef, ast.ClassDef)
    defined = [node.name for node in tree.body if isinstance(node, kinds)]
    return [name for name in defined if not name.startswith("_")]


def _lesson(path: Path):
    """Yield the page, the pictures and the notebook of a lesson that `make` has run."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:  # leave out what TensorFlow says when it starts
        outputs = cell.get("outputs", [])
        outputs[:] = [one for one in outputs if one.get("name") != "stderr"]
    yield path.name, nbformat.writes(notebook)
    pictures = {"output_files_dir": f"{path.stem}_files"}
    exporter = nbconvert.MarkdownExporter(preprocessors=[CoalesceStreamsPreprocessor])
    markdown, resources = exporter.from_notebook_node(notebook, resources=pictures)
    yield from resources["outputs"].items()
    title, _, rest = markdown.strip().partition("\n\n")
    download = f"[Download this lesson as a notebook]({path.name})"
    yield f"{path.stem}.md", f"{title}\n\n{download}\n\n{rest}"
