"""The benchmark runs and says what it measured; no test here is timed."""

import numpy as np
import pytest

from experiments import speed
from lstm_keras.preprocessing import END
from lstm_keras.tokenizers import TOKENIZERS


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


def test_both_forms_learn_the_text_to_the_same_accuracy(tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_text("a cat sat here\nthe dog ran off\nno bird sings now\n" * 2)
    speed.main(["--measure", "prefixes", "--text", str(path), "--seeds", "1"])
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines[-3:-1]}
    for form in ("prefixes", "passes"):
        _, epochs, training, _, reached = rows[form]
        assert int(epochs) < 100
        assert float(training) > 0
        assert float(reached) >= 0.955
    assert lines[-1].startswith("prefixes / passes:")


def test_a_form_that_does_not_reach_the_accuracy_has_no_ratio(tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_text("a cat sat here\nthe dog ran off\nno bird sings now\n" * 2)
    options = ("--text", str(path), "--seeds", "1", "--epochs", "2")
    speed.main(["--measure", "prefixes", *options])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 seeds did not reach the accuracy"


def test_the_best_accuracy_counts_prefixes_that_go_on_in_two_ways():
    ids = np.array([4, 5, 6, END, 4, 5, 7, END, 4, 5, 7, END, 8, END])
    # After 4: always 5, three times. After 4 5: 7 twice, 6 once.
    assert speed.best_accuracy(ids) == pytest.approx(5 / 6)


def test_a_new_token_is_timed_after_each_prompt(capsys, monkeypatch):
    measure = speed.measure_generation
    monkeypatch.setattr(
        speed, "measure_generation", lambda lengths: measure(lengths[:2], tokens=3)
    )
    speed.main(["--measure", "generation"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    assert [row[0] for row in rows] == ["1", "10"]
    assert all(float(row[1]) > 0 for row in rows)
