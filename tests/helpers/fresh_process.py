"""Python programs in a process of their own, on this checkout's package."""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def run_python(program, *argv, cwd=CHECKOUT, **environment):
    """Run a program, and return what it prints.

    Args:
        program: Its text.
        *argv: Its arguments.
        cwd: The folder in which it runs.
        **environment: Variables beside those of this process.
    """
    done = subprocess.run(
        [sys.executable, "-c", program, *argv],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout
