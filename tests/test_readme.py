"""The pages of documentation. Oracles: Python runs them, `--help` knows the options."""

import functools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser

import lstm_keras
from lstm_keras.language_model.model import build_language_model
from lstm_keras.preprocessing import Vocabulary

ROOT = Path(__file__).resolve().parents[1]
README, EXPERIMENTS, RESULTS = PAGES = [
    ROOT / "README.md",
    ROOT / "experiments/README.md",
    ROOT / "experiments/RESULTS.md",
]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """The runs that the pages open, untrained, in a working folder of their own."""
    monkeypatch.chdir(tmp_path)
    vocabulary = Vocabulary("i loved every moment once upon a time".split())
    sentiment = keras.Sequential(
        [
            keras.Input((10,), dtype="int32"),
            keras.layers.Embedding(len(vocabulary), 4),
            lstm_keras.LSTM(3),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )
    lstm = lstm_keras.LSTM(3, return_sequences=True, return_state=True)
    language = build_language_model(len(vocabulary), 4, [lstm]).model
    for run, model, config in (
        ("imdb_sentiment/demo", sentiment, {"maxlen": 10}),
        ("next_word/book", language, {"split": "lines"}),
    ):
        folder = Path("runs", run)
        folder.mkdir(parents=True)
        model.save(folder / "model.keras")
        vocabulary.save(folder / "vocabulary.json")
        config = {"experiment": folder.parent.name, **config}
        (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("page", [README, EXPERIMENTS], ids=["README", "experiments"])
def test_python_runs_from_top_to_bottom(page, runs):
    document = Document.parse(str(page), PythonCodeBlockParser())
    for block in document.examples():
        block.evaluate()


def test_the_commands_have_options_that_exist():
    commands = [command for page in PAGES for command in commands_in(page)]
    assert len(commands) > 40
    unknown = {
        shlex.join(command): given - options_of(*program)
        for command in commands
        for program, given in parts(*command)
        if not given <= options_of(*program)
    }
    assert unknown == {}


def commands_in(page):
    """The words of each command of an experiment, after `python -m`."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"python -m (experiments\.[a-z_]+(?=[\s`])[^\n`|]*)", text)
    return [shlex.split(command, comments=True) for command in found]


def parts(program, *words):
    """The program, and the options that it is given; those of a sweep's runs apart."""
    command = [word for word in words[:1] if word in ("predict", "generate")]
    if "--" in words:
        end = words.index("--")
        yield [f"experiments.{words[0]}"], options_in(words[end:])
        words = words[:end]
    yield [program, *command], options_in(words)


def options_in(words):
    return {word.partition("=")[0] for word in words if re.match("--[a-z]", word)}


@functools.cache
def options_of(*program):
    done = subprocess.run(
        [sys.executable, "-m", *program, "--help"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return set(re.findall(r"--[a-z][\w-]*", done.stdout))


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name
)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if not target.startswith("https:"):
            name, _, heading = target.partition("#")
            path = page.parent / name if name else page
            assert path.exists(), target
            assert not heading or heading in headings_of(path), target


def headings_of(page):
    """The names by which GitHub links to headings."""
    titles = re.findall("^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_has_at_most_1000_words():
    assert len(README.read_text("utf-8").split()) <= 1000
