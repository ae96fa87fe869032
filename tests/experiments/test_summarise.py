"""Runs in one table: the numbers, what belongs together, and what is refused."""

import csv
import json
import math
from unittest.mock import Mock

import numpy as np
import pytest

import experiments
from experiments.summarise import command_line, curves, runs, table
from lstm_keras.evaluation import intervals
from tests.helpers.fresh_process import run_python
from tests.helpers.runs import metrics_of

ACCURACIES = (0.81, 0.84, 0.80, 0.88, 0.86)
PRINT = f"sha256:{64 * '1'}"
OTHER = f"sha256:{64 * '2'}"
MEASURES = ["validation accuracy", "validation log loss"]
MEASURES += [f"test {name}" for name in ("accuracy", "F1", "ROC AUC", "log loss")]


def write_run(folder, config, metrics, **facts):
    """A run folder; facts change what every run says."""
    environment = {
        "python": "3.12.0",
        "backend": facts.get("backend", "tensorflow"),
        "versions": {"keras": facts.get("keras", "3.15.1")},
        "git_commit": facts.get("commit"),
    }
    data = {"fingerprint": facts.get("data", PRINT)}
    if data["fingerprint"] is None:
        del data["fingerprint"]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"name": folder.name} | config))
    (folder / "metrics.json").write_text(
        json.dumps({"environment": environment, "data": data} | metrics)
    )
    return folder


def sentiment(folder, accuracies, seed=0, interrupted=(), settings=None, **facts):
    """A sentiment run with a seed for each test accuracy; its others follow from it."""
    settings = {"layer": "custom", "units": 8} | (settings or {})
    runs = [
        {
            "seed": one,
            "interrupted": one in interrupted,
            "validation": {"accuracy": accuracy - 0.1, "log_loss": 1 - accuracy},
            "test": {
                **{"accuracy": accuracy, "f1": accuracy / 2, "log_loss": 2 - accuracy},
                "roc_auc": facts.get("roc_auc", 0.5),
            },
        }
        for one, accuracy in enumerate(accuracies, start=seed)
    ]
    metrics = {
        "experiment": "imdb_sentiment",
        "engine": {"layer": "lstm_keras.LSTM", "training": "xla"},
        "runs": runs,
    }
    own = {"seed": seed, "seeds": len(runs), "output": "runs", "overwrite": False}
    return write_run(folder, own | settings, metrics, **facts)


def next_word(folder, seed, perplexity, held_out=True, interrupted=False, **facts):
    results = {"perplexity": perplexity, "accuracy": 0.25, "top5_accuracy": 0.5}
    metrics = {
        "experiment": "next_word",
        "engine": {"layer": "lstm_keras.LSTM", "training": "loop"},
        "interrupted": interrupted,
        "results": [
            {"train": results, "held_out": results if held_out else None},
            {"train": {"perplexity": 1.0}, "held_out": None},  # of the n-grams
        ],
    }
    return write_run(folder, {"seed": seed, "text": "book"}, metrics, **facts)


def memory(folder, *results):
    """A run of one task and layer; a result is lag, rate, seed, and whether solved."""
    cell = {"task": "adding", "layer": "gru", "learning_rate": 0.01}
    metrics = {
        "experiment": "memory",
        "engine": {"gru": "keras.layers.GRU, path: chosen by Keras"},
        "longest": {"adding": {"gru": None}},
        "cells": [cell | {"lag": lag} for lag in (10, 20, 40)],
    }
    write_run(folder, {"seed": 0, "layers": "gru"}, metrics)
    lines = ["task,layer,lag,learning_rate,seed,solved"]
    lines += [f"adding,gru,{result}" for result in results]
    (folder / "results.csv").write_text("\n".join(lines))
    return folder


def summary(*arguments):
    """The table of a command line."""
    given = command_line.parser().parse_args([*map(str, arguments)])
    return table.of(given.runs, given.against, given.interrupted)


def row_of(found, measure, **names):
    rows = [row for row in found.rows.to_dict("records") if row["measure"] == measure]
    (row,) = [row for row in rows if names.items() <= row.items()]
    return row


def every_form(folder, capsys):
    """The table of the runs below a folder, and what is printed and written of it."""
    table_csv, table_md = folder / "table.csv", folder / "table.md"
    runs = str(folder / "runs")
    command_line.main([runs, "--csv", str(table_csv), "--markdown", str(table_md)])
    with table_csv.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    markdown = table_md.read_text("utf-8").splitlines()
    return summary(runs), capsys.readouterr().out, rows, markdown


def noted(found, text):
    return [note for note in found.notes if text in note]


def edit(folder, change):
    """Change the metrics of a run."""
    metrics = metrics_of(folder)
    change(metrics)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def without_results(folder):
    """A run that was ended before it had any."""
    next_word(folder, 0, None, held_out=False)
    return edit(folder, lambda metrics: metrics["results"][0].update(train=None))


# The numbers.


def test_numbers_are_those_of_the_seeds_and_each_measure_is_read_from_its_place(
    tmp_path,
):
    found = summary(sentiment(tmp_path / "one", ACCURACIES))
    mean = sum(ACCURACIES) / 5
    squares = sum((value - mean) ** 2 for value in ACCURACIES)
    row = row_of(found, "test accuracy")
    assert row["seeds"] == 5
    assert row["standard deviation"] == pytest.approx((squares / 4) ** 0.5)
    means = [mean - 0.1, 1 - mean, mean, mean / 2, 0.5, 2 - mean]
    assert found.rows.set_index("measure")["mean"].to_dict() == {
        measure: pytest.approx(value)
        for measure, value in zip(MEASURES, means, strict=True)
    }


@pytest.mark.parametrize("count", table.COVERAGE)
def test_the_bootstrap_of_few_values_holds_the_mean_as_often_as_it_says(count):
    rng = np.random.default_rng(count)
    values = rng.normal(size=(2000, count))
    shares = rng.multinomial(count, np.full(count, 1 / count), size=500) / count
    low, high = np.quantile(values @ shares.T, [0.025, 0.975], axis=1)
    held = np.mean((low <= 0) & (high >= 0))
    assert held == pytest.approx(table.COVERAGE[count], abs=0.03)


def test_an_interval_over_two_seeds_means_little_and_of_one_there_is_none(tmp_path):
    found = summary(sentiment(tmp_path / "two", (0.8, 0.9)))
    row = row_of(found, "test accuracy")
    assert (row["low"], row["high"]) == (0.8, 0.9)
    assert noted(found, "over 2 seeds means little") and noted(found, "50%")
    found = summary(sentiment(tmp_path / "one", (0.8,)))
    row = row_of(found, "test accuracy")
    assert (row["mean"], row["seeds"]) == (0.8, 1)
    assert all(map(math.isnan, map(row.get, ("standard deviation", "low", "high"))))
    assert found.notes == []


def test_the_longest_lag_counts_the_chosen_rate_alone(tmp_path):
    solved = ["10,0.01,0,True", "10,0.01,1,True", "20,0.01,0,True", "20,0.01,1,False"]
    failed = ["40,0.01,0,False", "40,0.01,1,False", "10,0.01,2,False"]
    found = summary(memory(tmp_path / "one", *solved, *failed, "40,0.001,0,True"))
    row = row_of(found, "longest lag solved, adding, gru")
    assert (row["seeds"], row["mean"]) == (3, (20 + 10 + 0) / 3)


def test_next_word_counts_the_model_not_the_n_grams(tmp_path):
    next_word(tmp_path / "a", 0, 80.0, data=PRINT)
    next_word(tmp_path / "b", 1, 90.0, data=OTHER)  # another seed, another split
    found = summary(tmp_path)
    assert row_of(found, "held-out perplexity")["mean"] == 85
    assert row_of(found, "held-out top-5 accuracy")["mean"] == 0.5
    assert set(found.rows["seeds"]) == {2}


def test_what_no_run_has_is_no_row_and_without_any_there_is_no_table(tmp_path):
    found = summary(next_word(tmp_path / "a", 0, 80.0, held_out=False))
    measures = ["training perplexity", "training top-1 accuracy"]
    assert list(found.rows["measure"]) == found.cells[0][2:] == measures
    with pytest.raises(ValueError, match="expected a measure that the runs have"):
        summary(without_results(tmp_path / "b"))


