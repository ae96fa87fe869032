"""Texts from made-up sections and from the documentation of this very Python."""

import re
from pydoc_data import topics

import pytest

from lstm_keras.datasets.embedded_text import read_prose


@pytest.fixture
def prose_of(monkeypatch):
    def read(**sections):
        monkeypatch.setattr(topics, "topics", sections)
        return list(read_prose())

    return read


SECTION = """
The "del" statement
*******************

   del_stmt ::= "del" target_list

Deletion is *recursively* defined very similar to the way assignment
is defined. [1]  A name quote-
delimited is not a name.

* **Note:** The first item of this quite long list, which wraps at the
  end of its first line.

  * Else the second item, which is "nested" in "*args, **kwargs".
1. Three items without a blank line.
2. They are three paragraphs too.

object.__del__(self)

   Called when the instance is about to be destroyed, like a method.

   >>> del x
   This is not a sentence of ours.

a class instance:
   The class must define a special method of this kind.

   for i in range(10):
       print(i)            # Not a sentence of ours.

   x = f(y) + g(z)[0].h if a == b and c else d.

+------+--------+
| This | is no sentence either. |
+------+--------+

No full stop, no sentence
"""


def test_prose_is_kept_and_titles_grammar_tables_and_code_are_not(prose_of):
    assert prose_of(x=SECTION) == [
        "Deletion is recursively defined very similar to the way assignment is "
        "defined. A name quote-delimited is not a name.",
        "Note: The first item of this quite long list, which wraps at the end of its "
        "first line.",
        "Else the second item, which is nested in *args, **kwargs.",
        "Three items without a blank line.",
        "They are three paragraphs too.",
        "Called when the instance is about to be destroyed, like a method.",
        "The class must define a special method of this kind.",
    ]


def test_sections_come_by_name_and_a_paragraph_once(prose_of):
    one, two, three = (
        f"It is paragraph number {word}.\n" for word in ("one", "two", "x")
    )
    found = prose_of(b=one + "\n" + two, a=three + "\n" + one)
    assert found == [three.strip(), one.strip(), two.strip()]


def test_the_documentation_of_this_python_is_prose():
    paragraphs = list(read_prose())
    words = [word for paragraph in paragraphs for word in paragraph.split()]
    assert len(words) > 30_000
    assert len(set(paragraphs)) == len(paragraphs)
    assert not any("\n" in paragraph or '"' in paragraph for paragraph in paragraphs)
    plain = [word for word in words if re.fullmatch(r"[A-Za-z’-]+[.,;:)]*", word)]
    assert len(plain) > 0.85 * len(words)
    for common in ("the", "is", "a", "of", "to"):
        assert words.count(common) > 0.01 * len(words)
