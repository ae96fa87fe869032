"""Options that contradict each other are refused before Keras is loaded.

The oracle is the backend that Keras has loaded, and the table of what is refused.
"""

import subprocess
import sys

import keras
import pytest

from experiments.common.settings import backend
from tests.helpers.fresh_process import CHECKOUT
from tests.helpers.runs import experiment


def checked(name, options):
    return experiment(name).parse(options.split()).checked()


def test_the_backend_is_that_which_keras_has_loaded():
    assert backend() == keras.backend.backend()


@pytest.mark.parametrize(
    ("text", "name"),
    [('{"backend": "torch"}', "torch"), ("{}", "tensorflow"), ("{", "tensorflow")],
)
def test_the_backend_may_be_named_in_a_file_of_keras(tmp_path, monkeypatch, text, name):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert backend() == "tensorflow"
    (tmp_path / "keras.json").write_text(text)
    assert backend() == name
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert backend() == "jax"


@pytest.mark.parametrize(
    ("on", "name", "options", "message"),
    [
        ("jax", "imdb_sentiment", "--layer gru --engine xla", "is for --layer custom;"),
        ("tensorflow", "next_word", "--jit --engine xla", "--jit with --engine loop;"),
        ("torch", "imdb_sentiment", "--data-parallel", "not possible on torch: Keras"),
        ("tensorflow", "next_word", "--data-parallel", "for text on TensorFlow, where"),
        (
            "tensorflow",
            "imdb_sentiment",
            "--data-parallel --jit",
            "with --jit on TensorFlow, where a compiled",
        ),
    ],
)
def test_contradictory_options_are_refused(monkeypatch, on, name, options, message):
    monkeypatch.setenv("KERAS_BACKEND", on)
    with pytest.raises(ValueError, match=message):
        checked(name, options)


@pytest.mark.parametrize(
    ("on", "name", "options"),
    [
        ("tensorflow", "next_word", "--layer builtin --recipe by_heart"),  # the loop
        ("tensorflow", "imdb_sentiment", "--jit"),
        ("jax", "imdb_sentiment", "--jit --engine scan"),
        ("jax", "next_word", "--data-parallel --jit"),
        ("tensorflow", "imdb_sentiment", "--data-parallel"),
    ],
)
def test_options_that_go_together_are_not(monkeypatch, on, name, options):
    monkeypatch.setenv("KERAS_BACKEND", on)
    assert checked(name, options)


def test_the_command_line_refuses_them_before_keras_is_loaded():
    code = (
        "import sys\n"
        "from experiments.common import command_line\n"
        "from experiments.imdb_sentiment.settings import EXPERIMENT\n"
        "try:\n"
        "    command_line.main(EXPERIMENT, ['--layer=builtin', '--engine=xla'])\n"
        "finally:\n"
        "    assert not {'keras', 'tensorflow'} & {*sys.modules}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT
    )
    assert done.stderr.startswith("error: --engine is for --layer custom; received")
