"""Let Ctrl-C and SIGTERM end a program cleanly."""

import contextlib
import signal
from collections.abc import Iterator

INTERRUPTED = 130  # the exit status by which shells report Ctrl-C


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Make SIGTERM do what Ctrl-C does."""

    def end(*_):
        # Ctrl-C is ignored in the background jobs of a shell.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """Ignore Ctrl-C during seconds of work that must not stay unfinished."""
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
