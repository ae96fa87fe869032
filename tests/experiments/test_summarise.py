"""Runs in one table: the numbers, what belongs together, and what is refused."""

import csv
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from experiments import summarise, summary, summary_table
from lstm_keras.evaluation import intervals

ACCURACIES = (0.81, 0.84, 0.80, 0.88, 0.86)
PRINT = f"sha256:{64 * '1'}"
OTHER = f"sha256:{64 * '2'}"


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


def memory(folder, solved, chosen=0.01):
    """A run of one task and layer; `solved` has (lag, rate, seed, whether)."""
    lags = sorted({lag for lag, *_ in solved})
    cells = [
        {"task": "adding", "layer": "gru", "lag": lag, "learning_rate": chosen}
        for lag in lags
    ]
    metrics = {
        "experiment": "memory",
        "engine": {"gru": "keras.layers.GRU, path: chosen by Keras"},
        "longest": {"adding": {"gru": None}},
        "cells": cells,
    }
    write_run(folder, {"seed": 0, "layers": "gru"}, metrics)
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "layer", "lag", "learning_rate", "seed", "solved"])
        writer.writerows(["adding", "gru", *row] for row in solved)
    return folder


def table(*arguments):
    """The table of a command line."""
    return summarise.table_of(summarise.parser().parse_args(list(map(str, arguments))))


def row_of(found, measure, **names):
    (row,) = [
        row
        for row in found.rows
        if row["measure"] == measure and names.items() <= row.items()
    ]
    return row


def noted(found, text):
    return [note for note in found.notes if text in note]


# The numbers.


def test_mean_and_deviation_are_those_of_the_seeds(tmp_path):
    row = row_of(table(sentiment(tmp_path / "one", ACCURACIES)), "test accuracy")
    assert row["seeds"] == 5
    assert row["mean"] == pytest.approx(sum(ACCURACIES) / 5)
    squares = sum((value - sum(ACCURACIES) / 5) ** 2 for value in ACCURACIES)
    assert row["standard deviation"] == pytest.approx((squares / 4) ** 0.5)


def test_every_measure_is_read_from_its_place(tmp_path):
    found = table(sentiment(tmp_path / "one", ACCURACIES))
    mean = sum(ACCURACIES) / 5
    expected = {
        "validation accuracy": mean - 0.1,
        "validation log loss": 1 - mean,
        "test accuracy": mean,
        "test F1": mean / 2,
        "test ROC AUC": 0.5,
        "test log loss": 2 - mean,
    }
    assert {row["measure"]: row["mean"] for row in found.rows} == {
        measure: pytest.approx(value) for measure, value in expected.items()
    }


def test_the_interval_is_that_of_all_ways_to_draw_the_seeds_again():
    low, high = intervals.bootstrap_interval(ACCURACIES)
    means = [np.mean(draw) for draw in itertools.product(ACCURACIES, repeat=5)]
    expected = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose([low, high], expected, atol=0.002)
    assert intervals.bootstrap_interval(ACCURACIES) == [low, high]  # each time


def test_one_value_has_no_interval_and_equal_ones_have_no_width():
    assert intervals.bootstrap_interval([0.8]) is intervals.t_interval([0.8]) is None
    assert intervals.bootstrap_interval([0.5] * 3) == [0.5, 0.5]
    assert intervals.t_interval([0.5] * 3) == [0.5, 0.5]


@pytest.mark.parametrize("count", intervals.COVERAGE)
def test_the_bootstrap_of_few_values_holds_the_mean_as_often_as_it_says(count):
    rng = np.random.default_rng(count)
    values = rng.normal(size=(3000, count))
    shares = rng.multinomial(count, np.full(count, 1 / count), size=2000) / count
    low, high = np.quantile(values @ shares.T, [0.025, 0.975], axis=1)
    held = np.mean((low <= 0) & (high >= 0))
    assert held == pytest.approx(intervals.COVERAGE[count], abs=0.025)


