"""A run in two processes, which meet on this machine. The oracle is one process."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments.common.data_parallel import EvenBatches
from experiments.common.run_folder import partial_path
from lstm_keras import load_run
from lstm_keras.preprocessing.batches import ExampleBatches, StreamWindows
from tests.helpers.fresh_process import CHECKOUT
from tests.helpers.processes import OPTIONS
from tests.helpers.runs import experiment, metrics_of

JAX = pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="needs JAX")
JIT = [*OPTIONS["next_word"].split(), "--jit"]
LONGEST = 240  # seconds until a process must have ended


class Processes:
    """The processes of a run.

    Args:
        output: The folder of all runs, and of what the processes print.
        count: How many there are.
        argv: The options of all of them.
        each: Further options of each.
    """

    def __init__(self, output, count, *argv, each=((), ())):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            meet = f"--coordinator=localhost:{free.getsockname()[1]}"
        self._logs = [output / f"{time.monotonic_ns()}-{i}" for i in range(count)]
        self.all = []
        for i, log in enumerate(self._logs):
            words = [*map(str, argv), *each[i], meet, f"--processes={count}"]
            words = words[:-2] if count == 1 else [*words, f"--process={i}"]
            with log.open("w") as file:
                process = subprocess.Popen(
                    [sys.executable, "-m", "experiments.next_word", *words],
                    cwd=CHECKOUT,
                    env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            self.all.append(process)

    def end(self):
        """Wait for the end of all, and return the exit statuses and what they said."""
        try:
            statuses = [process.wait(LONGEST) for process in self.all]
        finally:
            for process in self.all:
                process.kill()
        return statuses, [log.read_text("utf-8", "replace") for log in self._logs]


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def alone(output):
    """The run of one process."""
    (status,), said = Processes(output, 1, *new(output, "alone")).end()
    assert status == 0, said
    return output / "next_word" / "alone"


def new(output, name):
    return [*JIT, "--output", output, "--name", name, "--checkpoint-seconds", "0"]


def wait_for_checkpoint(folder):
    end = time.monotonic() + LONGEST
    while not (partial_path(folder) / "checkpoint" / "training.npz").exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def assert_equal(one, other):
    """Two runs have the same weights and the same history, but for rounding."""
    ours, theirs = (load_run(run).model.get_weights() for run in (one, other))
    for mine, yours in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, yours, rtol=1e-5, atol=1e-5)
    mine, yours = (
        np.loadtxt(run / "history.csv", delimiter=",", skiprows=1)
        for run in (one, other)
    )
    np.testing.assert_allclose(mine, yours, rtol=1e-5, atol=1e-5)


@JAX
@pytest.mark.thorough
def test_two_processes_stop_together_and_go_on_to_the_result_of_one(alone, output):
    folder = output / "next_word" / "stopped"
    run = Processes(output, 2, *new(output, "stopped"))
    wait_for_checkpoint(folder)
    run.all[1].send_signal(signal.SIGTERM)
    statuses, said = run.end()
    assert statuses == [130, 130], said
    assert metrics_of(folder)["interrupted"]
    statuses, said = Processes(output, 2, "--resume", folder).end()
    assert statuses == [0, 0], said
    assert_equal(alone, folder)
    assert metrics_of(folder)["environment"]["devices"] == 2
    assert "Epoch" in said[0] and "Epoch" not in said[1]
    assert not list(folder.parent.glob(".*"))


@JAX
@pytest.mark.thorough
def test_a_killed_process_ends_the_run_which_one_alone_can_resume(alone, output):
    folder = output / "next_word" / "killed"
    run = Processes(output, 2, *new(output, "killed"))
    wait_for_checkpoint(folder)
    run.all[1].kill()
    statuses, said = run.end()
    assert statuses == [1, -signal.SIGKILL], said
    assert "error: expected all 2 processes to compute together; one has" in said[0]
    assert f"continue with --resume {folder}" in said[0]
    (status,), said = Processes(output, 1, "--resume", folder).end()
    assert status == 0, said
    assert_equal(alone, folder)


@JAX
@pytest.mark.thorough
def test_processes_with_different_options_refuse_each_other(output):
    each = (["--clip", "1"], ["--clip", "2"])
    statuses, said = Processes(output, 2, *new(output, "differ"), each=each).end()
    assert statuses == [1, 1], said
    for one, clip in zip(said, ("1.0", "2.0"), strict=True):
        assert "expected the same options, versions and text in all processes" in one
        assert f'"clip": {clip}' in one
    assert not (output / "next_word" / "differ").exists()


@pytest.mark.parametrize(
    ("on", "options", "message"),
    [
        ("jax", "--processes 2", "expected --coordinator, --processes and --process t"),
        ("jax", "--coordinator a:1 --process 0", "together; received a:1, None and 0"),
        ("jax", "--coordinator a --processes 2 --process 0", "HOST:PORT as --coo.*'a'"),
        ("jax", "--coordinator a:1 --processes 2 --process 2", "from 0 to 1; rec.* 2"),
        ("jax", "--coordinator a:1 --processes 3 --process 0", "3 proc.*; received 20"),
        ("torch", "--coordinator a:1 --processes 2 --process 0", "on JAX .*ived torch"),
    ],
)
def test_impossible_processes_are_refused(monkeypatch, on, options, message):
    monkeypatch.setenv("KERAS_BACKEND", on)
    with pytest.raises(ValueError, match=message):
        experiment("next_word").parse(options.split()).checked()


@pytest.mark.parametrize(
    "batches",
    [
        StreamWindows(np.arange(1, 30), 4, 3),
        ExampleBatches(np.arange(7), np.arange(7), 4),
    ],
    ids=["stream", "examples"],
)
def test_the_processes_share_the_rows_of_each_batch(batches):
    """Together they have those of one; the last batch of the examples is padded."""
    shares = [EvenBatches(batches, 4, share=(i, 2)) for i in range(2)]
    for index, whole in enumerate(EvenBatches(batches, 4)):
        parts = [share[index] for share in shares]
        for one, *halves in zip(whole, *parts, strict=True):
            assert len(halves[0]) == len(halves[1])
            np.testing.assert_array_equal(np.concatenate(halves), one)
