"""Runs that are killed, interrupted or run out of disk: nothing is lost.

The oracle is the run that nothing happened to.
"""

import json
import random
import resource
import shutil
import signal
import time

import pytest

from experiments.common import checkpoint, repeat
from experiments.common.run_folder import partial_path
from lstm_keras import load_run
from tests.helpers import runs
from tests.helpers.processes import OPTIONS, Experiment, assert_same, begin
from tests.helpers.runs import metrics_of

CHECKPOINTS = ("checkpoint/**/*.npz", "checkpoint/jobs/*.json")
EVERY_STEP = ("--checkpoint-seconds", "0")
KILLS = {"imdb_sentiment": 8, "next_word": 7, "memory": 5}


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module", params=OPTIONS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def whole(name, output):
    """The run that nothing happens to."""
    run = begin(name, output, "whole")
    assert run.end() == 0, run.errors.read_text()
    return output / name / "whole"


def wait_for(run, folder, *patterns, seconds=240):
    """Wait until a file is there, or the run has ended."""
    end = time.monotonic() + seconds
    while run.process.is_alive() and time.monotonic() < end:
        if any(any(partial_path(folder).glob(pattern)) for pattern in patterns):
            return True
        time.sleep(0.001)
    return False


def test_a_killed_run_resumes_to_the_same_end(next_word_run, output):
    folder = output / "next_word" / "killed"
    small = runs.SMALL["next_word"].split()
    places = ("--output", str(output), "--name", "killed")
    run = Experiment("next_word", output, *small, *places, *EVERY_STEP)
    assert wait_for(run, folder, *CHECKPOINTS)
    assert run.send(signal.SIGKILL) == -signal.SIGKILL
    assert not folder.exists()
    run = Experiment("next_word", output, "--resume", str(folder))
    assert run.end() == 0, run.errors.read_text()
    assert_same(next_word_run, folder)
    assert not list(folder.parent.glob(".killed*"))


@pytest.mark.thorough
def test_killed_at_random_moments_a_run_ends_as_if_it_was_not(name, whole, output):
    """Half of the kills come while a checkpoint is being written."""
    seed = random.randrange(2**32)
    print(f"seed of the moments: {seed}")
    rng = random.Random(seed)
    folder = output / name / "often"
    run = begin(name, output, "often", *EVERY_STEP)
    for kill in range(KILLS[name]):
        begun = wait_for(run, folder, *CHECKPOINTS)
        if begun and kill % 2:
            wait_for(run, folder, "checkpoint/**/.*.npz.partial")
        elif begun:
            time.sleep(rng.uniform(0, 1.5))
        status = run.send(signal.SIGKILL)
        assert status in (-signal.SIGKILL, 0), run.errors.read_text()
        if status == 0:  # it was quicker: nothing is left to kill
            break
        assert not folder.exists()
        run = Experiment(name, output, "--resume", str(folder))
    assert run.end() == 0, run.errors.read_text()
    assert_same(whole, folder)
    assert not (folder / "checkpoint").exists()
    assert not list(folder.parent.glob(".often*"))


@pytest.mark.thorough
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_report_and_a_checkpoint(name, whole, output, signum):
    folder = output / name / signum.name
    run = begin(name, output, signum.name, *EVERY_STEP)
    # There is a report once a training run of `memory` is complete.
    needed = "checkpoint/jobs/*.json" if name == "memory" else "checkpoint/*.npz"
    assert wait_for(run, folder, needed)
    assert run.send(signum) == 130, run.said.read_text() + run.errors.read_text()
    metrics = metrics_of(folder)
    assert metrics["interrupted"] is True
    assert "nterrupted" in metrics["ending"]
    assert metrics["ending"] in (folder / "report.html").read_text("utf-8")
    if name != "memory":
        assert load_run(folder).model.count_params() > 0
    assert Experiment(name, output, "--resume", str(folder)).end() == 0
    assert_same(whole, folder)


@pytest.mark.thorough
def test_a_repeat_that_was_killed_is_compared_when_it_is_resumed(output):
    folder = output / "next_word" / "first"
    assert begin("next_word", output, "first", *EVERY_STEP).end() == 0
    metrics = metrics_of(folder)
    metrics["parameters"] += 1
    (folder / "metrics.json").write_text(json.dumps(metrics))
    again = folder.with_name("first-repeated")
    run = Experiment("next_word", output, "--repeat", str(folder))
    assert wait_for(run, again, *CHECKPOINTS)
    assert run.send(signal.SIGKILL) == -signal.SIGKILL
    run = Experiment("next_word", output, "--resume", str(again))
    assert run.end() == 1
    assert f"Compared with {folder}:\n1 of " in run.said.read_text()
    assert (again / "report.html").exists()
    shutil.rmtree(folder)  # no longer there when the comparison is due
    with pytest.raises(SystemExit, match=f"to compare with {again}, which is finished"):
        repeat.equal_results(runs.experiment("next_word"), str(folder), again)


@pytest.mark.thorough
def test_two_runs_of_one_name_at_once_are_refused(output):
    folder = output / "next_word" / "both"
    run = begin("next_word", output, "both", *EVERY_STEP)
    assert wait_for(run, folder, *CHECKPOINTS)
    for second in (
        begin("next_word", output, "both"),
        begin("next_word", output, "both", "--overwrite"),
        Experiment("next_word", output, "--resume", str(folder)),
    ):
        assert second.end() == 1
        assert "is being made by another process" in second.errors.read_text()
    run.send(signal.SIGKILL)  # the lock ends with it
    begun = begin("next_word", output, "both")
    assert begun.end() == 1
    assert "continue with --resume" in begun.errors.read_text()
    assert Experiment("next_word", output, "--resume", str(folder)).end() == 0


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux limits a process")
def test_a_full_disk_is_a_clear_error_and_the_last_checkpoint_stays(output):
    folder = output / "next_word" / "full"
    run = begin("next_word", output, "full", *EVERY_STEP)
    assert wait_for(run, folder, *CHECKPOINTS)
    resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (3000, 3000))
    assert run.end() == 1
    errors = run.errors.read_text()
    assert "error: expected to write" in errors and "File too large" in errors
    assert f"continue with --resume {folder}" in errors
    checkpoints = partial_path(folder) / "checkpoint"
    assert {path.name for path in checkpoints.iterdir()} == {
        *("origin.json", "training.npz")
    }
    assert checkpoint.read(checkpoints / "training.npz").finite
    assert Experiment("next_word", output, "--resume", str(folder)).end() == 0


@pytest.mark.thorough
def test_a_folder_that_is_removed_during_the_run_is_a_clear_error(output):
    folder = output / "next_word" / "removed"
    run = begin("next_word", output, "removed", *EVERY_STEP)
    assert wait_for(run, folder, *CHECKPOINTS)
    partial_path(folder).rename(output / "elsewhere")
    assert run.end() == 1
    assert "error: expected to write" in run.errors.read_text()
