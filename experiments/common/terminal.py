"""What a run prints while it works."""

import contextlib
import sys
import time
from collections.abc import Iterator


@contextlib.contextmanager
def stage(text: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    print(f"{text} … ", end="", flush=True)
    start = time.perf_counter()
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        print(f"{outcome} in {time.perf_counter() - start:.1f} s", flush=True)


def fit_verbosity() -> int:
    """Return Keras's `verbose`: a live bar on a terminal, else a line per epoch."""
    return 1 if sys.stdout.isatty() else 2
