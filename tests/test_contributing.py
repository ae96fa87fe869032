"""Builds the experiment that CONTRIBUTING.md shows, and uses it as its author would.

The oracle is NumPy's mean of the same throws.
"""

import csv
import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

import experiments
from experiments.common.command_line import main
from experiments.common.schema import schema

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def dice(tmp_path_factory):
    """Write the four files of the page into a package, and return its experiment."""
    parent = tmp_path_factory.mktemp("experiments")
    text = PAGE.read_text("utf-8")
    files = re.findall(
        r"`experiments/(dice/\w+\.py)`.*?```python\n(.*?)```", text, re.S
    )
    assert [name for name, _ in files] == [
        f"dice/{name}.py" for name in ("settings", "__main__", "run", "report")
    ]
    for name, code in [("dice/__init__.py", ""), *files]:
        (parent / name).parent.mkdir(exist_ok=True)
        (parent / name).write_text(code, "utf-8")
    experiments.__path__.append(str(parent))
    yield importlib.import_module("experiments.dice.settings").EXPERIMENT
    experiments.__path__.remove(str(parent))


def run(dice, *words) -> dict:
    main(dice, list(words))
    name = next(word for word in words if word.startswith("--name")).partition("=")[2]
    output = next(word for word in words if word.startswith("--output"))
    folder = Path(output.partition("=")[2], "dice", name)
    return json.loads((folder / "metrics.json").read_text("utf-8"))


def test_it_runs_and_reports(dice, tmp_path, capsys):
    found = run(dice, f"--output={tmp_path}", "--name=a", "--throws=50", "--seed=3")
    throws = np.random.default_rng(3).integers(1, 7, 50)
    assert found["mean"] == throws.mean()
    folder = tmp_path / "dice" / "a"
    with (folder / "throws.csv").open(newline="") as file:
        assert [int(row["throw"]) for row in csv.DictReader(file)] == throws.tolist()
    page = (folder / "report.html").read_text("utf-8")
    printed = capsys.readouterr().out
    for text in (page, printed):
        assert f"{throws.mean():.3f}" in text and "expected" in text
    assert schema("dice")["properties"]["mean"]["description"] == "Mean of all throws."


def test_it_repeats(dice, tmp_path, capsys):
    run(dice, f"--output={tmp_path}", "--name=a", "--throws=50")
    main(dice, [f"--repeat={tmp_path / 'dice' / 'a'}"])
    assert "results are equal, to the last digit" in capsys.readouterr().out


def test_it_resumes(dice, tmp_path, monkeypatch):
    """It is interrupted where it would write its first checkpoint."""
    module = importlib.import_module("experiments.dice.run")
    whole = run(dice, f"--output={tmp_path}", "--name=whole")

    def interrupted(settings, context):
        begin = context.begin

        def begun(*facts):
            begin(*facts)
            (context.checkpoints / "throws.npz").write_bytes(b"")
            raise KeyboardInterrupt

        context.begin = begun
        return actual(settings, context)

    actual = module.run
    monkeypatch.setattr(module, "run", interrupted)
    with pytest.raises(SystemExit) as ending:
        run(dice, f"--output={tmp_path}", "--name=part")
    assert ending.value.code == 130
    monkeypatch.undo()
    main(dice, [f"--resume={tmp_path / 'dice' / 'part'}"])
    path = tmp_path / "dice" / "part" / "metrics.json"
    assert json.loads(path.read_text("utf-8"))["mean"] == whole["mean"]