def test_groups_of_different_measures_share_a_table(tmp_path, capsys):
    next_word(tmp_path / "runs" / "a", 0, 80.0)
    next_word(tmp_path / "runs" / "b", 0, 90.0, held_out=False, backend="jax")
    found, text, csv_rows, markdown = every_form(tmp_path, capsys)
    a, b = found.cells[1:]
    assert (a[:3], b[:3]) == (["a", "tensorflow", "1"], ["b", "jax", "1"])
    assert a[3:] == ["80.00", "0.2500", "80.00", "0.2500", "0.5000"]
    assert b[3:] == ["90.00", "0.2500", "–", "–", "–"]
    assert [line.split() for line in text.splitlines()[-2:]] == [a, b]
    assert markdown[-2:] == [f"| {' | '.join(row)} |" for row in (a, b)]
    assert [row["runs"] for row in csv_rows] == [*"aaaaabb"]


def test_a_group_with_a_seed_without_a_measure_is_one_row(tmp_path, capsys):
    sentiment(tmp_path / "runs" / "a", (0.8, 0.9))
    sentiment(tmp_path / "runs" / "b", (0.7,), seed=2, roc_auc=None)
    found, text, csv_rows, markdown = every_form(tmp_path, capsys)
    (row,) = found.cells[1:]
    assert row[:2] == ["a, b", "3"]
    cell = ["0.5000 ± 0", "0.5000 to 0.5000", "2 of 3 seeds"]
    assert row[2 + MEASURES.index("test ROC AUC")].splitlines() == cell
    assert text.count("of 3 seeds") == 1 and "nan" not in text
    (line,) = [line for line in markdown if line.startswith("| a, b | 3 |")]
    assert line.count("of 3 seeds") == 1 and f"| {'<br>'.join(cell)} |" in line
    assert {row["measure"]: row["seeds"] for row in csv_rows} == {
        measure: "2" if measure == "test ROC AUC" else "3" for measure in MEASURES
    }
    for name in ("mean", "standard deviation", "low", "high"):  # all digits
        assert [float(row[name]) for row in csv_rows] == list(found.rows[name])


# What belongs together.


def test_runs_that_differ_in_seed_and_place_are_a_group(tmp_path):
    sentiment(tmp_path / "a" / "deep", (0.8, 0.9))
    settings = {"output": "elsewhere", "overwrite": True, "baselines": False}
    # An option that an older version lacks is one that was not given.
    one = sentiment(tmp_path / "b", (0.7,), 2, settings=settings | {"patience": None})
    sentiment(tmp_path / "a" / ".hidden" / "one", (0.1,), seed=3)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes.txt").write_text("of mine")
    found = summary(tmp_path, one, f"{one}/../b")  # named twice, it counts once
    row = row_of(found, "test accuracy")
    assert (row["seeds"], row["mean"]) == (3, pytest.approx(0.8))
    assert found.cells[0][:2] == ["runs", "seeds"]
    assert "2 runs in 1 group" in found.title


def test_groups_are_named_by_the_settings_and_data_in_which_they_differ(tmp_path):
    sentiment(tmp_path / "a", (0.8, 0.9))
    sentiment(tmp_path / "b", (0.5, 0.6), settings={"units": 16, "of_old": 100})
    sentiment(tmp_path / "c", (0.1, 0.2), backend="jax")
    sentiment(tmp_path / "d", (0.4,), data=OTHER)
    found = summary(tmp_path)
    names = ["runs", "units", "backend", "data fingerprint", "of_old"]
    assert found.cells[0][:6] == [*names, "seeds"]
    rows = found.rows[found.rows["measure"] == "test accuracy"]
    prints = PRINT[:19], OTHER[:19]
    assert rows.set_index(names)["mean"].to_dict() == {
        ("a", "8", "tensorflow", prints[0], ""): pytest.approx(0.85),
        ("b", "16", "tensorflow", prints[0], "100"): pytest.approx(0.55),
        ("c", "8", "jax", prints[0], ""): pytest.approx(0.15),
        ("d", "8", "tensorflow", prints[1], ""): pytest.approx(0.4),
    }