def test_a_paired_difference_is_that_of_scipy():
    first, second = ACCURACIES, (0.80, 0.85, 0.79, 0.83, 0.84)
    found = intervals.paired_difference(first, second)
    test = stats.ttest_rel(first, second)
    np.testing.assert_allclose(found["interval"], test.confidence_interval(0.95))
    assert found["mean"] == pytest.approx(np.mean(first) - np.mean(second))
    assert found["values"] == pytest.approx([0.01, -0.01, 0.01, 0.05, 0.02])
    low, high = found["bootstrap_interval"]
    assert -0.01 <= low < found["mean"] < high <= 0.05


def test_of_two_seeds_a_note_says_that_their_interval_means_little(tmp_path):
    found = table(sentiment(tmp_path / "one", (0.8, 0.9)))
    row = row_of(found, "test accuracy")
    assert (row["low"], row["high"]) == (0.8, 0.9)
    assert noted(found, "over 2 seeds means little") and noted(found, "50%")


def test_of_one_seed_there_is_no_deviation_no_interval_and_no_note(tmp_path):
    found = table(sentiment(tmp_path / "one", (0.8,)))
    row = row_of(found, "test accuracy")
    assert (row["mean"], row["seeds"]) == (0.8, 1)
    assert row["standard deviation"] is row["low"] is row["high"] is None
    assert found.notes == []


def test_the_longest_lag_counts_the_chosen_rate_alone(tmp_path):
    solved = [
        *((10, 0.01, 0, True), (10, 0.01, 1, True), (20, 0.01, 0, True)),
        *((20, 0.01, 1, False), (40, 0.01, 0, False), (40, 0.01, 1, False)),
        *((40, 0.001, 0, True), (10, 0.01, 2, False)),
    ]
    found = table(memory(tmp_path / "one", solved))
    row = row_of(found, "longest lag solved, adding, gru")
    assert (row["seeds"], row["mean"]) == (3, (20 + 10 + 0) / 3)


def test_next_word_counts_the_model_not_the_n_grams(tmp_path):
    next_word(tmp_path / "a", 0, 80.0, data=PRINT)
    next_word(tmp_path / "b", 1, 90.0, data=OTHER)  # another seed, another split
    found = table(tmp_path)
    assert row_of(found, "held-out perplexity")["mean"] == 85
    assert row_of(found, "held-out top-5 accuracy")["mean"] == 0.5
    assert {row["seeds"] for row in found.rows} == {2}


def test_what_no_run_has_is_no_row(tmp_path):
    found = table(next_word(tmp_path / "a", 0, 80.0, held_out=False))
    assert [row["measure"] for row in found.rows] == [
        "training perplexity",
        "training top-1 accuracy",
    ]
    found = table(sentiment(tmp_path / "b", ACCURACIES, roc_auc=None))
    assert "test ROC AUC" not in {row["measure"] for row in found.rows}


# What belongs together.


def test_runs_that_differ_in_seed_and_place_are_a_group(tmp_path):
    sentiment(tmp_path / "a", (0.8, 0.9))
    settings = {"output": "elsewhere", "overwrite": True, "baselines": False}
    sentiment(tmp_path / "b", (0.7,), seed=2, settings=settings)
    found = table(tmp_path)
    row = row_of(found, "test accuracy")
    assert (row["seeds"], row["mean"]) == (3, pytest.approx(0.8))
    assert found.names == [] and "2 runs in 1 group" in found.title


def test_groups_are_named_by_the_settings_in_which_they_differ(tmp_path):
    sentiment(tmp_path / "a", (0.8, 0.9))
    sentiment(tmp_path / "b", (0.5, 0.6), settings={"units": 16, "limit": 100})
    sentiment(tmp_path / "c", (0.1, 0.2), backend="jax")
    found = table(tmp_path)
    assert found.names == ["units", "backend", "limit"]
    means = {
        (row["units"], row["backend"], row["limit"]): row["mean"]
        for row in found.rows
        if row["measure"] == "test accuracy"
    }
    assert means == {
        (8, "tensorflow", None): pytest.approx(0.85),
        (16, "tensorflow", 100): pytest.approx(0.55),
        (8, "jax", None): pytest.approx(0.15),
    }


