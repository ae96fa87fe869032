"""The lessons. Oracles: Jupyter runs them; what their exercises' checks accept."""

import re
from pathlib import Path
from textwrap import indent

import pytest

LESSONS = Path(__file__).parents[2] / "experiments/notebooks"

# What a reader could write into the exercises, in their order.
SOLUTIONS = {
    "one_unit": [
        "def biases_of_a_memory():\n    return [-10, 20, 0, 0]",
        "def steps_until_one_percent(f):\n"
        "    return int(np.floor(np.log(0.01) / np.log(f))) + 1",
    ],
    "build_a_layer": [
        "def coupled_step(h, c, f, g, o):\n"
        "    keep = sigmoid(f)\n"
        "    c = keep * c + (1 - keep) * np.tanh(g)\n"
        "    return sigmoid(o) * np.tanh(c), c",
        "def masked_state(new, old, mask):\n"
        "    return np.where(mask[:, None], new, old)",
    ],
    "sentiment": [
        "def accuracy_of_shuffled():\n"
        "    rng = np.random.default_rng(0)\n"
        "    shuffled = [np.append(ids[:1], rng.permutation(ids[1:]))\n"
        "                for ids in reviews.test.ids]\n"
        "    found = model.predict(pad(shuffled, MAXLEN), verbose=0)[:, 0]\n"
        "    return np.mean((found > 0.5) == reviews.test.labels)",
        "def state_after_the_padding():\n"
        "    return trace.h[0, MAXLEN - len(words) - 1]",
    ],
    "next_word": [
        "def perplexity(probabilities):\n"
        "    return np.exp(-np.mean(np.log(probabilities)))",
        "def with_temperature(logits, temperature):\n"
        "    z = np.exp((logits - logits.max()) / temperature)\n"
        "    return z / z.sum()",
    ],
}
# Plausible mistakes, which the check of that exercise must not accept.
MISTAKES = {
    "one_unit": [
        "def biases_of_a_memory():\n    return [20, 20, 0, 0]",
        "def steps_until_one_percent(f):\n    return int(1 / (1 - f))",
    ],
    "build_a_layer": [
        (
            "def coupled_step(h, c, f, g, o):\n"
            "    c = f * c + (1 - f) * np.tanh(g)\n"
            "    return sigmoid(o) * np.tanh(c), c"
        ),
        "def masked_state(new, old, mask):\n    return new",
    ],
    "sentiment": [
        "def accuracy_of_shuffled():\n"
        "    return np.mean((probabilities > 0.5) == reviews.test.labels)",
        "def state_after_the_padding():\n    return trace.h[0, -1]",
    ],
    "next_word": [
        (
            "def perplexity(probabilities):\n"
            "    return np.mean(1 / np.array(probabilities))"
        ),
        (
            "def with_temperature(logits, temperature):\n"
            "    z = np.exp(logits - logits.max()) / temperature\n"
            "    return z / z.sum()"
        ),
    ],
}

jupytext = pytest.importorskip("jupytext", reason="the lessons need the extra docs")


def lesson(name):
    """The notebook, and the positions of its exercises, each before its check."""
    notebook = jupytext.read(LESSONS / f"{name}.md")
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    return notebook, [at for at, tag in enumerate(tags) if "exercise" in tag]


def test_every_lesson_is_here():
    assert {path.stem for path in LESSONS.glob("*.md")} == set(SOLUTIONS)


@pytest.mark.thorough
@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_lesson_runs_and_its_exercises_can_be_solved(name):
    nbclient = pytest.importorskip("nbclient")
    notebook, exercises = lesson(name)
    for number, at in enumerate(exercises):
        check = notebook.cells[at + 1]
        check.source = (
            f"{MISTAKES[name][number]}\ntry:\n{indent(check.source, ' ' * 4)}\n"
            "except AssertionError:\n    print('refused')\n"
            f"{SOLUTIONS[name][number]}\n{check.source}"
        )
    folder = {"metadata": {"path": str(LESSONS)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=folder).execute()
    for number, at in enumerate(exercises, start=1):
        printed = [one.get("text", "") for one in notebook.cells[at + 1].outputs]
        assert re.match(rf"refused\nExercise {number} is right", "".join(printed))
