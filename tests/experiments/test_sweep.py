"""Recipes times seeds: a run for each, only what is missing, one table.

The oracle is what each run leaves, and which jobs were started.
"""

import json

import pytest

from experiments.common import lifecycle, processes
from experiments.common.result import Finding, Result, RunMetrics, metrics
from experiments.sweep import command_line, worker
from experiments.sweep.runs import time_left

COMMON = (
    "--limit 400 --epochs 1 --embedding 4 --units 5 --batch-size 8 --no-baselines"
).split()


def start(output, *argv, common=COMMON):
    options = ("--name", "s", "--seeds", "2", "--output", str(output))
    command_line.main(["next_word", *options, *argv, "--", *common])


@metrics
class MadeUp(RunMetrics):
    """What `summarise` reads."""

    results: list[dict]
    """Of the only model."""


@pytest.fixture
def here(monkeypatch):
    """Run jobs in this process, without training; give their names.

    Those in `dying` die after their first checkpoint.
    """
    found, dying = [], set()

    def run(settings, context):
        context.begin({})
        (context.checkpoints / "training.npz").touch()
        if settings.name in dying:
            raise ZeroDivisionError
        results = {"train": {"perplexity": 9.0, "accuracy": 0.5}, "held_out": None}
        found = {"metrics": MadeUp(results=[results]), "finding": Finding("made up")}
        return Result(title="", sections=[], **found)

    def run_all(commands, count, ray):
        for name, (module, *argv) in commands.items():
            assert module == "experiments.sweep.worker"
            found.append(name)
            try:
                worker.main(argv)
            except ZeroDivisionError:
                yield processes.Ended(name, -9, "")
            else:
                yield processes.Ended(name, 0, "")

    monkeypatch.setattr(lifecycle, "load", lambda *_: run)
    monkeypatch.setattr(processes, "run_all", run_all)
    return found, dying


@pytest.mark.thorough
def test_every_recipe_and_seed_is_a_run_in_a_process_of_its_own(tmp_path, capsys):
    start(tmp_path, "--seeds", "1", "--recipes", "plain,by_heart", "--jobs", "2")
    configs = [
        json.loads((tmp_path / "next_word" / name / "config.json").read_text())
        for name in ("s-plain-0", "s-by_heart-0")
    ]
    assert [config["recipe"] for config in configs] == ["plain", "by_heart"]
    assert [config["dropout"] for config in configs] == [0.5, 0]
    assert all(config["units"] == 5 for config in configs)
    said = capsys.readouterr().out
    assert "2/2" in said and "by_heart" in said.split("2/2")[1]


@pytest.mark.parametrize(
    ("count", "total", "jobs", "left"),
    [
        (1, 4, 1, "; about 6 min left"),
        (3, 4, 1, "; about 40 s left"),
        (1, 5, 2, "; about 4 min left"),  # its neighbour is about to end
        (2, 5, 2, "; about 4 min left"),
        (3, 5, 2, "; about 60 s left"),
        (4, 4, 1, ""),
        (1, 3, 8, ""),
    ],
)
def test_the_time_left_is_that_of_the_rounds_that_are_to_come(count, total, jobs, left):
    assert time_left(120, count, total, jobs) == left


def test_a_run_that_dies_is_reported_and_resumed_by_the_same_command(
    tmp_path, here, capsys
):
    made, dying = here
    dying.add("s-plain-0")
    with pytest.raises(SystemExit, match="1"):
        start(tmp_path)
    said = capsys.readouterr().out
    assert "1/2  s-plain-0 was killed by SIGKILL" in said and "2/2  s-plain-1" in said
    assert "next_word: 1 run in 1 group" in said
    assert "Not finished: s-plain-0; the same command resumes them." in said
    runs = tmp_path / "next_word"
    assert {one.name for one in runs.iterdir()} == {".s-plain-0.partial", "s-plain-1"}
    dying.clear()
    start(tmp_path)
    assert "2 runs, 1 of them finished" in capsys.readouterr().out
    assert made == ["s-plain-0", "s-plain-1", "s-plain-0"]
    assert {one.name for one in runs.iterdir()} == {"s-plain-0", "s-plain-1"}
    start(tmp_path)
    assert len(made) == 3
    with pytest.raises(SystemExit, match=r"it was made with another units "):
        start(tmp_path, common=(*COMMON, "--units", "6"))
    assert len(made) == 3


def test_an_option_takes_each_of_its_values(tmp_path, here):
    start(tmp_path, "--vary", "learning-rate=0.01,1e-3", "--seeds", "1")
    found = {
        path.parent.name: json.loads(path.read_text())["learning_rate"]
        for path in tmp_path.glob("next_word/*/config.json")
    }
    assert found == {"s-plain-0.01-0": 0.01, "s-plain-1e-3-0": 0.001}


def test_a_job_that_is_tried_again_resumes_its_run(tmp_path, here):
    """A cluster starts a job again with the command line of a new run."""
    argv = ["next_word", f"--output={tmp_path}", "--name=s", *COMMON]
    here[1].add("s")
    with pytest.raises(ZeroDivisionError):
        worker.main(argv)
    assert [path.name for path in tmp_path.glob("*/*")] == [".s.partial"]
    here[1].clear()
    for _ in range(2):  # the second time there is nothing left to do
        worker.main(argv)
        assert [path.name for path in tmp_path.glob("*/*")] == ["s"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("memory --name s", "expected imdb_sentiment or next_word .*'memory'"),
        ("--name s", "as the first word; received no experiment"),
        ("next_word", "expected --name"),
        ("next_word --name s --recipes best", "received 'best'"),
        ("next_word --name s -- --seed 3", "received --seed"),
        ("next_word --name s -- --units 0", "2"),
        ("next_word --name s --jobs 0", "2"),
        ("next_word --name ../s", "expected a plain folder name"),
        ("next_word --name s --vary unit=1", r"an option of next_word.*mean units\?"),
        ("next_word --name s --vary seed=1,2", "an option of next_word"),
        ("next_word --name s --vary units", "different values after units="),
        ("next_word --name s --vary units=3,3", "received '3,3'"),
        ("next_word --name s --vary units=3,0", "2"),
        ("next_word --name s --vary jit=1", "an option of next_word"),
        ("next_word --name s --vary units=3 -- --units 4", "received --units"),
    ],
)
def test_bad_options_are_refused_before_any_run(argv, message, here):
    with pytest.raises(SystemExit, match=message):
        command_line.main(argv.split())
    assert not here[0]