def test_an_option_that_an_older_version_lacks_is_one_that_was_not_given(tmp_path):
    sentiment(tmp_path / "old", (0.8,))
    sentiment(tmp_path / "new", (0.9,), seed=1, settings={"patience": None})
    assert row_of(table(tmp_path), "test accuracy")["seeds"] == 2


def test_reviews_that_differ_are_not_averaged(tmp_path):
    sentiment(tmp_path / "a", (0.8,))
    sentiment(tmp_path / "b", (0.9,), seed=1, data=OTHER)
    found = table(tmp_path)
    assert found.names == ["data fingerprint"]
    assert {row["seeds"] for row in found.rows} == {1}


def test_runs_of_other_versions_in_a_group_are_named(tmp_path):
    sentiment(tmp_path / "a", (0.8,))
    sentiment(tmp_path / "b", (0.9,), seed=1, keras="3.16.0", commit=40 * "a")
    (note,) = noted(table(tmp_path), "Warning: the runs differ in")
    assert "keras 3.15.1 / 3.16.0" in note
    assert f"git commit unknown / {40 * 'a'}" in note
    assert "python" not in note


def test_a_run_named_twice_counts_once(tmp_path):
    one = sentiment(tmp_path / "runs" / "one", (0.8, 0.9))
    found = table(one, tmp_path / "runs", f"{one}/../one")
    assert row_of(found, "test accuracy")["seeds"] == 2


def test_hidden_folders_and_other_things_in_a_folder_are_no_runs(tmp_path):
    sentiment(tmp_path / "one", (0.8,))
    sentiment(tmp_path / ".two.partial", (0.9,), seed=1)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes.txt").write_text("of mine")
    assert row_of(table(tmp_path), "test accuracy")["seeds"] == 1


def test_a_seed_that_is_there_twice_is_refused(tmp_path):
    sentiment(tmp_path / "a", (0.8, 0.9))
    sentiment(tmp_path / "b", (0.7,), seed=1)
    with pytest.raises(ValueError, match=r"each seed once.*seed 1 in .*/a and in .*/b"):
        table(tmp_path)


# What was interrupted.


def test_interrupted_seeds_are_marked_and_left_out(tmp_path):
    folder = sentiment(tmp_path / "one", (0.8, 0.9, 0.1), interrupted=(2,))
    found = table(folder)
    row = row_of(found, "test accuracy")
    assert (row["seeds"], row["interrupted"]) == (2, 1)
    assert row["mean"] == pytest.approx(0.85)
    assert noted(found, f"left out: seed 2 of {folder}")
    assert "2 (1 interrupted)" in summary_table.text(found)


def test_interrupted_seeds_count_if_asked_to(tmp_path):
    folder = sentiment(tmp_path / "one", (0.8, 0.9, 0.1), interrupted=(2,))
    found = table(folder, "--include-interrupted")
    row = row_of(found, "test accuracy")
    assert (row["seeds"], row["interrupted"]) == (3, 1)
    assert row["mean"] == pytest.approx(0.6)
    assert noted(found, "Interrupted, but counted: seed 2")


def test_a_seed_that_was_interrupted_and_trained_anew_counts_once(tmp_path):
    next_word(tmp_path / "a", 0, 500.0, interrupted=True)
    next_word(tmp_path / "b", 0, 80.0)
    assert row_of(table(tmp_path), "training perplexity")["mean"] == 80
    with pytest.raises(ValueError, match="each seed once"):
        table(tmp_path, "--include-interrupted")