def test_runs_of_other_versions_in_a_group_are_named(tmp_path):
    sentiment(tmp_path / "a", (0.8,))
    sentiment(tmp_path / "b", (0.9,), seed=1, keras="3.16.0", commit=40 * "a")
    (note,) = noted(summary(tmp_path), "Warning: the runs a, b differ in")
    assert "keras 3.15.1 / 3.16.0" in note
    assert f"git commit unknown / {40 * 'a'}" in note
    assert "python" not in note


# What was interrupted.


@pytest.mark.parametrize(
    ("options", "seeds", "mean", "note"),
    [
        ((), 2, 0.85, "Interrupted and left out: seed 2 of "),
        (("--include-interrupted",), 3, 0.6, "Interrupted, but counted: seed 2 of "),
    ],
)
def test_interrupted_seeds_are_marked_and_left_out_unless_asked_for(
    tmp_path, capsys, options, seeds, mean, note
):
    folder = sentiment(tmp_path / "one", (0.8, 0.9, 0.1), interrupted=(2,))
    found = summary(folder, *options)
    row = row_of(found, "test accuracy")
    assert (row["seeds"], row["interrupted"]) == (seeds, 1)
    assert row["mean"] == pytest.approx(mean)
    assert noted(found, f"{note}{folder}")
    table.show(found)
    assert f"{seeds} (1 interrupted)" in capsys.readouterr().out


def test_a_seed_that_was_interrupted_and_trained_anew_counts_once(tmp_path):
    next_word(tmp_path / "a", 0, 500.0, interrupted=True)
    next_word(tmp_path / "b", 0, 80.0)
    assert row_of(summary(tmp_path), "training perplexity")["mean"] == 80
    message = r"each seed once.*seed 0 in .*/a and in .*/b"
    with pytest.raises(ValueError, match=message):
        summary(tmp_path, "--include-interrupted")


def test_a_group_of_interrupted_seeds_alone_has_a_row_without_numbers(tmp_path):
    found = summary(sentiment(tmp_path / "one", (0.8,), interrupted=(0,)))
    row = row_of(found, "test accuracy")
    assert row["seeds"] == 0 and math.isnan(row["mean"])
    assert found.cells[1][:3] == ["one", "0 (1 interrupted)", "–"]


# Two sets.


@pytest.fixture
def sets(tmp_path):
    """Makes two sets of runs; gives the command line that compares them."""

    def make(first, second, **facts):
        sentiment(tmp_path / "ours" / "a", first[:2])
        if first[2:]:
            sentiment(tmp_path / "ours" / "b", first[2:], seed=2)
        theirs = tmp_path / "theirs"
        sentiment(theirs / "a", second, **({"settings": {"layer": "gru"}} | facts))
        return [tmp_path / "ours", "--against", theirs]

    return make


def test_two_sets_are_compared_seed_by_seed(sets):
    """The numbers are those of the library."""
    second = (0.80, 0.85, 0.79, 0.83, 0.84)
    found = summary(*sets(ACCURACIES, second))
    row = row_of(found, "test accuracy", set="difference")
    expected = intervals.paired_difference(ACCURACIES, second)
    assert row["seeds"] == 5
    assert row["mean"] == pytest.approx(expected["mean"])
    assert row["standard deviation"] == pytest.approx(expected["standard_deviation"])
    assert [row["low"], row["high"]] == expected["bootstrap_interval"]
    assert [row["t low"], row["t high"]] == pytest.approx(expected["interval"])
    for label, values in (("layer=custom", ACCURACIES), ("layer=gru", second)):
        mean = row_of(found, "test accuracy", set=label)["mean"]
        assert mean == pytest.approx(np.mean(values))
    header, *rows = found.cells
    assert header == ["measure", "seeds", "layer=custom", "layer=gru", "difference"]
    (cells,) = [row for row in rows if row[0] == "test accuracy"]
    assert cells[-1].splitlines() == [
        "0.0160 ± 0.0219",
        "{} to {}".format(*map(table.number, expected["bootstrap_interval"])),
        "{} to {} (Student)".format(*map(table.number, expected["interval"])),
    ]


