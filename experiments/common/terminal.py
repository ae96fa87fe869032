"""Progress messages, and text that is safe to print, on the terminal."""

import contextlib
import re
import sys
import time
from collections.abc import Iterator

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


def fit_verbosity() -> int:
    """Return Keras's `verbose`: a progress bar on a terminal, else a line per epoch."""
    return 1 if sys.stdout.isatty() else 2
