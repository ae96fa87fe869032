"""Runs that are killed, interrupted or run out of disk: nothing is lost.

The oracle is the run that nothing happened to.
"""

import json
import random
import re
import resource
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from experiments import checkpoint, earlier, next_word
from experiments.keeper import Keeper
from experiments.run_folder import partial_path
from lstm_keras import load_run
from tests.helpers.processes import OPTIONS, Experiment, assert_same, begin, metrics_of

SCRIPTS = tuple(OPTIONS)
CHECKPOINTS = ("checkpoint/**/*.npz", "checkpoint/jobs/*.json")
KEPT = ("--checkpoint-seconds", "0")  # after every step
KILLS = {"imdb_sentiment": 8, "next_word": 7, "memory": 5}


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module", params=SCRIPTS)
def script(request):
    return request.param


@pytest.fixture(scope="module")
def whole(script, output):
    """The run that nothing happens to."""
    run = begin(script, output, "whole")
    assert run.end() == 0, run.errors.read_text()
    return output / script / "whole"


def wait_for(run, folder, *patterns, seconds=240):
    """Wait until a file is there, or the run has ended."""
    end = time.monotonic() + seconds
    while run.process.is_alive() and time.monotonic() < end:
        if any(any(partial_path(folder).glob(pattern)) for pattern in patterns):
            return True
        time.sleep(0.001)
    return False


def test_killed_at_random_moments_it_ends_as_if_it_was_not(script, whole, output):
    """Half of the kills come while a checkpoint is being written."""
    seed = random.randrange(2**32)
    print(f"seed of the moments: {seed}")
    rng = random.Random(seed)
    folder = output / script / "killed"
    run = begin(script, output, "killed", *KEPT)
    for kill in range(KILLS[script]):
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
        run = Experiment(script, output, "--resume", str(folder))
    assert run.end() == 0, run.errors.read_text()
    assert_same(whole, folder)
    assert not (folder / "checkpoint").exists()
    assert not list(folder.parent.glob(".killed*"))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_report_and_what_it_takes_to_go_on(
    script, whole, output, signum
):
    name = signum.name
    folder = output / script / name
    run = begin(script, output, name, *KEPT)
    # A report wants a training that is done.
    done = "checkpoint/jobs/*.json" if script == "memory" else "checkpoint/*.npz"
    assert wait_for(run, folder, done)
    assert run.send(signum) == 130
    metrics = metrics_of(folder)
    assert metrics["interrupted"] is True
    assert "nterrupted" in metrics["ending"]
    assert metrics["ending"] in (folder / "report.html").read_text("utf-8")
    if script != "memory":
        assert load_run(folder).model.count_params() > 0
    assert Experiment(script, output, "--resume", str(folder)).end() == 0
    assert_same(whole, folder)


def test_a_repeat_that_was_killed_is_compared_when_it_goes_on(output):
    folder = output / "next_word" / "first"
    assert begin("next_word", output, "first", *KEPT).end() == 0
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
    shutil.rmtree(folder)  # is there no more when the comparison is due
    with pytest.raises(SystemExit, match=f"to compare with {again}, which is finished"):
        earlier.end(again, str(folder))


def test_two_runs_of_one_name_at_once_are_refused(output):
    folder = output / "next_word" / "both"
    run = begin("next_word", output, "both", *KEPT)
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
    assert "go on with --resume" in begun.errors.read_text()
    assert Experiment("next_word", output, "--resume", str(folder)).end() == 0


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux limits a process")
def test_a_full_disk_is_a_clear_error_and_the_last_checkpoint_stays(output):
    folder = output / "next_word" / "full"
    run = begin("next_word", output, "full", *KEPT)
    assert wait_for(run, folder, *CHECKPOINTS)
    resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (3000, 3000))
    assert run.end() == 1
    errors = run.errors.read_text()
    assert "error: expected to write" in errors and "File too large" in errors
    assert f"go on with --resume {folder}" in errors
    kept = partial_path(folder) / "checkpoint"
    assert {path.name for path in kept.iterdir()} == {"origin.json", "training.npz"}
    assert checkpoint.read(kept / "training.npz").finite
    assert Experiment("next_word", output, "--resume", str(folder)).end() == 0