def test_pairs_are_found_by_seed_and_seeds_without_a_partner_are_named(tmp_path):
    sentiment(tmp_path / "a", (0.9, 0.8, 0.7), seed=1, interrupted=(3,))
    sentiment(tmp_path / "b", (0.1, 0.5, 0.6, 0.2), settings={"layer": "gru"})
    places = (tmp_path / "a", "--against", tmp_path / "b")
    found = summary(*places)
    row = row_of(found, "test accuracy", set="difference")
    assert (row["seeds"], row["mean"]) == (2, pytest.approx((0.4 + 0.2) / 2))
    of_ours = row_of(found, "test accuracy", set="layer=custom")
    assert of_ours["mean"] == pytest.approx(0.85)
    said = "Left out of the second set, without a partner: seed 0, 3."
    assert noted(found, "partner") == [said] and noted(found, "left out: seed 3")
    found = summary(*places, "--include-interrupted")
    counts = [row[:2] for row in found.cells[1:]]
    assert counts == [[measure, "3 (1 interrupted)"] for measure in MEASURES]


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ((0.90, 0.91, 0.92, 0.93), (0.80, 0.82, 0.81, 0.83), "so the sets differ."),
        ((0.80, 0.82, 0.81, 0.83), (0.90, 0.91, 0.92, 0.93), "so the sets differ."),
        ((0.7, 0.8, 0.9), (0.8, 0.9, 0.8), "so it may be chance."),
        # Within Student's alone.
        ((0.80, 0.80, 0.80), (0.81, 0.84, 0.90), "so it may be chance."),
        ((0.8, 0.8), (0.8, 0.8), "no difference."),
        ((0.5,), (0.75,), "a single seed says nothing about others."),
        ((0.5, 0.75), (0.75, 0.5), "so it may be chance."),
    ],
)
def test_a_sentence_says_what_the_difference_means(sets, first, second, verdict):
    (note,) = noted(summary(*sets(first, second)), "test accuracy")
    assert note.endswith(verdict)


@pytest.mark.parametrize(
    ("facts", "note"),
    [
        ({"data": None}, "no fingerprints of their data"),
        ({"keras": "3.16.0"}, "keras 3.15.1 / 3.16.0"),
        ({"commit": 40 * "b"}, 40 * "b"),
    ],
)
def test_what_else_differs_between_two_sets_is_named(sets, facts, note):
    (warning,) = noted(summary(*sets((0.8, 0.9), (0.7, 0.8), **facts)), "Warning")
    assert note in warning


def test_sets_of_equal_settings_are_called_first_and_second(tmp_path):
    sentiment(tmp_path / "a", (0.8, 0.9), commit=40 * "a")
    sentiment(tmp_path / "b", (0.7, 0.9), commit=40 * "b")
    found = summary(tmp_path / "a", "--against", tmp_path / "b")
    assert found.cells[0][2:] == ["the first", "the second", "difference"]


def test_sets_that_cannot_be_compared_are_refused(sets, tmp_path):
    ours, _, theirs = places = sets((0.8, 0.9), (0.7, 0.8), data=OTHER)
    with pytest.raises(ValueError, match=f"same data.*seed 0, {PRINT}.*{OTHER}"):
        summary(*places)
    sentiment(theirs / "b", (0.7,), seed=5, settings={"units": 9})
    with pytest.raises(ValueError, match="differ in layer, units, data fingerp"):
        summary(*places)
    other = sentiment(tmp_path / "b", (0.7,), seed=7)
    with pytest.raises(ValueError, match=r"seed by seed; received 0, 1 and 7: make"):
        summary(ours, "--against", other)
    with pytest.raises(ValueError, match=r"each run in one set; received .*/a in both"):
        summary(ours, "--against", ours)
    with_it = next_word(tmp_path / "c", 0, 80.0)
    without = without_results(tmp_path / "d")
    with pytest.raises(ValueError, match="a measure that both sets have"):
        summary(with_it, "--against", without)


