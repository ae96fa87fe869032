"""`--repeat`: a run that is made again finds the same, and says what differs."""

import json
import shutil

import pytest

from experiments.common.repeat import compared
from tests.helpers import runs
from tests.helpers.runs import metrics_of


@pytest.fixture
def run(memory_run, tmp_path):
    """A copy of a run, and what changes its metrics."""
    folder = shutil.copytree(memory_run, tmp_path / "memory" / "one")

    def change(**changes):
        text = json.dumps(metrics_of(folder) | changes)
        (folder / "metrics.json").write_text(text)

    return folder, change


def test_a_repeated_run_says_what_differs_and_ends_with_status_1(run, capsys):
    """Everything but what was changed is the same, to the last digit."""
    folder, change = run
    metrics = metrics_of(folder)
    metrics["environment"]["versions"]["keras"] = "2.0"
    found = metrics["trainings"]
    change(environment=metrics["environment"], trainings=found + 1)
    with pytest.raises(SystemExit, match="1"):
        runs.main("memory", "--repeat", folder)
    said = capsys.readouterr().out
    assert f"Compared with {folder}:\n1 of " in said
    assert "results differ; the environment differs in " in said
    assert "versions.keras\n" in said
    assert f"trainings: {found + 1} before, {found} now" in said
    again = folder.with_name("one-repeated")
    assert (again / "report.html").exists()
    before, after = (
        json.loads((path / "config.json").read_text()) for path in (folder, again)
    )
    places = {"name": "one-repeated", "output": str(folder.parents[1])}
    assert after == before | places | {"repeat": str(folder)}
    # Its command does without the earlier run.
    command = metrics_of(again)["command"]
    assert "--units=3" in command and "--repeat" not in command


@pytest.mark.parametrize(
    ("change", "argv", "message"),
    [
        ({}, "--name one --overwrite", "expected another --name .*received one"),
        ({}, "--lags 6 --units=5", "its options from .*--lags, --units"),
        ({"interrupted": True}, "", "expected a finished run to repeat; .*interrupted"),
        (
            {"environment": {"backend": "mxnet"}},
            "",
            "expected the backend of the run, KERAS_BACKEND=mxnet; received",
        ),
    ],
)
def test_what_cannot_be_repeated_is_refused_and_left_as_it_is(
    run, change, argv, message
):
    folder, change_metrics = run
    change_metrics(**change)
    text = (folder / "metrics.json").read_text()
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        runs.main("memory", "--repeat", folder, *argv.split())
    assert (folder / "metrics.json").read_text() == text
    assert [path.name for path in folder.parent.iterdir()] == ["one"]


def test_the_run_to_repeat_must_be_there_and_of_this_experiment(memory_run, tmp_path):
    with pytest.raises(SystemExit, match="run to repeat; there is none at"):
        runs.main("next_word", "--repeat", tmp_path / "next_word" / "nowhere")
    message = "expected a run of next_word, OUTPUT/next_wor"
    with pytest.raises(SystemExit, match=message):
        runs.main("next_word", "--repeat", memory_run)


def test_times_and_names_do_not_make_results_different():
    varying = {"name", "seconds", "training_seconds", "command", "environment"}
    one = {"name": "a", "seconds": 3, "runs": [{"training_seconds": 1, "loss": 0.5}]}
    other = {"name": "b", "seconds": 4, "runs": [{"training_seconds": 2, "loss": 0.5}]}
    for metrics in (one, other):
        metrics |= {"command": metrics["name"], "environment": {"python": "3"}}
    assert compared(one, other, varying) == [
        "all 1 results are equal, to the last digit"
    ]
    other["runs"][0]["loss"] += 1e-16 + 2**-53
    head, _ = compared(one, other, varying)
    assert head == "1 of 1 results differ; the environment is the same"
    del other["runs"][0]["loss"]
    assert compared(one, other, varying)[1] == "  runs.0.loss: 0.5 before, None now"
