"""Make or resume one run in a process of its own: `sweep` starts this module."""

import sys
from collections.abc import Sequence

import filelock

from experiments.common import command_line, processes
from experiments.common.run_folder import LOCK, partial_path, run_path
from experiments.common.signals import sigterm_as_ctrl_c
from experiments.sweep.runs import load, remaining

# Seconds: what a killed run has left may need some to notice it.
WAIT = 300


def main(argv: Sequence[str]) -> None:
    """Do what a run still needs, also if it was begun since the sweep started it.

    Args:
        argv: The name of the experiment, and the command line of the run.
    """
    processes.end_with_starter()
    experiment, argv = load(argv[0]), argv[1:]
    with sigterm_as_ctrl_c(), command_line.readable_errors():
        settings = experiment.parse(argv)
        path = run_path(settings.output, experiment.name, settings.name)
        if (folder := partial_path(path)).is_dir():
            with filelock.FileLock(folder / LOCK, timeout=WAIT):
                pass
        command = remaining(experiment, argv)
    if command:
        command_line.main(experiment, command)


if __name__ == "__main__":
    main(sys.argv[1:])