def test_a_group_of_interrupted_seeds_alone_has_a_row_without_numbers(tmp_path):
    found = table(sentiment(tmp_path / "one", (0.8,), interrupted=(0,)))
    row = row_of(found, "test accuracy")
    assert (row["seeds"], row["mean"], row["low"]) == (0, None, None)
    assert "0 (1 interrupted)  –" in summary_table.text(found)


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
    second = (0.80, 0.85, 0.79, 0.83, 0.84)
    found = table(*sets(ACCURACIES, second))
    row = row_of(found, "test accuracy", set="difference")
    differences = np.subtract(ACCURACIES, second)
    assert row["seeds"] == 5
    assert row["mean"] == pytest.approx(differences.mean())
    assert row["standard deviation"] == pytest.approx(differences.std(ddof=1))
    expected = intervals.bootstrap_interval(differences)
    assert [row["low"], row["high"]] == pytest.approx(expected)
    for label, values in (("layer=custom", ACCURACIES), ("layer=gru", second)):
        assert row_of(found, "test accuracy", set=label)["mean"] == pytest.approx(
            np.mean(values)
        )


def test_only_seeds_of_both_sets_count_and_the_others_are_named(sets):
    found = table(*sets((0.9, 0.8, 0.7), (0.5, 0.5)))
    assert row_of(found, "test accuracy", set="difference")["seeds"] == 2
    of_ours = row_of(found, "test accuracy", set="layer=custom")
    assert of_ours["mean"] == pytest.approx(0.85)
    assert found.notes.count(
        "Left out of the first set, without a partner: seed 2."
    ) == len(noted(found, "partner"))


def test_pairs_are_found_by_seed_not_by_place(tmp_path):
    sentiment(tmp_path / "a", (0.9, 0.8), seed=1)
    sentiment(tmp_path / "b", (0.1, 0.5, 0.6), settings={"layer": "gru"})
    found = table(tmp_path / "a", "--against", tmp_path / "b")
    row = row_of(found, "test accuracy", set="difference")
    assert row["mean"] == pytest.approx(((0.9 - 0.5) + (0.8 - 0.6)) / 2)


def test_an_interrupted_seed_has_no_partner(tmp_path):
    sentiment(tmp_path / "a", (0.9, 0.8))
    sentiment(tmp_path / "b", (0.5, 0.1), settings={"units": 9}, interrupted=(1,))
    found = table(tmp_path / "a", "--against", tmp_path / "b")
    assert row_of(found, "test accuracy", set="difference")["seeds"] == 1
    assert noted(found, "partner: seed 1") and noted(found, "left out: seed 1")


@pytest.mark.parametrize(
    ("first", "second", "parts"),
    [
        (
            (0.90, 0.91, 0.92, 0.93),
            (0.80, 0.82, 0.81, 0.83),
            (
                "with layer=custom higher by 0.1000 than with layer=gru over 4 seeds",
                "Neither interval contains 0: the two differ.",
            ),
        ),
        (
            (0.7, 0.8, 0.9),
            (0.8, 0.9, 0.8),
            (
                "with layer=custom lower by 0.0333 than with layer=gru over 3 seeds",
                "0 lies within that of bootstrap and Student: it may be chance.",
            ),
        ),
        (
            (0.80, 0.80, 0.80),
            (0.81, 0.84, 0.90),
            ("0 lies within that of Student: it may be chance.",),
        ),
        (
            (0.8, 0.8),
            (0.8, 0.8),
            ("no difference of layer=custom and layer=gru",),
        ),
        ((0.5,), (0.75,), ("lower by 0.2500", "1 seed, which says nothing of others")),
        ((0.5, 0.75), (0.75, 0.5), ("on average as with layer=gru over 2 seeds",)),
    ],
)
def test_a_sentence_says_what_the_difference_means(sets, first, second, parts):
    (note,) = noted(table(*sets(first, second)), "test accuracy: ")
    assert [part for part in parts if part not in note] == []


def test_the_sentence_has_both_intervals(sets):
    second = (0.80, 0.85, 0.79, 0.83, 0.84)
    (note,) = noted(table(*sets(ACCURACIES, second)), "test accuracy: ")
    difference = np.subtract(ACCURACIES, second)
    error = stats.sem(difference)
    student = stats.t.interval(0.95, 4, loc=difference.mean(), scale=error)
    bootstrap = intervals.bootstrap_interval(difference)
    ends = {"bootstrap": bootstrap, "Student": student}
    for name, two in ends.items():
        assert f"{name} {summary_table.interval(*two)}" in note


