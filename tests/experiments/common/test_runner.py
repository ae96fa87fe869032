"""The command line that a dataclass becomes."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from experiments import runner
from experiments.runner import option

SCRIPTS = ("imdb_sentiment", "speed", "compare_lstm")


@dataclass(frozen=True)
class Settings:
    recipe: str = option("plain", "defaults", group="a", choices=("plain", "tuned"))
    units: int = option(64, "size in %", group="a", least=1)
    rate: float = option(0.5, "a rate", group="b", above=0, below=1)
    limit: int | None = option(None, "a limit", group="b", least=10)
    masked: bool = option(False, "mask", group="b")


RECIPES = {"plain": {}, "tuned": {"units": 32, "masked": True}}


def parse(*argv):
    return runner.parse(
        Settings, argv, program="program", description="words", recipes=RECIPES
    )


def test_without_options_the_defaults_hold():
    assert parse() == Settings()


def test_options_set_the_fields():
    settings = parse("--units", "8", "--rate=0.25", "--limit", "10", "--masked")
    assert settings == Settings(units=8, rate=0.25, limit=10, masked=True)


def test_a_recipe_changes_defaults_and_an_option_wins_over_it():
    assert parse("--recipe", "tuned") == Settings("tuned", units=32, masked=True)
    given = parse("--units", "8", "--recipe", "tuned", "--no-masked")
    assert given == Settings("tuned", units=8, masked=False)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--units", "0", "a whole number at least 1"),
        ("--units", "2.5", "a whole number at least 1"),
        ("--units", "many", "a whole number at least 1"),
        ("--rate", "nan", "a number above 0 and below 1"),
        ("--rate", "inf", "a number above 0 and below 1"),
        ("--rate", "1", "a number above 0 and below 1"),
        ("--limit", "-10", "a whole number at least 10"),
    ],
)
def test_a_bad_number_is_refused_with_what_was_expected(
    option, value, expected, capsys
):
    with pytest.raises(SystemExit, match="2"):
        parse(option, value)
    assert f"{option}: expected {expected}; received '{value}'" in (
        capsys.readouterr().err
    )


def test_help_names_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse("--help")
    help = capsys.readouterr().out
    for name in ("--units", "--rate", "--limit", "--no-masked", "--recipe"):
        assert name in help
    assert "size in % (default: 64)" in help


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_answers_without_loading_a_backend(script):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['{script}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('experiments.{script}', run_name='__main__')\n"
        "finally:\n"
        "    assert not {'keras', 'tensorflow', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "options" in done.stdout


@pytest.mark.parametrize("error", [ValueError("expected x"), OSError("no disk")])
def test_errors_of_the_user_end_the_program_with_one_line(error):
    with pytest.raises(SystemExit) as ended, runner.readable_errors():
        raise error
    assert ended.value.code == f"error: {error}"


def test_other_errors_are_not_hidden():
    with pytest.raises(KeyError), runner.readable_errors():
        raise KeyError("a bug")


def test_the_command_can_be_pasted_into_a_shell(monkeypatch):
    monkeypatch.delenv("LSTM_KERAS_DATA", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    command = runner.command_line("speed", ["--name", "two words"])
    assert command == "KERAS_BACKEND=jax python -m experiments.speed --name 'two words'"
