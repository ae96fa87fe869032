"""What is refused before Keras is loaded. Oracle: the import of lstm_keras fails."""

import json
import re
import sys

import pytest

from experiments.common.trained_run import check_run
from tests.helpers import runs


@pytest.fixture(autouse=True)
def _without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "lstm_keras", None)


def write_run(folder, experiment="imdb_sentiment", without=""):
    """Write the files of a run, which hold nothing but its kind."""
    folder.mkdir(parents=True)
    for name in {"config.json", "vocabulary.json", "model.keras"} - {without}:
        (folder / name).write_text(json.dumps({"experiment": experiment}))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a run of each kind, and broken ones."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs/imdb_sentiment/demo")
    write_run(tmp_path / "runs/next_word/book", "next_word")
    write_run(tmp_path / "other/grid", "memory")
    for name in ("config.json", "vocabulary.json", "model.keras"):
        write_run(tmp_path / "other" / f"no-{name}", without=name)
    write_run(tmp_path / "other/broken")
    (tmp_path / "other/broken/config.json").write_text("{")
    (tmp_path / "runs/imdb_sentiment/.killed.partial").mkdir()


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("nowhere", "expected a run folder; there is none at nowhere$"),
        ("runs/imdb_sentiment/dmo", "dmo .did you mean runs/imdb_sentiment/demo"),
        ("demo", "demo .did you mean runs/imdb_sentiment/demo"),
        ("other/grid/model.keras", "model.keras .did you mean other/grid"),
        ("runs/imdb_sentiment/killed", "killed .it is unfinished: .*killed.partial"),
        ("runs/imdb_sentiment", "holds a config.json; .*, which holds the runs demo"),
        ("", r"a run folder, which holds a config.json; received \.$"),
        ("runs/next_word/book", "a run of imdb_sentiment; .*book, a run of next_word"),
        ("other/grid", "expected a run of imdb_sentiment; .*, a run of memory"),
        ("other/broken", "expected JSON in other/broken/config.json"),
        ("other/no-config.json", "holds a config.json; received other/no-config.json$"),
        ("other/no-vocabulary.json", "expected vocabulary.json in the run folder"),
        ("other/no-model.keras", "expected model.keras in the run folder"),
    ],
)
def test_a_wrong_folder_is_refused_with_what_may_be_meant(folder, run, message):
    with pytest.raises((OSError, ValueError), match=message):
        check_run(run, "imdb_sentiment")
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        runs.main("imdb_sentiment", "predict", run, "text")


def test_a_run_of_version_0_1_0_does_not_name_its_experiment(folder, tmp_path):
    (tmp_path / "other/grid/config.json").write_text("{}")
    check_run("other/grid", "imdb_sentiment")


def test_generate_refuses_a_run_of_sentiment(folder):
    with pytest.raises(SystemExit, match=r"a run of next_word; .*, a run of imdb_"):
        runs.main("next_word", "generate", "runs/imdb_sentiment/demo", "text")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--show 2 --beam 2", "expected --show without"),
        ("--show 2 --seed 2", "expected --show without"),
        ("--show 2 --tokens 2", "expected --show without"),
        ("--beam 2 --temperature 1", "expected --beam without"),
        ("--beam 2 --top-k 2", "expected --beam without"),
        ("--seed 1", "expected --seed with --temperature, --top-k or --top-p"),
        ("--temperature 0 --seed 1", "expected a --temperature above 0 with"),
        ("--temperature 0 --top-p 1", "expected a --temperature above 0 with"),
        ("--temperature inf", "expected a number of at least 0; received 'inf'"),
        ("--tokens 0", "expected a whole number of at least 1; received '0'"),
        ("--temp 0.8", "unrecognized .* --temp 0.8 .did you mean --temperature"),
    ],
)
def test_generate_refuses_options_that_contradict_each_other(
    folder, arguments, message, capsys
):
    with pytest.raises(SystemExit, match="2"):
        runs.main("next_word", "generate", "no run", "text", *arguments.split())
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    "arguments",
    ["", "--tokens 3 --beam 2", "--top-k 2 --seed 1", "--temperature 0", "--show 3"],
)
def test_generate_takes_options_that_go_together(folder, arguments):
    with pytest.raises(ModuleNotFoundError, match="lstm_keras"):
        runs.main(
            "next_word",
            "generate",
            "runs/next_word/book",
            "text",
            *arguments.split(),
        )