def test_a_folder_that_is_removed_while_the_run_goes_on_is_a_clear_error(output):
    folder = output / "next_word" / "removed"
    run = begin("next_word", output, "removed", *KEPT)
    assert wait_for(run, folder, *CHECKPOINTS)
    partial_path(folder).rename(output / "elsewhere")
    assert run.end() == 1
    assert "error: expected to write" in run.errors.read_text()


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Two runs of different sizes that were interrupted after their first step."""
    output, check = tmp_path_factory.mktemp("runs"), Keeper._check

    def pressed(self, loss):
        signal.raise_signal(signal.SIGINT)
        check(self, loss)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keeper, "_check", pressed)
        for name, units in (("spoilt", 6), ("other", 7)):
            small = f"--limit 300 --epochs 2 --units {units} --no-baselines"
            with pytest.raises(SystemExit, match="130"):
                next_word.main(
                    [*small.split(), "--name", name, "--output", str(output)]
                )
    return output / "next_word"


def write(text):
    return lambda folder, other: (folder / "training.npz").write_bytes(text)


def cut(folder, other):
    file = folder / "training.npz"
    file.write_bytes(file.read_bytes()[:-99])


def put_a_program_into_it(folder, other):
    class Program:
        def __reduce__(self):
            return (Path.write_text, (folder / "ran", "it did"))

    np.savez(folder / "training.npz", facts=np.array([Program()], dtype=object))


def take_another(folder, other):
    shutil.copy(other / "checkpoint" / "training.npz", folder)


def edit(part, key, value):
    def change(folder, other):
        origin = json.loads((folder / "origin.json").read_text("utf-8"))
        origin[part][key] = value
        (folder / "origin.json").write_text(json.dumps(origin), "utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (write(b"nothing"), "expected a checkpoint in .*training.npz; received"),
        (cut, "expected a checkpoint in .*training.npz; received"),
        (put_a_program_into_it, "expected a checkpoint in .*allow_pickle=False"),
        (take_another, "expected a checkpoint of this model, with .*; received"),
        (edit("needed", "keras", "2.0"), "keras '3[0-9.]*' instead of '2.0'"),
        (edit("settings", "limit", 290), "data: fingerprint 'sha256:.*instead of 'sha"),
        (edit("settings", "units", -1), "--units: expected a whole .*received '-1'"),
        (edit("settings", "x", 1), "expected the settings of a run of this version"),
    ],
)
def test_what_was_kept_and_then_spoilt_is_refused(
    interrupted, tmp_path, change, message, capsys
):
    folder = tmp_path / "next_word" / "spoilt"
    shutil.copytree(interrupted / "spoilt", folder)
    change(folder / "checkpoint", interrupted / "other")
    with pytest.raises(SystemExit) as ended:
        next_word.main(["--resume", str(folder)])
    assert ended.value.code not in (0, 130)
    assert re.search(message, f"{ended.value.code}{capsys.readouterr().err}")
    assert (folder / "report.html").exists()
    assert not list(folder.rglob("ran"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--resume", "{spoilt}", "--units", "6"], "received --units"),
        (["--resume", "{spoilt}/nowhere"], "expected a run of next_word, OUTPUT/next"),
        (
            ["--resume", "{spoilt}/../nowhere"],
            "expected an unfinished run ",
        ),
        (["--repeat", "{spoilt}", "--epochs", "2"], "received --epochs"),
        (["--repeat", "{spoilt}"], "expected a finished run to repeat; .*interrupted"),
        (["--repeat", "{spoilt}/../nowhere"], "No such file .*config.json"),
    ],
)
def test_what_can_not_be_gone_on_with_is_refused(interrupted, argv, message):
    before = {*interrupted.rglob("*")}
    spoilt = interrupted / "spoilt"
    with pytest.raises(SystemExit, match=message):
        next_word.main([word.format(spoilt=spoilt) for word in argv])
    assert {*interrupted.rglob("*")} == before
