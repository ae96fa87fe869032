"""Texts from made-up sections and from the documentation of this very Python."""

import re
from pydoc_data import topics

from lstm_keras.datasets.embedded_text import read_prose

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
PROSE = """
Deletion is recursively defined very similar to the way assignment is defined. A name \
quote-delimited is not a name.
Note: The first item of this quite long list, which wraps at the end of its first line.
Else the second item, which is nested in *args, **kwargs.
Three items without a blank line.
They are three paragraphs too.
Called when the instance is about to be destroyed, like a method.
The class must define a special method of this kind.
"""


def test_prose_is_kept_and_titles_grammar_tables_and_code_are_not(monkeypatch):
    monkeypatch.setattr(topics, "topics", {"x": SECTION})
    assert list(read_prose()) == PROSE.strip().split("\n")


def test_sections_come_by_name_and_a_paragraph_once(monkeypatch):
    one, two, three = (f"It is paragraph number {n}." for n in ("one", "two", "x"))
    sections = {"b": f"{one}\n\n{two}\n", "a": f"{three}\n\n{one}\n"}
    monkeypatch.setattr(topics, "topics", sections)
    assert list(read_prose()) == [three, one, two]


def test_the_documentation_of_this_python_is_prose():
    paragraphs = list(read_prose())
    assert len(set(paragraphs)) == len(paragraphs)
    assert not any("\n" in paragraph or '"' in paragraph for paragraph in paragraphs)
    words = " ".join(paragraphs).split()
    assert len(words) > 30_000
    plain = [word for word in words if re.fullmatch(r"[A-Za-z’-]+[.,;:)]*", word)]
    assert len(plain) > 0.85 * len(words)
    for common in ("the", "is", "a", "of", "to"):
        assert words.count(common) > 0.01 * len(words)
