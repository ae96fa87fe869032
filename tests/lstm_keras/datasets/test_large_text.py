"""A large text, read in a process of its own, whose memory is measured."""

import json
from pathlib import Path

import pytest

from lstm_keras.preprocessing.vocabulary import FIRST_WORD
from tests.helpers.fresh_process import run_python
from tests.helpers.large_text import PEAK, WORDS, write_text

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak"
)

READ = """
from lstm_keras.preprocessing.batches import StreamWindows
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


@pytest.mark.thorough
def test_a_text_takes_a_few_bytes_a_token_with_its_windows(tmp_path):
    small, large = tmp_path / "small.txt", tmp_path / "large.txt"
    write_text(small, 1)
    tokens = write_text(large, 40_000_000)
    found = json.loads(run_python(PEAK + READ, small, large))
    parts = [found["facts"][key]["tokens"] for key in ("train", "held_out")]
    assert sum(parts) == found["seen"] == tokens
    assert found["facts"]["vocabulary"] == FIRST_WORD + WORDS
    assert 4 * tokens < found["bytes"] + 20_000_000  # that it was measured at all
    assert found["bytes"] < 6 * tokens
