"""Experiments as processes of their own, to be killed and resumed.

They are forked from a process that has loaded Keras already: that saves seconds each.
"""

import io
import itertools
import os
import sys
import traceback
import zipfile
from pathlib import Path

import h5py
import numpy as np

from experiments.common.repeat import compared
from experiments.common.result import metrics_type, varying_names
from tests.helpers import runs
from tests.helpers.forks import FORKS
from tests.helpers.runs import metrics_of

_NUMBERS = itertools.count(1)

# Training runs of some seconds: what comes after is the same for every run.
OPTIONS = {
    "imdb_sentiment": """--data embedded --limit 200 --maxlen 20 --units 5 --embedding 4
        --epochs 2 --batch-size 8 --dropout 0.3 --word-dropout 0.2 --schedule cosine
        --seeds 2 --no-baselines""",
    "next_word": """--split stream --steps 6 --embedding 5 --units 6 --layers 2
        --batch-size 4 --epochs 3 --limit 1000 --sampled-softmax 40 --schedule plateau
        --no-baselines""",
    "memory": """--tasks order --lags 5 --layers custom,simple_rnn --seeds 2 --units 3
        --steps 60 --check-every 20 --batch-size 8 --test-size 20
        --learning-rates 0.01""",
}


class Experiment:
    """An experiment that runs in a process of its own.

    Args:
        name: Its name.
        output: The folder of what it prints.
        argv: Its command line.
    """

    def __init__(self, name: str, output: Path, *argv: str):
        self.name = name
        # Of its own: several run at a time.
        self.errors = output / f"{name}-{next(_NUMBERS)}.errors"
        self.said = self.errors.with_suffix(".said")
        self.process = FORKS.Process(
            target=_main, args=(name, argv, self.said, self.errors)
        )
        self.process.start()

    def end(self) -> int:
        """Wait for its end, and return the exit status."""
        self.process.join(300)
        return self.process.exitcode

    def send(self, signum: int) -> int:
        """Send a signal, and do the same."""
        if self.process.is_alive():
            os.kill(self.process.pid, signum)
        return self.end()


def begin(
    name: str, output: Path, run: str, *argv: str, options: str | None = None
) -> Experiment:
    """Start a new run with some options; by default with those of `OPTIONS`."""
    places = ("--output", str(output), "--name", run)
    words = (options or OPTIONS[name]).split()
    return Experiment(name, output, *words, *places, *argv)


def _main(name: str, argv: tuple[str, ...], said: Path, errors: Path) -> None:
    # Without buffers: what a process that is killed has said is there.
    with said.open("w", buffering=1) as words, errors.open("w", buffering=1) as file:
        sys.stdout, sys.stderr = words, file
        try:
            runs.main(name, *argv)
        except BaseException as error:  # Python itself would print it too late
            if isinstance(error, SystemExit):
                print(error.code, file=file)
            else:
                traceback.print_exc(file=file)
            raise


def assert_same(one: Path, other: Path) -> None:
    """Two runs found the same numbers to the last digit, and the same weights."""
    ours, theirs = metrics_of(one), metrics_of(other)
    run = runs.experiment(ours["experiment"]).run_function()
    differ = compared(ours, theirs, varying_names(metrics_type(run)))
    assert len(differ) == 1, differ
    for name in ("history.csv", "vocabulary.json"):
        files = [folder / name for folder in (one, other)]
        assert files[0].exists() == files[1].exists()
        assert not files[0].exists() or files[0].read_text() == files[1].read_text()
    if (one / "model.keras").exists():
        ours, theirs = _weights(one / "model.keras"), _weights(other / "model.keras")
        assert ours.keys() == theirs.keys() and len(ours) > 2
        for name, values in ours.items():
            np.testing.assert_array_equal(values, theirs[name])


def _weights(path: Path) -> dict[str, np.ndarray]:
    found = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file:
        h5py.File(io.BytesIO(file.read())).visititems(note)
    return found
