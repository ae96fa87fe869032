"""The command line of every experiment, which does not need Keras for `--help`."""

import contextlib
import importlib
import io
import os
import shlex
import sys
from collections.abc import Iterator, Sequence

from experiments.common.experiment import Experiment
from experiments.common.signals import INTERRUPTED, sigterm_as_ctrl_c
from experiments.common.terminal import printable

# Which extra in setup.cfg installs what.
EXTRAS = {
    **dict.fromkeys(
        ("filelock", "jinja2", "pandas", "pydantic", "rich"), "experiments"
    ),
    **dict.fromkeys(("onnx", "onnxruntime"), "onnx"),
    "gradio": "playground",
}


def main(experiment: Experiment, argv: Sequence[str] | None = None) -> None:
    """Run an experiment, or one of its subcommands, on a command line.

    Raises:
        SystemExit: With status 2 if an option is invalid, 130 if the run was
            interrupted, and 1 if it failed.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # whose encoding may lack "…"
        sys.stdout.reconfigure(errors="replace")
    if argv and argv[0] in experiment.commands:
        module, _, function = experiment.commands[argv[0]].partition(":")
        with sigterm_as_ctrl_c(), readable_errors():
            getattr(importlib.import_module(module), function)(argv[1:])
        return
    settings = experiment.parse(argv)
    status = 1  # stays if the reader of the output has gone, which ends it silently
    with sigterm_as_ctrl_c(), readable_errors():
        lifecycle = importlib.import_module("experiments.common.lifecycle")
        status = lifecycle.execute(experiment, settings, argv)
    if status:
        sys.exit(status)


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Turn errors that a user can cause into one-line messages."""
    try:
        yield
    except BrokenPipeError:  # as of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        sys.exit(printable(f"error: {error}"))
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        sys.exit(
            f"error: the experiments need {error.name}; install it with "
            f"pip install 'lstm_keras[{EXTRAS[error.name]}]'"
        )
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def command(experiment: str, argv: Sequence[str]) -> str:
    """Return the command of a run, ready to be pasted into a shell."""
    variables = [
        f"{name}={shlex.quote(os.environ[name])}"
        for name in ("LSTM_KERAS_DATA", "KERAS_BACKEND")
        if name in os.environ
    ]
    words = shlex.join(["python", "-m", f"experiments.{experiment}", *argv])
    return " ".join([*variables, words])
