"""Progress messages on the terminal."""

import contextlib
import sys
import time
from collections.abc import Iterator


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
