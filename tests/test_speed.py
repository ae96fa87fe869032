"""The benchmark runs and says what it measured; no test here is timed."""

import pytest

from experiments import speed
from lstm_keras.preprocessing import TOKENIZERS


def test_every_tokenizer_and_step_is_measured(capsys):
    speed.main(["--data", "embedded", "--reviews", "300"])
    lines = capsys.readouterr().out.splitlines()
    assert any("300 texts" in line for line in lines)
    for tokenizer in TOKENIZERS:
        rows = [line.split() for line in lines if line.startswith(f"{tokenizer} ")]
        assert [" ".join(row[1:-3]) for row in rows] == [
            "build vocabulary",
            "text to ids",
        ]
        assert all(float(seconds) >= 0 for row in rows for seconds in row[-3:-1])


def test_a_source_that_is_not_there_is_an_error():
    with pytest.raises(SystemExit, match="error: expected"):
        speed.main(["--data", "nowhere.csv"])
