"""Runs that are killed or interrupted: nothing is lost.

The oracle is the run that nothing happened to.
"""

import json
import random
import shutil
import signal
import time

import pytest

from experiments.common import repeat
from experiments.common.run_folder import partial_path
from lstm_keras import load_run
from tests.helpers import runs
from tests.helpers.processes import OPTIONS, Experiment, assert_same, begin
from tests.helpers.runs import metrics_of

CHECKPOINTS = ("checkpoint/**/*.npz", "checkpoint/jobs/*.json")
EVERY_STEP = ("--checkpoint-seconds", "0")


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


def wait_for(run, folder, *patterns, every=0.02):
    """Wait until a file is there, or the run has ended."""
    end = time.monotonic() + 240
    while run.process.is_alive() and time.monotonic() < end:
        if any(any(partial_path(folder).glob(pattern)) for pattern in patterns):
            return True
        time.sleep(every)
    return False


def resume(folder):
    """Resume a run to its end, with few checkpoints; return its process."""
    options = ("--resume", str(folder), "--checkpoint-seconds", "60")
    run = Experiment(folder.parent.name, folder.parents[1], *options)
    run.end()
    return run


def test_a_killed_run_resumes_to_the_same_end(memory_run, output):
    folder, small = output / "memory" / "killed", runs.SMALL["memory"]
    run = begin("memory", output, "killed", *EVERY_STEP, options=small)
    assert wait_for(run, folder, *CHECKPOINTS)
    assert run.send(signal.SIGKILL) == -signal.SIGKILL
    assert not folder.exists()
    run = resume(folder)
    assert run.end() == 0, run.errors.read_text()
    assert_same(memory_run, folder)
    assert not list(folder.parent.glob(".*"))


@pytest.mark.thorough
def test_killed_at_random_moments_a_run_ends_as_if_it_was_not(name, whole, output):
    """One of the kills comes while a checkpoint is being written."""
    seed = random.randrange(2**32)
    print(f"seed of the moments: {seed}")
    rng = random.Random(seed)
    folder = output / name / "often"
    run = begin(name, output, "often", *EVERY_STEP)
    for kill in range(3):
        begun = wait_for(run, folder, *CHECKPOINTS)
        if begun and kill % 2:
            wait_for(run, folder, "checkpoint/**/.*.npz.partial", every=0.001)
        elif begun:
            time.sleep(rng.uniform(0, 0.7))
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
def test_a_signal_leaves_a_report_and_a_checkpoint(name, whole, output):
    folder = output / name / "signal"
    run = begin(name, output, "signal", *EVERY_STEP)
    # There is a report once a training run of `memory` is complete.
    needed = "checkpoint/jobs/*.json" if name == "memory" else "checkpoint/*.npz"
    assert wait_for(run, folder, needed)
    signum = signal.SIGINT if name == "next_word" else signal.SIGTERM
    assert run.send(signum) == 130, run.said.read_text() + run.errors.read_text()
    metrics = metrics_of(folder)
    assert metrics["interrupted"] is True
    assert "nterrupted" in metrics["ending"]
    assert metrics["ending"] in (folder / "report.html").read_text("utf-8")
    if name != "memory":
        assert load_run(folder).model.count_params() > 0
    assert resume(folder).end() == 0
    assert_same(whole, folder)


@pytest.mark.thorough
def test_a_repeat_that_was_killed_is_compared_when_it_is_resumed(memory_run, output):
    folder = output / "memory" / "first"
    shutil.copytree(memory_run, folder)
    metrics = metrics_of(folder)
    metrics["trainings"] += 1
    (folder / "metrics.json").write_text(json.dumps(metrics))
    again = folder.with_name("first-repeated")
    run = Experiment("memory", output, "--repeat", str(folder))
    assert wait_for(run, again, *CHECKPOINTS)
    assert run.send(signal.SIGKILL) == -signal.SIGKILL
    run = resume(again)
    assert run.end() == 1
    assert f"Compared with {folder}:\n1 of " in run.said.read_text()
    assert (again / "report.html").exists()
    shutil.rmtree(folder)  # no longer there when the comparison is due
    with pytest.raises(SystemExit, match=f"to compare with {again}, which is finished"):
        repeat.equal_results(runs.experiment("memory"), str(folder), again)