# What is no run.


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.json", "{", "expected JSON in .*metrics.json; received"),
        ("config.json", "\ufffd", "expected JSON in .*config.json"),
        ("metrics.json", "{}", "expected runs of .*, next_word; received None"),
        (
            "metrics.json",
            '{"experiment": "imdb_sentiment"}',
            "expected what imdb_sentiment writes in .*; received KeyError",
        ),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, text, message):
    folder = sentiment(tmp_path / "one", (0.8,))
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        summary(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(
            (lambda m, value=value: m["runs"][1]["test"].update(f1=value), "a number")
            for value in ("0.9", True, [0.9], math.nan, math.inf)
        ),
        *(
            (lambda m, value=value: m["runs"][1].update(seed=value), "a seed")
            for value in ("0", None, True, 1.5, [0])
        ),
        (lambda m: m.update(environment={"python": "3"}), ""),
        (lambda m: m.update(data={"fingerprint": 1}), ""),
    ],
)
def test_a_broken_value_is_named(tmp_path, change, message):
    folder = edit(sentiment(tmp_path / "one", (0.8, 0.9)), change)
    message = f"expected what imdb_sentiment writes in .*/one; .*{message}"
    with pytest.raises(ValueError, match=message):
        summary(folder)


def test_a_run_without_a_file_is_named(tmp_path):
    folder = sentiment(tmp_path / "one", (0.8,))
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected config\.json in a run"):
        summary(folder)
    folder = memory(tmp_path / "two", "10,0.01,0,True")
    (folder / "results.csv").unlink()
    with pytest.raises(ValueError, match=r"received FileNotFoundError: .*results\.csv"):
        summary(folder)


@pytest.mark.parametrize("place", ["nowhere", "", "file"])
def test_a_place_without_runs_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="expected a run or a folder with runs"):
        summary(tmp_path / place)


def test_runs_of_two_experiments_are_refused(tmp_path):
    sentiment(tmp_path / "a", (0.8,))
    next_word(tmp_path / "b", 0, 80.0)
    with pytest.raises(ValueError, match=r"one experiment; received imdb_senti"):
        summary(tmp_path)


def test_an_experiment_is_summarised_by_its_own_measures(tmp_path, monkeypatch):
    """Nothing but its folder says what is read of it."""
    folder = tmp_path / "packages" / "dice_of_mine"
    folder.mkdir(parents=True)
    (folder / "settings.py").write_text(
        "from types import SimpleNamespace\n"
        "from experiments.common.settings import RepeatSettings\n"
        "EXPERIMENT = SimpleNamespace(settings=RepeatSettings)\n"
    )
    (folder / "measures.py").write_text(
        "from experiments.common.trial import Trial\n"
        "SEED_CHOOSES_DATA = True\n"
        "def trials(folder, config, metrics):\n"
        "    return [Trial(n, {'eyes': n + 1}, False, None) for n in metrics['seeds']]"
    )
    monkeypatch.setattr(
        experiments, "__path__", [*experiments.__path__, str(folder.parent)]
    )
    metrics = {"experiment": "dice_of_mine", "engine": {}, "seeds": [0, 1, 2]}
    run = write_run(tmp_path / "run", {"output": "a", "deterministic": False}, metrics)
    assert row_of(summary(run), "eyes")["mean"] == 2


# Files and the command line.


def test_the_markdown_holds_table_and_notes_and_shows_names_as_they_are(
    tmp_path, capsys
):
    sentiment(tmp_path / "runs" / "a", (0.8, 0.9), settings={"data": "a|b_<i>.csv"})
    sentiment(tmp_path / "runs" / "b", (0.7, 0.8), settings={"data": "auto"})
    *_, lines = every_form(tmp_path, capsys)
    start = lines.index(f"| {' | '.join(['runs', 'data', 'seeds', *MEASURES])} |")
    assert lines[start + 1] == f"|{' --- |' * 9}"
    assert lines[start + 2].startswith("| a | a\\|b\\_&lt;i&gt;.csv | 2 | ")
    assert "| 0.8500 ± 0.0707<br>0.8000 to 0.9000 |" in lines[start + 2]
    assert any(line.startswith("- A bootstrap interval over 2 seeds") for line in lines)


