"""The run of Keras's tests on our classes: it takes ours, and it can fail."""

import ast

import keras
import pytest

import lstm_keras
from tests import keras_tests


class LSTM(lstm_keras.LSTM):
    """Wrong in its numbers; not in its shapes."""

    def call(self, *args, **kwargs):
        return 0.9 * super().call(*args, **kwargs)


LSTMCell = type("LSTMCell", (lstm_keras.LSTMCell,), {"__module__": __name__})


@pytest.fixture
def keras_with(monkeypatch, tmp_path):
    """Return a function that puts a test file of this text in Keras's place."""
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    monkeypatch.setattr(keras_tests, "keras_folder", lambda: tmp_path)

    def put(text):
        folder = tmp_path / "src" / "layers" / "rnn"
        folder.mkdir(parents=True)
        (folder / "lstm_test.py").write_text(text)

    return put


@pytest.mark.thorough
def test_wrong_numbers_are_a_failure(capfd, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    assert keras_tests.main(__name__, ["lstm_test.py"]) == 1
    _, *rows, summary = capfd.readouterr().out.splitlines()
    assert len(rows) == 6
    for row in rows:
        test, *verdict = row.split()[:4]
        assert test.startswith("lstm_test::LSTMTest::test_")
        assert verdict == ["passed", "failed", "<--"]
    assert "6 rows not as they should be" in summary


@pytest.mark.thorough
def test_a_run_without_an_lstm_and_a_needless_exception_are_failures(keras_with, capfd):
    keras_with("def test_one():\n    pass\n\ndef test_two():\n    pass\n")
    assert keras_tests.main(files=["lstm_test.py"]) == 1
    assert "0 tests of an LSTM pass" in capfd.readouterr().out
    excepted = {"lstm_test::test_one": "a reason"}
    assert keras_tests.main(files=["lstm_test.py"], exceptions=excepted) == 1
    _, row, summary = capfd.readouterr().out.splitlines()
    assert row.split()[:3] == ["lstm_test::test_one", "passed", "passed"]
    assert row.endswith("<-- need not be excepted")
    assert "1 without one agree; 1 rows" in summary


@pytest.mark.parametrize("name", keras_tests.FILES)
def test_the_copies_do_not_name_keras_classes(name):
    tree = ast.parse(keras_tests.rewired(name))
    named = [n for n in ast.walk(tree) if getattr(n, "attr", "") in keras_tests.NAMES]
    assert {ast.unparse(node.value) for node in named} <= {"under_test"}
    assert bool(named) == (name != "time_distributed_test.py")


@pytest.mark.parametrize("text", ["from keras.layers import LSTM", "recurrent.LSTM(3)"])
def test_other_names_for_the_classes_are_refused(keras_with, text):
    keras_with(text)
    with pytest.raises(ValueError, match=r"expected .*as layers\.LSTM .*in line 1"):
        keras_tests.rewired("lstm_test.py")


@pytest.mark.usefixtures("keras_with")
def test_a_keras_without_tests_is_refused():
    with pytest.raises(FileNotFoundError, match="expected the installed Keras to hold"):
        keras_tests.main()
