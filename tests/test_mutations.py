"""The check of the tests: its mutations fit the code, and it can fail."""

import dataclasses

import mutations
import pytest

ONE_TEST = ("tests/test_cell.py", "-k", "textbook")
HARMLESS = mutations.Mutation(
    "another word", "cell.py", ONE_TEST, "One step of an LSTM", "A step of an LSTM"
)
HARMFUL = mutations.Mutation(
    "half of h", "cell.py", ONE_TEST, "h = o * self.", "h = 0.5 * o * self."
)


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda m: m.name)
def test_a_mutation_fits_its_file_and_can_be_compiled(mutation):
    compile(mutations.mutated(mutation), mutation.path, "exec")
    assert mutation.instead != mutation.text


@pytest.mark.parametrize("text", ["no such text", "self.units"])
def test_text_that_is_not_there_once_is_refused(text):
    source = mutations.CHECKOUT / "lstm_keras" / "cell.py"
    count = source.read_text("utf-8").count(text)
    with pytest.raises(
        ValueError, match=f"cell.py to contain once .*received it {count} times"
    ):
        mutations.main([dataclasses.replace(HARMLESS, text=text)])


def test_a_mutation_that_no_test_notices_is_a_failure(capsys):
    assert mutations.main([HARMFUL, HARMLESS]) == 1
    _, unchanged, killed, survived, summary = capsys.readouterr().out.splitlines()
    assert unchanged.startswith("none (tests/test_cell.py -k textbook)")
    assert unchanged.endswith("no test")
    assert killed.startswith("half of h")
    assert killed.endswith("test_cell.py::test_a_step_gives_the_textbook_numbers")
    assert survived.startswith("another word")
    assert survived.endswith("no test   <-- pytest ended with 0")
    assert summary == "2 mutations, 1 rows not as they should be"
