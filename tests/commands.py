"""Run the commands of experiments/README.md one after the other (make test-commands).

A comment behind a command states its time ("2 min"); what states none takes seconds,
and what takes hours is left out, as is with `--longest` a command that needs the run of
one that is left out. The exit status is 1 if a command fails, or with
`--timed` also if it takes more than twice its time (on a quiet machine).
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lstm_keras.datasets.embedded_text import read_prose

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "experiments/README.md"
SECONDS = 60  # the most that a command takes which states no time


def commands(page: str) -> list[tuple[list[str], float]]:
    """Return the words of each command in a page's code blocks, and its seconds."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words, comment = shlex.split(line, comments=True), line.rpartition("#")[2]
            stated = re.search(r"(\d+) min", comment)
            if "hours" not in comment and not re.search(r"\bNAME\b", line):
                found.append((words, 60 * float(stated[1]) if stated else SECONDS))
    return found


def run_of(words: list[str]) -> str:
    """Return the folder that a command makes, as its followers name it.

    It is that of a run, or that of all runs of an experiment for a sweep.
    """
    if words[2] == "experiments.sweep":
        return f"runs/{words[3]}"
    name = words[words.index("--name") + 1] if "--name" in words else ""
    return f"runs/{words[2].removeprefix('experiments.')}/{name}"


def main() -> None:
    """Run the commands, and print how long each took."""
    parser = argparse.ArgumentParser(prog="python -m tests.commands")
    parser.add_argument("--longest", type=float, default=float("inf"), metavar="MIN")
    parser.add_argument("--timed", action="store_true")
    arguments = parser.parse_args()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    failed, left_out = [], set()
    with tempfile.TemporaryDirectory() as folder:
        prose = [*read_prose()][:300]
        for name in ("book", "train", "valid"):
            Path(folder, f"{name}.txt").write_text("\n".join(prose), "utf-8")
        for words, stated in commands(PAGE.read_text("utf-8")):
            if stated > 60 * arguments.longest or left_out & {*words}:
                left_out.add(run_of(words))
                print(f"      left out      {shlex.join(words)}")
                continue
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *words[1:]],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            seconds = time.perf_counter() - start
            print(
                f"{seconds:6.0f} s of {stated:4.0f} s  {shlex.join(words)}", flush=True
            )
            if done.returncode:
                print(done.stdout.decode(errors="replace"))
            if done.returncode or (arguments.timed and seconds > 2 * stated):
                failed.append(shlex.join(words))
    if failed:
        sys.exit("failed, or took more than twice its time:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