def test_an_existing_file_is_kept_unless_it_may_be_replaced(tmp_path, capsys):
    one, file = sentiment(tmp_path / "one", (0.8,)), tmp_path / "table.csv"
    file.write_text("mine")
    with pytest.raises(SystemExit, match=r"error: .*table\.csv exists already"):
        command_line.main([str(one), "--csv", str(file)])
    assert file.read_text() == "mine" and not capsys.readouterr().out
    command_line.main([str(one), "--csv", str(file), "--overwrite"])
    assert file.read_text().startswith("measure,")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "table.csv"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--csv none/table.csv", "a file in an existing folder; received none"),
        ("--csv one", "a file in an existing folder; received one"),
        ("--csv t --markdown ./t", "different files; received t and t"),
    ],
)
def test_files_that_cannot_be_written_are_refused_before_any_work(
    tmp_path, monkeypatch, options, message
):
    sentiment(tmp_path / "one", (0.8,))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "read", None)
    with pytest.raises(SystemExit, match=f"error: expected {message}"):
        command_line.main(["one", *options.split()])


def few_labels(tmp_path):
    """Runs of two recipes, of different units too, with few labels and many."""
    for recipe, units, gain in (("tuned", 8, 0), ("best", 9, 0.1)):
        for labelled in (100, 2500):
            for seed in (0, 1):
                accuracy = 0.5 + gain + labelled / 10_000 + seed / 50
                settings = {"recipe": recipe, "units": units, "labelled": labelled}
                folder = tmp_path / f"{recipe}-{labelled}-{seed}"
                sentiment(folder, [accuracy], seed=seed, settings=settings)
    return [str(tmp_path), "--by", "labelled", "--measure", "test accuracy"]


def test_a_figure_has_a_curve_for_each_recipe(tmp_path, monkeypatch, capsys):
    found = {}
    monkeypatch.setattr(
        curves.plots, "plot_by_setting", lambda *names: found.update(names[2]) or Mock()
    )
    path = tmp_path / "f.svg"
    arguments = few_labels(tmp_path / "runs")
    sentiment(tmp_path / "runs" / "other", [0.9], settings={"recipe": "plain"})
    command_line.main([*arguments, "--figure", str(path)])
    assert [*found] == ["best", "tuned"]
    for recipe, gain in (("best", 0.1), ("tuned", 0)):
        values, means, deviations = found[recipe]
        assert values == [100, 2500]
        np.testing.assert_allclose(means, [0.52 + gain, 0.76 + gain])
        np.testing.assert_allclose(deviations, 0.02 / math.sqrt(2))
    assert path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--by units", "expected --figure, --by and --measure together"),
        ("--figure f.svg --by recipe", "numbers as the values of recipe; received '"),
        ("--figure f.svg --by dropout", "a setting of the runs, one of .*'dropout'"),
        ("--figure f.svg --measure BLEU", "a measure of the runs, one of .*'BLEU'"),
        ("--figure f.pdf", "named .svg or .png; received f.pdf"),
    ],
)
def test_figures_that_cannot_be_drawn_are_refused(
    tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        command_line.main([*few_labels(tmp_path / "runs"), *options.split()])
    assert not [*tmp_path.glob("f.*")]


def test_it_needs_no_keras(tmp_path):
    loaded = run_python(
        "import sys; from experiments.summarise import command_line; "
        "command_line.main(sys.argv[1:]); print(*sys.modules)",
        str(sentiment(tmp_path / "one", ACCURACIES)),
    ).splitlines()[-1]
    assert not {"keras", "tensorflow"} & {*loaded.split()}


def test_numbers_keep_their_significant_digits():
    shown = {0: "0", 0.85: "0.8500", -0.0123: "-0.0123", 3e-7: "3.0e-07"}
    shown |= {123.456: "123.46", 12345.6: "12,345.60"}
    assert {value: table.number(value) for value in shown} == shown


def test_a_real_run_is_summarised(sentiment_run, capsys):
    command_line.main([str(sentiment_run.parent.parent)])
    row = row_of(summary(sentiment_run), "test accuracy")
    (one,) = metrics_of(sentiment_run)["runs"]
    assert row["mean"] == one["test"]["accuracy"]
    assert "imdb_sentiment: 1 run in 1 group" in capsys.readouterr().out
