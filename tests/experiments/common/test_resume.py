"""`--resume`: what was changed in between, or can't be continued, is refused."""

import json
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.common import fit, resume
from tests.helpers import runs

SMALL = "--limit 300 --epochs 2 --embedding 4 --no-baselines".split()


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Two runs of different sizes that were interrupted after their first step."""
    output, check = tmp_path_factory.mktemp("runs"), fit._Progress._check

    def pressed(self, loss):
        signal.raise_signal(signal.SIGINT)
        check(self, loss)

    with pytest.MonkeyPatch.context() as patch:
        # A signal of the system could not come after a certain step.
        patch.setattr(fit._Progress, "_check", pressed)
        for name, units in (("spoilt", 6), ("other", 7)):
            with pytest.raises(SystemExit, match="130"):
                runs.make("next_word", output, *SMALL, "--units", units, run=name)
    return output / "next_word"


def test_an_interrupted_run_resumes_and_is_finished(interrupted, tmp_path, capsys):
    run = tmp_path / "next_word" / "spoilt"
    shutil.copytree(interrupted / "spoilt", run)
    assert runs.metrics_of(run)["interrupted"] is True
    command = runs.metrics_of(run)["command"]
    runs.main("next_word", "--resume", run, "--checkpoint-seconds", "9")
    metrics = runs.metrics_of(run)
    assert (metrics["interrupted"], metrics["command"]) == (False, command)
    assert metrics["epochs"] == 2
    assert not (run / "checkpoint").exists()
    with pytest.raises(SystemExit, match="spoilt is finished"):
        runs.main("next_word", "--resume", run)


def write(data):
    return lambda folder, other: (folder / "training.npz").write_bytes(data)


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


def without(key):
    def change(folder, other):
        origin = json.loads((folder / "origin.json").read_text("utf-8"))
        del origin[key]
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
        (without("command"), "expected the origin of a run in .*origin.json; received"),
    ],
)
def test_a_checkpoint_that_was_spoilt_is_refused(
    interrupted, tmp_path, change, message, capsys
):
    folder = tmp_path / "next_word" / "spoilt"
    shutil.copytree(interrupted / "spoilt", folder)
    change(folder / "checkpoint", interrupted / "other")
    with pytest.raises(SystemExit) as ended:
        runs.main("next_word", "--resume", folder)
    assert ended.value.code not in (0, 130)
    assert re.search(message, f"{ended.value.code}{capsys.readouterr().err}")
    assert (folder / "report.html").exists()
    assert not list(folder.rglob("ran"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--resume", "{spoilt}", "--units", "6"], "from the run; remove --units"),
        (["--resume", "{spoilt}/nowhere"], "expected a run of next_word, OUTPUT/next"),
        (["--resume", "{spoilt}/../nowhere"], "expected an unfinished run "),
        (["--repeat", "{spoilt}"], "expected a finished run to repeat; .*interrupted"),
    ],
)
def test_what_cannot_be_resumed_is_refused(interrupted, argv, message):
    before = {*interrupted.rglob("*")}
    spoilt = interrupted / "spoilt"
    with pytest.raises(SystemExit, match=message):
        runs.main("next_word", *(word.format(spoilt=spoilt) for word in argv))
    assert {*interrupted.rglob("*")} == before


def test_the_command_to_resume_has_the_environment_of_the_run():
    metrics = SimpleNamespace(
        experiment="next_word",
        command="KERAS_BACKEND=jax python -m experiments.next_word --name 'two words'",
    )
    assert resume.command_for(metrics, Path("runs/next_word/two words")) == (
        "KERAS_BACKEND=jax python -m experiments.next_word --resume "
        "'runs/next_word/two words'"
    )
