"""Progress messages, and text that is safe to print, on the terminal."""

import contextlib
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

# Errors alone, unless the user wants more: 0 shows all that TensorFlow has to say.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_KEEPER = "import sys; sys.stderr.buffer.write(sys.stdin.buffer.read())"

# Unicode's category Cc, but for tab and newline.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Replace control characters, which can command a terminal, by U+FFFD.

    Tabs and newlines stay.
    """
    return CONTROL.sub("\ufffd", text)


@contextlib.contextmanager
def stage(text: str) -> Iterator[None]:
    """Print the name of a step, and when it ends its duration."""
    print(f"{text} … ", end="", flush=True)
    start = time.perf_counter()
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        print(f"{outcome} in {time.perf_counter() - start:.1f} s", flush=True)


def stages(items: Sequence[T], name: Callable[[T], str]) -> Iterator[T]:
    """Yield items, each in a `stage` that estimates how long the rest will take."""
    start = time.perf_counter()
    for done, item in enumerate(items):
        about = f"{done + 1} of {len(items)}"
        if done:
            seconds = (time.perf_counter() - start) / done * (len(items) - done)
            about += f", about {duration(seconds)} left"
        with stage(f"{name(item)} ({about})"):
            yield item


@contextlib.contextmanager
def start_up_messages_held() -> Iterator[None]:
    """Hold back what TensorFlow logs while it is imported, in spite of its log level.

    If the import fails or takes the process along, the messages appear after all: a
    process of its own has them.
    """
    wanted = os.environ["TF_CPP_MIN_LOG_LEVEL"] != "3"
    if wanted or "keras" in sys.modules or sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    keeper = subprocess.Popen(
        [sys.executable, "-ISc", _KEEPER],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C does not reach it
    )
    stderr = os.dup(2)
    os.dup2(keeper.stdin.fileno(), 2)
    failed = False
    try:
        yield
    except Exception:
        failed = True
        raise
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        if not failed:
            keeper.kill()
        keeper.communicate()  # closes the pipe, so that it speaks, and ends


def duration(seconds: float) -> str:
    """Return a time in the unit in which it is read best."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def significant(value: float) -> str:
    """Return a number with three digits, and at most five behind the point."""
    if value == 0:
        return "0"
    return f"{value:.{min(5, max(0, 2 - math.floor(math.log10(abs(value)))))}f}"


def fit_verbosity() -> int:
    """Return Keras's `verbose`: a progress bar on a terminal, else a line per epoch."""
    return 1 if sys.stdout.isatty() else 2
