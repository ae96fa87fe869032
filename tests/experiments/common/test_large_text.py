"""A run on a large text, in a process of its own, whose memory is measured."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.fresh_process import CHECKOUT
from tests.helpers.large_text import PEAK, write_text

TRAIN = """
import runpy

atexit.register(lambda: print(peak()))
runpy.run_module("experiments.next_word", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak"
)
def test_a_gigabyte_trains_in_less_than_three(tmp_path):
    """The script itself: some steps, Ctrl-C, and the report."""
    text, held_out = tmp_path / "text.txt", tmp_path / "held_out.txt"
    write_text(held_out, 1)
    options = ["--split", "stream", "--tokens", "whitespace", "--no-baselines"]
    options += ["--text", text, "--held-out-text", held_out]
    options += ["--output", tmp_path, "--name", "large"]
    try:
        tokens = write_text(text, 1_000_000_000)
        peak = train_for_some_steps(options)
    finally:
        text.unlink(missing_ok=True)
    metrics = json.loads((tmp_path / "next_word/large/metrics.json").read_text())
    assert metrics["interrupted"]
    assert metrics["data"]["train"]["tokens"] == tokens > 100_000_000
    assert tokens < peak < 3_000_000_000


def train_for_some_steps(options):
    """Run the script, stop it soon after its first step; return its peak in bytes."""
    with subprocess.Popen(
        [sys.executable, "-c", PEAK + TRAIN, *options],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            if line.startswith("Epoch 1/"):
                time.sleep(20)
                process.send_signal(signal.SIGINT)
    return int(line)
