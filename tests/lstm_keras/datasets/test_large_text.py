"""A large text, read and trained on in a process of its own, whose memory is measured.

The text is one block of random words over and over, so that how many tokens it has is
known without reading it.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstm_keras.preprocessing.vocabulary import FIRST_WORD

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak"
)

ROOT = Path(__file__).parents[1]
WORDS, LINES = 5000, 20_000

PEAK = """
import atexit, json, re, sys
from pathlib import Path

def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", status)[1])
"""

READ = """
from lstm_keras.language_model.training import StreamWindows
from lstm_keras.datasets.corpora import load_text

def read(path):
    corpus = load_text(path, split="stream", tokenizer="whitespace")
    parts = [StreamWindows(ids, 20, 35) for ids in (corpus.train, corpus.held_out)]
    return corpus, sum((y > 0).sum() for windows in parts for _, y in windows)

read(sys.argv[1])
before = peak()
corpus, seen = read(sys.argv[2])
print(json.dumps({
    "bytes": peak() - before,
    "seen": int(seen),
    "facts": corpus.facts,
}))
"""

TRAIN = """
from experiments import next_word

atexit.register(lambda: print(peak()))
next_word.main(sys.argv[1:])
"""


def write_text(path, size):
    """Write about `size` bytes; return the number of tokens, ends of lines included."""
    rng = random.Random(0)
    words = [f"w{number}" for number in range(WORDS)]
    lines = [rng.choices(words, k=rng.randint(0, 40)) for _ in range(LINES)]
    block = "".join(" ".join(line) + "\n" for line in lines)
    times = -(-size // len(block))
    with path.open("w") as file:
        for _ in range(times):
            file.write(block)
    return times * sum(len(line) + 1 for line in lines)


def test_a_text_takes_a_few_bytes_a_token_with_its_windows(tmp_path):
    small, large = tmp_path / "small.txt", tmp_path / "large.txt"
    write_text(small, 1)
    tokens = write_text(large, 40_000_000)
    done = subprocess.run(
        [sys.executable, "-c", PEAK + READ, small, large],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    parts = [found["facts"][key]["tokens"] for key in ("train", "held_out")]
    assert sum(parts) == found["seen"] == tokens
    assert found["facts"]["vocabulary"] == FIRST_WORD + WORDS
    assert 4 * tokens < found["bytes"] + 20_000_000  # that it was measured at all
    assert found["bytes"] < 6 * tokens


@pytest.mark.slow
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
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            if line.startswith("Epoch 1/"):
                time.sleep(20)
                process.send_signal(signal.SIGINT)
    return int(line)
