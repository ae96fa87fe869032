"""The command line of every experiment, which answers before Keras is loaded."""

import contextlib
import importlib
import os
import shlex
import sys
from collections.abc import Iterator, Sequence

from experiments.common.experiment import Experiment
from experiments.common.signals import INTERRUPTED, sigterm_as_ctrl_c

# TensorFlow logs much about CUDA and oneDNN when it starts. Errors still come through
# as exceptions. Set it to 0 to read everything.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# What the extra `experiments` in setup.cfg installs.
EXTRA = ("filelock", "jinja2", "pandas", "pydantic", "rich")


def main(experiment: Experiment, argv: Sequence[str] | None = None) -> None:
    """Run an experiment, or one of its other commands, as the command line says.

    Args:
        experiment: The experiment.
        argv: The command line without the program's name; `sys.argv` if None.

    Raises:
        SystemExit: With 2 if an option is wrong, 130 if the run was interrupted, and 1
            if it failed.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] in experiment.commands:
        module, _, function = experiment.commands[argv[0]].partition(":")
        with sigterm_as_ctrl_c(), readable_errors():
            getattr(importlib.import_module(module), function)(argv[1:])
        return
    settings = experiment.parse(argv)
    status = 1  # unless it comes to an end: nobody may read what it prints any more
    with sigterm_as_ctrl_c(), readable_errors():
        lifecycle = importlib.import_module("experiments.common.lifecycle")
        status = lifecycle.execute(experiment, settings, argv)
    if status:
        sys.exit(status)


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """End the program with a one-line message for the errors that a user can cause."""
    try:
        yield
    except BrokenPipeError:  # whoever reads the output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        sys.exit(
            f"error: the experiments need {error.name}; install it by "
            "pip install 'lstm_keras[experiments]'"
        )
    except KeyboardInterrupt:
        print("\ninterrupted: no report was written", file=sys.stderr)
        sys.exit(INTERRUPTED)


def command(experiment: str, argv: Sequence[str]) -> str:
    """Return the command that was typed, ready to be pasted into a shell."""
    variables = [
        f"{name}={shlex.quote(os.environ[name])}"
        for name in ("LSTM_KERAS_DATA", "KERAS_BACKEND")
        if name in os.environ
    ]
    words = shlex.join(["python", "-m", f"experiments.{experiment}", *argv])
    return " ".join([*variables, words])