def test_sets_of_other_data_are_refused(sets):
    with pytest.raises(ValueError, match=f"same data.*seed 0, {PRINT}.*{OTHER}"):
        table(*sets((0.8, 0.9), (0.7, 0.8), data=OTHER))


def test_runs_without_a_fingerprint_are_compared_with_a_warning(sets):
    found = table(*sets((0.8, 0.9), (0.7, 0.8), data=None))
    assert noted(found, "no fingerprints of their data")


def test_other_versions_are_named(sets):
    found = table(*sets((0.8, 0.9), (0.7, 0.8), keras="3.16.0", commit=40 * "b"))
    (note,) = noted(found, "Warning")
    assert "keras 3.15.1 / 3.16.0" in note and 40 * "b" in note


def test_sets_of_equal_settings_are_called_first_and_second(tmp_path):
    sentiment(tmp_path / "a", (0.8, 0.9), commit=40 * "a")
    sentiment(tmp_path / "b", (0.7, 0.9), commit=40 * "b")
    found = table(tmp_path / "a", "--against", tmp_path / "b")
    assert [row["set"] for row in found.rows[:3]] == [
        *("the first", "the second", "difference")
    ]


def test_a_side_of_several_settings_is_refused(sets, tmp_path):
    arguments = sets((0.8, 0.9), (0.7, 0.8))
    sentiment(tmp_path / "theirs" / "b", (0.7,), seed=5, settings={"units": 9})
    with pytest.raises(ValueError, match=r"equal settings.*differ in layer, units: "):
        table(*arguments)


def test_sets_without_a_common_seed_run_or_measure_are_refused(tmp_path):
    one = sentiment(tmp_path / "a", (0.8, 0.9))
    other = sentiment(tmp_path / "b", (0.7,), seed=7)
    with pytest.raises(ValueError, match=r"a seed that both.*\[0, 1\] and \[7\]"):
        table(one, "--against", other)
    with pytest.raises(ValueError, match=r"each run in one set; received .*/a in both"):
        table(one, "--against", one)
    with_it = next_word(tmp_path / "c", 0, 80.0)
    metrics = json.loads((with_it / "metrics.json").read_text())
    metrics["results"][0]["train"] = None
    (with_it / "metrics.json").write_text(json.dumps(metrics))
    without = next_word(tmp_path / "d", 0, 80.0, held_out=False)
    with pytest.raises(ValueError, match="a measure that both sets have"):
        table(with_it, "--against", without)


# What is no run.


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.json", "{", "expected JSON in .*metrics.json; received"),
        ("metrics.json", "[]", "expected a JSON object in .*metrics.json"),
        ("config.json", "\ufffd", "expected JSON in .*config.json"),
        ("metrics.json", "{}", "expected runs of imdb_sentiment, .*; received None"),
        (
            "metrics.json",
            '{"experiment": "imdb_sentiment"}',
            "expected what imdb_sentiment writes in .*; received KeyError",
        ),
        (
            "metrics.json",
            '{"experiment": "speed"}',
            "expected runs of imdb_sentiment, next_word, memory; received 'speed' in",
        ),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, text, message):
    folder = sentiment(tmp_path / "one", (0.8,))
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        table(folder)


@pytest.mark.parametrize("value", ["0.9", True, [0.9], float("nan"), float("inf")])
def test_a_result_that_is_no_number_is_refused(tmp_path, value):
    folder = next_word(tmp_path / "one", 0, value)
    with pytest.raises(ValueError, match=r"ValueError: .* instead of a number"):
        table(folder)


def test_a_run_without_a_file_is_named(tmp_path):
    folder = sentiment(tmp_path / "one", (0.8,))
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected config\.json in a run"):
        table(folder)
    folder = memory(tmp_path / "two", [(10, 0.01, 0, True)])
    (folder / "results.csv").unlink()
    with pytest.raises(ValueError, match=r"received FileNotFoundError: .*results\.csv"):
        table(folder)


