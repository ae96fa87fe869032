"""A run that is made again, and how two runs compare."""

import json

import pytest

from experiments import next_word
from experiments.earlier import compared

SMALL = (
    *("--limit", "400", "--epochs", "1", "--embedding", "4", "--units", "5"),
    *("--batch-size", "8", "--no-baselines"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    next_word.main([*SMALL, "--output", str(output), "--name", "one"])
    return output / "next_word" / "one"


def test_a_repeated_run_finds_the_same_and_says_so(folder, capsys):
    next_word.main(["--repeat", str(folder)])
    said = capsys.readouterr().out
    assert f"Compared with {folder}:" in said
    assert "results are equal, to the last digit" in said
    again = folder.with_name("one-repeated")
    before, after = (
        json.loads((path / "config.json").read_text()) for path in (folder, again)
    )
    assert after == before | {"name": "one-repeated", "repeat": str(folder)}
    # Its command does without the earlier run.
    command = json.loads((again / "metrics.json").read_text())["command"]
    assert "--units=5" in command and "--repeat" not in command


def test_a_repeated_run_that_finds_something_else_ends_with_status_1(
    folder, tmp_path, capsys
):
    other = tmp_path / "next_word" / "other"
    other.mkdir(parents=True)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["parameters"] += 1
    metrics["environment"]["versions"]["keras"] = "2.0"
    (other / "metrics.json").write_text(json.dumps(metrics))
    (other / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(SystemExit, match="1"):
        next_word.main(["--repeat", str(other), "--name", "again"])
    said = capsys.readouterr().out
    assert "1 of " in said and "differ; of the environment versions.keras did" in said
    found = metrics["parameters"]
    assert f"parameters: {found} before, {found - 1} now" in said
    assert (tmp_path / "next_word" / "again" / "report.html").exists()


def test_a_run_is_not_repeated_in_its_own_place(folder):
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(SystemExit, match=r"expected another --name .*received one"):
        next_word.main(["--repeat", str(folder), "--name", "one", "--overwrite"])
    assert (folder / "metrics.json").read_bytes() == before


def test_times_and_names_do_not_make_results_others():
    one = {"name": "a", "seconds": 3, "runs": [{"training_seconds": 1, "loss": 0.5}]}
    other = {"name": "b", "seconds": 4, "runs": [{"training_seconds": 2, "loss": 0.5}]}
    for metrics in (one, other):
        metrics |= {"command": metrics["name"], "environment": {"python": "3"}}
    assert compared(one, other) == ["all 1 results are equal, to the last digit"]
    other["runs"][0]["loss"] += 1e-16 + 2**-53
    assert len(compared(one, other)) == 2
    del other["runs"][0]["loss"]
    assert compared(one, other)[1] == "  runs.0.loss: 0.5 before, None now"
