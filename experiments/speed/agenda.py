"""What is to be measured, and what is missing when time is up or Ctrl-C comes."""

import contextlib
import math
import os
import statistics
import time
from collections.abc import Iterable, Iterator
from typing import Self

from experiments.common.terminal import duration, stage

PAUSE = 1.0  # least seconds between two lines about the rounds

# The share of the cores that other programs may keep busy.
BUSY = 0.25


class Agenda:
    """The measurements of a benchmark, in order, and how far they are.

    Inside of `with`, Ctrl-C ends the block and not the program.

    Args:
        seconds: The time for all of them.

    Attributes:
        interrupted: Whether Ctrl-C or SIGTERM came.
    """

    def __init__(self, seconds: float = math.inf):
        self.interrupted = False
        self._until = time.time() + seconds
        self._waiting: dict[str, str] = {}  # with a remark on what is there already
        self._left_out: list[str] = []
        self._seconds: list[float] = []  # of each finished measurement
        self._begun, self._printed = time.time(), 0.0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind, error, traceback) -> bool:
        """End, and note whether it was by Ctrl-C."""
        self.interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        return self.interrupted

    @property
    def missing(self) -> list[str]:
        """What has not been measured, or not in all rounds."""
        return self._left_out + [a + remark for a, remark in self._waiting.items()]

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.time() >= self._until

    def plan(self, names: Iterable[str]) -> None:
        """Add measurements."""
        self._waiting |= dict.fromkeys(names, "")

    def leave_out(self, names: Iterable[str]) -> None:
        """Don't wait any longer for those of some measurements that are not done."""
        for name in names:
            if name in self._waiting:
                self._left_out.append(name + self._waiting.pop(name))

    def share(self, count: int) -> float:
        """Return the `time.time()` at which that many measurements should be done."""
        now = time.time()
        return now + (self._until - now) * count / len(self._waiting)

    @contextlib.contextmanager
    def measurement(self, name: str) -> Iterator[None]:
        """Show a measurement, and note its end."""
        with stage(name):
            yield
        self.done(name)

    def done(self, name: str) -> None:
        """Note the end of a measurement."""
        self._waiting.pop(name, None)
        now = time.time()
        self._seconds.append(now - self._begun)
        self._begun = now

    def compiling(self, name: str) -> None:
        """Show that a measurement in rounds begins."""
        print(f"{name}: compiling", flush=True)

    def round(self, name: str, done: int, rounds: int) -> None:
        """Note the number of rounds that are done, and show how much time is left."""
        now = time.time()
        if not done:
            self._rounds_begun = now
            return
        here = (now - self._rounds_begun) / done * (rounds - done)
        whole = now - self._begun + here
        others = statistics.mean([*self._seconds, whole]) * (len(self._waiting) - 1)
        left = min(here + others, max(0.0, self._until - now))
        self._waiting[name] = f" ({done} of {rounds} rounds)"
        if done == rounds:
            self.done(name)
        if done == rounds or now >= self._printed + PAUSE:
            self._printed = now
            line = f"{name}: round {done} of {rounds}, about {duration(left)} left"
            print(line, flush=True)


def load_average() -> float | None:
    """Return the mean number of busy processes of the last minute, if it is known."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def load_warning(load: float | None, cores: int) -> str:
    """Return a warning about other programs, or "" if they hardly do anything."""
    if load is None or load <= BUSY * cores:
        return ""
    return (
        f"Other programs keep this machine busy: load average {load:.1f} on {cores} "
        f"cores, where at most {BUSY * cores:g} is fit for a benchmark. Times are too "
        "long, and ratios uncertain."
    )
