"""`--repeat`: a run that is made again finds the same, and says what differs."""

import json
import shutil

import pytest

from experiments.common.repeat import compared
from tests.helpers import runs
from tests.helpers.runs import metrics_of


def test_a_repeated_run_finds_the_same_and_says_so(next_word_run, tmp_path, capsys):
    runs.main("next_word", "--repeat", next_word_run, "--output", tmp_path)
    said = capsys.readouterr().out
    assert f"Compared with {next_word_run}:" in said
    assert "results are equal, to the last digit" in said
    again = tmp_path / "next_word" / "one-repeated"
    before, after = (
        json.loads((path / "config.json").read_text())
        for path in (next_word_run, again)
    )
    places = {"name": "one-repeated", "output": str(tmp_path)}
    assert after == before | places | {"repeat": str(next_word_run)}
    # Its command does without the earlier run.
    command = metrics_of(again)["command"]
    assert "--units=5" in command and "--repeat" not in command


def test_a_repeated_run_that_finds_something_else_ends_with_status_1(
    next_word_run, tmp_path, capsys
):
    other = tmp_path / "next_word" / "other"
    shutil.copytree(next_word_run, other)
    metrics = metrics_of(other)
    metrics["parameters"] += 1
    metrics["environment"]["versions"]["keras"] = "2.0"
    (other / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(SystemExit, match="1"):
        runs.main("next_word", "--repeat", other, "--name", "again")
    said = capsys.readouterr().out
    assert "1 of " in said
    assert "results differ; the environment differs in versions.keras" in said
    found = metrics["parameters"]
    assert f"parameters: {found} before, {found - 1} now" in said
    assert (tmp_path / "next_word" / "again" / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "argv", "message"),
    [
        (
            {},
            ("--name", "one", "--overwrite"),
            "expected another --name .*received one",
        ),
        ({}, ("--epochs", "2", "--units=5"), "its options from .*--epochs, --units"),
        ({"interrupted": True}, (), "expected a finished run to repeat; .*interrupted"),
        (
            {"environment": {"backend": "mxnet"}},
            (),
            "expected the backend of the run, KERAS_BACKEND=mxnet; received",
        ),
    ],
)
def test_what_cannot_be_repeated_is_refused_and_left_as_it_is(
    next_word_run, tmp_path, change, argv, message
):
    run = tmp_path / "next_word" / "one"
    shutil.copytree(next_word_run, run)
    text = json.dumps(metrics_of(run) | change)
    (run / "metrics.json").write_text(text)
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        runs.main("next_word", "--repeat", run, *argv)
    assert (run / "metrics.json").read_text() == text
    assert [path.name for path in run.parent.iterdir()] == ["one"]


def test_the_run_to_repeat_must_be_there_and_of_this_experiment(
    sentiment_run, tmp_path
):
    with pytest.raises(SystemExit, match=r"No such file .*config\.json"):
        runs.main("next_word", "--repeat", tmp_path / "next_word" / "nowhere")
    with pytest.raises(
        SystemExit, match="expected a run of next_word, OUTPUT/next_wor"
    ):
        runs.main("next_word", "--repeat", sentiment_run)


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
