"""What every experiment's command line does, before and after Keras is loaded."""

import runpy
import subprocess
import sys

import pytest

from experiments.common import command_line, schema
from tests.helpers.fresh_process import CHECKOUT

PROGRAMS = (
    "imdb_sentiment",
    "next_word",
    "memory",
    "gate_dynamics",
    "compare_lstm",
    "speed",
    "ablation",
    "sweep",
    "summarise",
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_answers_without_loading_a_backend(name):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['{name}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('experiments.{name}', run_name='__main__')\n"
        "finally:\n"
        "    loaded = {'keras', 'tensorflow', 'numpy', 'lstm_keras'} & {*sys.modules}\n"
        "    assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT
    )
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m experiments.{name}" in done.stdout


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        *((f"{name} --nam x", "--name") for name in PROGRAMS if name != "summarise"),
        ("summarise runs --over", "--overwrite"),
        ("imdb_sentiment predict RUN TEXT --hel", "--help"),
        ("imdb_sentiment predct RUN TEXT", "predict"),
        ("next_word generate RUN PROMPT --temprature 1", "--temperature"),
        ("sweep imdb --name s", "imdb_sentiment"),
        ("sweep next_word --name s --recipes tund", "tuned"),
    ],
)
def test_no_command_takes_an_abbreviation_and_each_suggests_what_was_meant(
    command, meant, capsys, monkeypatch
):
    name, *argv = command.split()
    monkeypatch.setattr(sys, "argv", [name, *argv])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"experiments.{name}", run_name="__main__")
    said = f"{ended.value.code} {capsys.readouterr().err}"
    assert said.strip().endswith(f"(did you mean {meant}?)")


def test_the_command_of_schemas_suggests_the_experiment_that_was_meant(
    monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["schema", "imdb"])
    with pytest.raises(SystemExit, match="2"):
        schema.main()
    said = capsys.readouterr().err
    assert said.endswith("received 'imdb' (did you mean imdb_sentiment?)\n")


@pytest.mark.parametrize("error", [ValueError("expected x"), OSError("no disk")])
def test_errors_of_the_user_end_the_program_with_one_line(error):
    with pytest.raises(SystemExit) as ended, command_line.readable_errors():
        raise error
    assert ended.value.code == f"error: {error}"


def test_other_errors_are_not_hidden():
    with pytest.raises(KeyError), command_line.readable_errors():
        raise KeyError("a bug")


def test_a_missing_package_of_the_extra_is_named():
    with (
        pytest.raises(SystemExit, match=r"need rich; .*lstm_keras\[experiments\]"),
        command_line.readable_errors(),
    ):
        raise ModuleNotFoundError("No module named 'rich'", name="rich")
    with pytest.raises(ModuleNotFoundError), command_line.readable_errors():
        raise ModuleNotFoundError("No module named 'oops'", name="oops")


def test_a_run_whose_output_nobody_reads_any_more_ends_silently_with_status_1():
    code = (
        "from experiments.common import command_line, lifecycle\n"
        "from experiments.imdb_sentiment.settings import EXPERIMENT\n"
        "def execute(*_): raise BrokenPipeError\n"
        "lifecycle.execute = execute\n"
        "command_line.main(EXPERIMENT, [])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_command_can_be_pasted_into_a_shell(monkeypatch):
    monkeypatch.delenv("LSTM_KERAS_DATA", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    command = command_line.command("speed", ["--name", "two words"])
    assert command == "KERAS_BACKEND=jax python -m experiments.speed --name 'two words'"
