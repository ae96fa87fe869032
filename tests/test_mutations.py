"""The check of the tests: its mutations fit the code, and it can fail.

The oracle of what a pattern matches is a count by hand.
"""

import ast
import dataclasses
import itertools

import pytest

from tests import mutations
from tests.helpers import patterns

ONE_TEST = ("tests/lstm_keras/test_cell.py", "-k", "textbook")
HARMLESS = mutations.Mutation(
    "the same", ONE_TEST, "equations.py", "states", mutations.HIDDEN, "H = TANH(C) * O"
)
HARMFUL = dataclasses.replace(HARMLESS, name="half of h", instead="H = O * TANH(C) / 2")

LAID_OUT = '''
class Cell:
    def call(self, x):
        """Return h."""
        for _ in range(2):
            c = f * c_before + i * g
            h = o * tanh(c)
        return h
'''
OTHERWISE = '''
class Cell:
    def call(self, x):
        """Return h, as ever."""
        for _ in range(2):
            new = (forget  # what is left
                * old) + i * g
            h = o * (tanh(
                new,
            ))
        return h
'''


def test_every_mutation_fits_its_file_and_can_be_compiled():
    for one in itertools.chain(*mutations.MUTATIONS.values()):
        source = (mutations.CHECKOUT / "lstm_keras" / one.path).read_text("utf-8")
        mutated = mutations.mutated(one)
        assert mutated != ast.unparse(ast.parse(source)), one.name
        compile(mutated, one.path, "exec")


@pytest.mark.parametrize(("source", "f"), [(LAID_OUT, "f"), (OTHERWISE, "forget")])
def test_names_and_layout_do_not_matter(source, f):
    mutation = mutations.Mutation(
        "", (), "", "Cell.call", "C = F * OLD + I * G\nH = O * A(C)", "H = A(I - F)"
    )
    lines = mutations.mutated(mutation, source).split("\n")
    expected = ["for _ in range(2):", f"h = tanh(i - {f})", "return h"]
    assert [line.strip() for line in lines[-3:]] == expected


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("A + B", 1),
        ("A * B", 3),
        ("A * A", 0),
        ("tanh(A)", 1),
        ("h = A\nreturn h", 0),
        ("range(3)", 0),
        ("range(2)", 1),
        ("range(2.0)", 0),
    ],
)
def test_matches_are_counted(pattern, count):
    assert patterns.replace(ast.parse(LAID_OUT), pattern, "None") == count


def test_a_placeholder_that_the_pattern_lacks_is_refused():
    with pytest.raises(ValueError, match=r"expected the pattern to have C,.*'A', 'B'"):
        patterns.replace(ast.parse(LAID_OUT), "A + B", "A + C")


@pytest.mark.parametrize("name", ["Layer", "Cell.build", "call.Cell"])
def test_a_missing_definition_is_refused(name):
    with pytest.raises(ValueError, match=f"expected one definition .*of '{name}'"):
        patterns.definition(ast.parse(LAID_OUT), name)


@pytest.mark.parametrize(("pattern", "count"), [("A * B", 3), ("A - B", 0)])
def test_a_pattern_that_does_not_occur_once_is_refused_before_the_first_test(
    pattern, count
):
    mutation = dataclasses.replace(HARMFUL, pattern=pattern, instead="A")
    message = f"equations.py to contain once .* received it {count} times"
    with pytest.raises(ValueError, match=message):
        mutations.main([HARMLESS, mutation])


@pytest.mark.thorough
def test_a_mutation_that_no_test_notices_is_a_failure(capsys):
    assert mutations.main([HARMFUL, HARMLESS]) == 1
    _, unchanged, killed, survived, summary = capsys.readouterr().out.splitlines()
    assert unchanged.startswith("none (tests/lstm_keras/test_cell.py -k textbook)")
    assert unchanged.endswith("no test")
    assert killed.startswith("half of h")
    assert killed.endswith("test_cell.py::test_a_step_gives_the_textbook_numbers")
    assert survived.startswith("the same")
    assert survived.endswith("no test   <-- pytest ended with 0")
    assert summary == "2 mutations, 1 rows not as they should be"
