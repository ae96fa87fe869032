"""`--resume`: what was changed in between, or can't be continued, is refused.

The oracle of a resumed run is the run that was not interrupted.
"""

import itertools
import json
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.common import resume
from experiments.memory import train
from tests.helpers import runs
from tests.helpers.processes import assert_same


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The run of `memory_run`, interrupted in its second training run."""
    output, steps = tmp_path_factory.mktemp("runs"), itertools.count(1)

    def press(self, batch, logs=None):
        if next(steps) == 70:
            signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        # A signal of the system could not come after a certain step.
        patch.setattr(train.Check, "on_train_batch_end", press)
        with pytest.raises(SystemExit, match="130"):
            runs.make("memory", output, *runs.SMALL["memory"].split())
    return output / "memory" / "one"


@pytest.fixture
def run(interrupted, tmp_path):
    """A copy of it."""
    return shutil.copytree(interrupted, tmp_path / "memory" / "one")


def checkpoint_of(run):
    (file,) = run.glob("checkpoint/jobs/*.npz")
    return file


def test_an_interrupted_run_resumes_to_the_same_end(memory_run, run):
    before = runs.metrics_of(run)
    assert before["interrupted"] is True
    runs.main("memory", "--resume", run, "--checkpoint-seconds", "9")
    assert runs.metrics_of(run)["command"] == before["command"]
    assert_same(run, memory_run)
    assert not (run / "checkpoint").exists()
    with pytest.raises(SystemExit, match="one is finished"):
        runs.main("memory", "--resume", run)


def write(data):
    return lambda run: checkpoint_of(run).write_bytes(data)


def cut(run):
    file = checkpoint_of(run)
    file.write_bytes(file.read_bytes()[:-99])


def put_a_program_into_it(run):
    class Program:
        def __reduce__(self):
            return (Path.write_text, (run / "ran", "it did"))

    np.savez(checkpoint_of(run), facts=np.array([Program()], dtype=object))


def take_another(run):
    with np.load(checkpoint_of(run)) as arrays:
        others = {**arrays, "variables/0": np.zeros((9, 9))}
    np.savez(checkpoint_of(run), **others)


def edit(*path, value):
    """Change a value of the origin; None removes it."""

    def change(run):
        file = run / "checkpoint" / "origin.json"
        origin = inner = json.loads(file.read_text("utf-8"))
        *parents, key = path
        for parent in parents:
            inner = inner[parent]
        inner[key] = value
        if value is None:
            del inner[key]
        file.write_text(json.dumps(origin), "utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (write(b"nothing"), r"expected a checkpoint in .*\.npz; received"),
        (cut, r"expected a checkpoint in .*\.npz; received"),
        (put_a_program_into_it, "expected a checkpoint in .*allow_pickle=False"),
        (take_another, "expected a checkpoint of this model, with .*; received"),
        (edit("needed", "keras", value="2.0"), "keras '3[0-9.]*' instead of '2.0'"),
        (edit("settings", "seed", value=5), "data: fingerprint 'sha256:.* instead "),
        (edit("settings", "units", value=-1), "--units: expected a whole .*'-1'"),
        (edit("settings", "x", value=1), "expected the settings of a run of this vers"),
        (edit("command", value=None), "expected the origin of a run in .*origin.json"),
    ],
)
def test_a_checkpoint_that_was_spoilt_is_refused(run, change, message, capsys):
    change(run)
    with pytest.raises(SystemExit) as ended:
        runs.main("memory", "--resume", run)
    assert ended.value.code not in (0, 130)
    assert re.search(message, f"{ended.value.code}{capsys.readouterr().err}")
    assert (run / "report.html").exists()
    assert not list(run.rglob("ran"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--resume {run} --units 6", "from the run; remove --units"),
        ("--resume {run}/nowhere", "expected a run of memory, OUTPUT/memory"),
        ("--resume {run}/../nowhere", "expected an unfinished run "),
        ("--repeat {run}", "expected a finished run to repeat; .*interrupted"),
    ],
)
def test_what_cannot_be_resumed_is_refused(interrupted, argv, message):
    before = {*interrupted.parent.rglob("*")}
    with pytest.raises(SystemExit, match=message):
        runs.main("memory", *argv.format(run=interrupted).split())
    assert {*interrupted.parent.rglob("*")} == before


def test_the_command_to_resume_has_the_environment_of_the_run():
    metrics = SimpleNamespace(
        experiment="next_word",
        command="KERAS_BACKEND=jax python -m experiments.next_word --name 'two words'",
    )
    assert resume.command_for(metrics, Path("runs/next_word/two words")) == (
        "KERAS_BACKEND=jax python -m experiments.next_word --resume "
        "'runs/next_word/two words'"
    )