@pytest.mark.parametrize("place", ["nowhere", "", "file"])
def test_a_place_without_runs_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="expected a run folder or a folder of"):
        table(tmp_path / place)


def test_runs_of_two_experiments_are_refused(tmp_path):
    sentiment(tmp_path / "a", (0.8,))
    next_word(tmp_path / "b", 0, 80.0)
    with pytest.raises(ValueError, match=r"one experiment; received imdb_senti"):
        table(tmp_path)


# Files and the command line.


def test_the_csv_holds_the_rows_with_all_digits(tmp_path, capsys):
    sentiment(tmp_path / "runs" / "one", ACCURACIES)
    file = tmp_path / "table.csv"
    summarise.main([str(tmp_path / "runs"), "--csv", str(file)])
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    expected = table(tmp_path / "runs").rows
    assert [row["measure"] for row in rows] == [row["measure"] for row in expected]
    for name in ("mean", "standard deviation", "low", "high", "seeds"):
        assert [float(row[name]) for row in rows] == [row[name] for row in expected]
    assert "test accuracy" in capsys.readouterr().out


def test_the_markdown_holds_table_and_notes_and_shows_names_as_they_are(tmp_path):
    sentiment(tmp_path / "runs" / "a", (0.8, 0.9), settings={"data": "a|b_<i>.csv"})
    sentiment(tmp_path / "runs" / "b", (0.7, 0.8), settings={"data": "auto"})
    file = tmp_path / "table.md"
    summarise.main([str(tmp_path / "runs"), "--markdown", str(file)])
    lines = file.read_text("utf-8").splitlines()
    start = lines.index("| measure | data | seeds | mean | deviation | 95% bootstrap |")
    assert lines[start + 1] == "| --- | --- | --- | --- | --- | --- |"
    assert (
        "| test accuracy | a\\|b\\_&lt;i&gt;.csv | 2 | 0.8500 | 0.0707 | "
        "0.8000 to 0.9000 |" in lines
    )
    assert any(line.startswith("- A bootstrap interval over 2 seeds") for line in lines)


def test_an_existing_file_is_kept_unless_it_may_be_replaced(tmp_path, capsys):
    one, file = sentiment(tmp_path / "one", (0.8,)), tmp_path / "table.csv"
    file.write_text("mine")
    with pytest.raises(SystemExit, match=r"error: .*table\.csv exists already"):
        summarise.main([str(one), "--csv", str(file)])
    assert file.read_text() == "mine" and not capsys.readouterr().out
    summarise.main([str(one), "--csv", str(file), "--overwrite"])
    assert file.read_text().startswith("measure,")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "table.csv"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--csv", "none/table.csv"), "a file in an existing folder; received none"),
        (("--csv", "one"), "a file in an existing folder; received one"),
        (
            ("--csv", "t", "--markdown", "./t"),
            "two files; received t for both",
        ),
    ],
)
def test_files_that_cannot_be_written_are_refused_before_any_work(
    tmp_path, monkeypatch, options, message
):
    sentiment(tmp_path / "one", (0.8,))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(summary, "read_trials", None)
    with pytest.raises(SystemExit, match=f"error: expected {message}"):
        summarise.main(["one", *options])


def test_it_needs_no_keras_and_help_no_numpy(tmp_path):
    program = (
        "import sys; from experiments import summarise; {call}; "
        "sys.exit(' '.join({{'keras', 'tensorflow', {also}}} & set(sys.modules)) or 0)"
    )
    folder = str(sentiment(tmp_path / "one", ACCURACIES))
    for call, also in (
        (f"summarise.main([{folder!r}])", ""),
        ("summarise.parser().format_help()", "'numpy', 'scipy'"),
    ):
        code = program.format(call=call, also=also)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_numbers_keep_the_digits_that_tell_something():
    shown = {
        None: "–",
        0: "0",
        0.85: "0.8500",
        -0.0123: "-0.0123",
        3e-7: "3.0e-07",
        123.456: "123.46",
        12345.6: "12,345.60",
    }
    assert {value: summary_table.number(value) for value in shown} == shown
