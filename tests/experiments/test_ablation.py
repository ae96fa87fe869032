"""The ablation: equal sizes by Keras's count, searches, pairs, and what is resumed."""

import csv
import dataclasses
import itertools
import json
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from experiments.ablation import cells, measures, report, results, settings, tasks
from experiments.ablation.plan import Choice, Job, Outcome, Plan, choices
from experiments.ablation.settings import CELLS, SEARCH_SEED, Settings
from experiments.ablation.worker import Trainer
from experiments.common import trainings
from experiments.common.fit import Checkpoint
from tests.helpers import runs
from tests.helpers.browser import assert_page_is_sound, in_a_browser
from tests.helpers.runs import metrics_of

SIZES = {"units": 8, "batch_size": 4, "lag": 6, "steps": 40, "trials": 2, "seeds": 2}
SETTINGS = Settings(
    **SIZES,
    data="embedded",
    reviews=40,
    maxlen=8,
    review_epochs=2,
    text="embedded",
    words=1000,
    max_vocab=50,
    text_epochs=2,
)
SMALL = """--tasks adding --cells gru,lstm,no_forget_gate --units 4 --batch-size 4
    --lag 4 --steps 4 --trials 2 --seeds 2""".split()
PLAN = Plan(
    ("adding", "sentiment"),
    ("lstm", "gru"),
    (Choice(0.01, 1.0), Choice(0.001, 2.0)),
    (0, 1),
    {"adding": 1.0, "sentiment": 3.0},
)


def outcome(validation=0.5, test=1.0, rate=0.01, seconds=1.0):
    return Outcome(rate, 1.0, validation, test, 3, seconds)


@pytest.fixture
def start(tmp_path):
    """Return a function that makes a run, and returns its folder."""
    return lambda *options: runs.make("ablation", tmp_path, *SMALL, *options, run="run")


@pytest.fixture
def made_up(monkeypatch):
    """Replace training runs by outcomes; Ctrl-C comes after `at` of the `jobs`."""
    found = SimpleNamespace(jobs=[], at=None)

    def train(self, job, choice, to):
        if len(found.jobs) == found.at:
            raise KeyboardInterrupt
        found.jobs.append((job, choice))
        worse = {"lstm": 0.0, "gru": 0.0, "no_forget_gate": 3.0}[job.cell]
        noise = 0.01 * (job.seed % 7) * (-1 if job.cell == "gru" else 1)
        return outcome(choice.rate, 2 + worse + noise, choice.rate)

    monkeypatch.setattr(Trainer, "train", train)
    return found


# Sizes.


@pytest.mark.parametrize("cell", CELLS)
def test_the_size_is_the_nearest_to_that_of_the_lstm_by_keras_count(cell):
    def count(name, units):
        made = cells.CELLS[name].make(units)
        inputs = keras.Input((3, 8))
        hidden = keras.layers.RNN(made)(inputs)
        return keras.Model(inputs, keras.layers.Dense(5)(hidden)).count_params()

    wanted, step = count("lstm", 12), cells.CELLS[cell].multiple
    units = cells.equal_units(cell, 12, features=8, outputs=5)
    assert cells.parameters(cell, units, 8, 5) == count(cell, units)
    nearest = min(
        range(step, 60, step), key=lambda units: abs(count(cell, units) - wanted)
    )
    assert units == nearest


def test_the_forget_bias_is_that_of_the_forget_gate_alone():
    for name in CELLS:
        cell = cells.CELLS[name].make(4)
        cell.build((None, 3))
        before = cell.get_weights()
        set_to = cells.set_forget_bias(cell, 2.5)
        changed = {
            index: weight
            for index, weight in enumerate(cell.get_weights())
            if not np.array_equal(weight, before[index])
        }
        if name in ("gru", "simple_rnn", "no_forget_gate"):
            assert set_to is None and not changed
        else:
            (bias,) = changed.values()
            parts = dict(zip(cell.parts, np.split(bias, len(cell.parts)), strict=True))
            assert set_to == 2.5 and (parts.pop("f") == 2.5).all()
            assert not np.any(list(parts.values()))


# The search.


def test_a_search_tries_each_part_of_both_ranges_once():
    tried = choices(
        dataclasses.replace(
            SETTINGS,
            trials=5,
            lowest_rate=0.001,
            highest_rate=0.1,
            highest_forget_bias=2.0,
        )
    )
    rates = [int(5 * math.log10(one.rate / 0.001) / 2) for one in tried]
    biases = [int(5 * one.forget_bias / 2) for one in tried]
    assert sorted(rates) == sorted(biases) == [0, 1, 2, 3, 4]
    assert rates != biases


def test_the_validation_chooses_and_the_seeds_follow_with_the_choice():
    search, seeds = PLAN.search("adding", "gru"), PLAN.runs("adding", "gru")
    assert PLAN.chosen({search[0]: outcome()}, "adding", "gru") is None
    outcomes = {search[0]: outcome(0.5, test=0.0), search[1]: outcome(0.4, test=9.0)}
    assert PLAN.chosen(outcomes, "adding", "gru") == PLAN.choices[1]
    assert PLAN.choice(outcomes, seeds[1]) == PLAN.choices[1]
    assert PLAN.choice(outcomes, search[0]) == PLAN.choices[0]
    assert not {job.seed for job in search} & {job.seed for job in seeds}


def test_the_seeds_of_a_cell_follow_its_search_in_the_same_process():
    search, seeds = PLAN.search("adding", "lstm"), PLAN.runs("adding", "lstm")
    assert PLAN.ready({})[0] == search + seeds and len(PLAN.ready({})) == 4
    assert PLAN.ready({search[0]: outcome()})[0] == search[1:] + seeds
    # The search is running, or has failed.
    assert PLAN.ready({search[0]: outcome()}, search[1:])[0][0].cell == "gru"
    assert PLAN.ready({}, search[:1])[0] == search[1:]
    done = dict.fromkeys(search, outcome())
    assert PLAN.ready(done)[0] == seeds
    assert not PLAN.is_independent(search[1:] + seeds)
    parts = trainings.split(PLAN, [search + seeds, seeds], 9)
    assert parts == [search + seeds, seeds[:1], seeds[1:]]
    assert len(PLAN.remaining(done)) == 2 * 2 * 4 - 2


# Training.


@pytest.fixture
def trained(tmp_path):
    """Return a function that trains, and returns how it ended, but for its time."""
    numbers = itertools.count()

    def train(trainer, *words):
        to = Checkpoint(tmp_path / f"{next(numbers)}.npz", seconds=60)
        found = trainer.train(Job(*words), Choice(0.01, 1.0), to)
        return dataclasses.replace(found, seconds=0)

    return train


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("task", "cell"), [("adding", "zoneout"), ("next_word", "slstm")]
)
def test_a_shared_model_trains_as_one_of_its_own(task, cell, trained):
    job = (task, cell, None, 1)
    shared = Trainer(SETTINGS)
    first = trained(shared, task, cell, None, 0)
    assert trained(shared, *job) == trained(Trainer(SETTINGS), *job) != first


@pytest.mark.thorough
def test_an_lstm_learns_what_a_simple_rnn_does_not(trained):
    trainer = Trainer(
        dataclasses.replace(SETTINGS, units=16, batch_size=32, lag=25, steps=600)
    )
    rnn, lstm = (
        trained(trainer, "adding", cell, None, 0).test
        for cell in ("simple_rnn", "lstm")
    )
    assert lstm < -1.5 < -1 < rnn


def test_a_task_has_disjoint_data_to_train_validate_and_test():
    adding = tasks.load("adding", SETTINGS)
    training, validation = adding.batches(0)
    drawn = [training[0][0], validation[0][0], adding.arrays[0]]
    assert len({float(one[0, 0, 0]) for one in drawn}) == 3
    words = tasks.load("next_word", SETTINGS)
    facts = words.facts
    assert facts["training"] + facts["validation"] + facts["test"] == len(
        words.arrays[0]
    ) + len(words.arrays[1])
    reviews = tasks.load("sentiment", SETTINGS)
    first, second = (
        [batches[0][0].tobytes() for batches in reviews.batches(seed)]
        for seed in (0, 1)
    )
    assert first != second and reviews.facts["validation"] == 8


# What is found.


def test_differences_are_paired_and_corrected_for_all_comparisons():
    outcomes = {}
    tests = {"lstm": [1.0, 2.0], "gru": [1.5, 2.7]}
    for task in ("adding", "sentiment"):
        for cell, errors in tests.items():
            outcomes |= dict.fromkeys(PLAN.search(task, cell), outcome())
            for job, error in zip(PLAN.runs(task, cell), errors, strict=True):
                outcomes[job] = outcome(test=error * (task == "adding" or 2))
    loaded = {name: SimpleNamespace(features=2, outputs=1) for name in PLAN.tasks}
    found = results.found(PLAN, loaded, outcomes, 8)
    assert [(one.task, one.cell) for one in found] == [
        (task, cell) for task in PLAN.tasks for cell in PLAN.cells
    ]
    assert found[0].difference is None
    difference = found[1].difference
    assert difference.values == pytest.approx([0.5, 0.7])
    # t = 0.6 / 0.1 with one degree of freedom, whose distribution is Cauchy's.
    p = 1 - 2 * math.atan(6) / math.pi
    assert difference.p == pytest.approx(p)
    assert difference.p_holm == pytest.approx(min(2 * p, 1))
    # Without the reference nothing is said of a task.
    del outcomes[PLAN.runs("adding", "lstm")[0]]
    assert {one.task for one in results.found(PLAN, loaded, outcomes, 8)} == {
        "sentiment"
    }


def test_an_interrupted_run_reports_what_is_done_and_only_makes_what_is_missing(
    start, made_up, tmp_path, capsys
):
    whole = metrics_of(start())["cells"]
    made_up.jobs.clear()
    made_up.at = 9
    with pytest.raises(SystemExit, match="130"):
        start("--overwrite")
    made_up.at = None
    folder = tmp_path / "ablation" / "run"
    assert "Interrupted: up to 3" in " ".join(capsys.readouterr().out.split())
    assert [one["cell"] for one in metrics_of(folder)["cells"]] == ["lstm", "gru"]
    runs.main("ablation", "--resume", folder)
    assert len(made_up.jobs) == len({job for job, _ in made_up.jobs}) == 12
    assert metrics_of(folder)["cells"] == whole


def test_a_run_tells_what_it_found(start, made_up, capsys):
    folder = start()
    metrics = metrics_of(folder)
    assert metrics["trainings"] == 12 and metrics["comparisons"] == 2
    lowest = min(choice.rate for _, choice in made_up.jobs)
    assert {one["learning_rate"] for one in metrics["cells"]} == {lowest}
    with (folder / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 12
    assert (folder / "figures/differences.png").exists()
    page, shown = (folder / "report.html").read_text(), capsys.readouterr().out
    finding = page.partition("<h2>")[0]
    assert "1 of 2 comparisons" in finding
    assert "1 worse, 0 better" in finding
    assert "Adding problem +3.000 (no forget gate)" in finding
    for text in (
        "&lt; 0.001",
        "no forget gate: Adding problem +3.000 (agrees)",
        "output activation: not tried",
        "tried in both: none (agrees)",
        "the seeds alone",
    ):
        assert text in page
    assert "12/12" in shown and "Beside Greff" in shown
    config = json.loads((folder / "config.json").read_text())
    found = measures.trials(folder, config, metrics)
    assert [one.seed for one in found] == [0, 1]
    assert found[1].values == pytest.approx(
        {
            "adding, lstm": 2.01,
            "adding, gru": 1.99,
            "adding, no_forget_gate": 5.01,
        }
    )


def test_nothing_is_tested_with_one_seed(start, made_up):
    page = (start("--seeds", "1") / "report.html").read_text()
    assert "One seed: no comparison with the LSTM can be tested." in page
    assert "(agrees)" not in page


@pytest.mark.parametrize(
    ("p", "verdicts"),
    [(0.01, "agrees, does not agree"), (0.2, "does not agree, agrees")],
)
def test_what_matters_here_is_held_against_greff(p, verdicts):
    told = [
        report.changes(
            SimpleNamespace(
                cells=[
                    SimpleNamespace(
                        cell=cell,
                        task="adding",
                        difference=SimpleNamespace(mean=1.0, p_holm=p),
                    )
                ],
                tasks={"adding": SimpleNamespace(title="Adding")},
            ),
            cell,
        )
        for cell in ("no_forget_gate", "coupled")
    ]
    found = [text.partition("(")[2].rstrip(")") for text in told]
    assert ", ".join(found) == verdicts


def test_cells_of_another_size_are_told():
    sizes = {"lstm": 100, "gru": 104, "slstm": 106, "simple_rnn": 90}
    cells_of = [SimpleNamespace(cell=c, parameters=n) for c, n in sizes.items()]
    assert [*report.gaps(cells_of)] == ["sLSTM, 4 heads +6%", "SimpleRNN -10%"]


def test_the_table_of_runs_is_in_the_order_of_the_plan():
    jobs = PLAN.remaining({})[:-1]
    rows = results.csv_rows(PLAN, dict.fromkeys(jobs[::-1], outcome()))
    assert [(row["task"], row["cell"], row["seed"]) for row in rows] == [
        (job.task, job.cell, job.seed) for job in jobs
    ]


@pytest.mark.thorough
@in_a_browser
def test_the_report_is_sound_in_a_browser(start, made_up):
    assert_page_is_sound(start() / "report.html")


@pytest.mark.thorough
def test_processes_give_the_same_results(tmp_path):
    found = [
        runs.make("ablation", tmp_path, *SMALL, "--jobs", jobs, run=f"jobs-{jobs}")
        for jobs in "12"
    ]
    assert metrics_of(found[0])["cells"] == metrics_of(found[1])["cells"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--tasks=adding,nonsense", "expected --tasks .* sentiment, next_word, adding"),
        ("--cells=", "expected --cells .*simple_rnn"),
        ("--data=nowhere", "expected --data"),
        ("--text=nowhere", "expected --text"),
        ("--lowest-rate=0.5", "expected --lowest-rate of at most --highest-rate"),
    ],
)
def test_bad_options_are_refused_before_any_work(
    options, message, start, made_up, tmp_path
):
    with pytest.raises(SystemExit, match=message):
        start(options)
    assert not made_up.jobs and not list(tmp_path.iterdir())


def test_quick_asks_for_less_but_for_what_was_chosen():
    parse = settings.EXPERIMENT.parse
    assert vars(parse(["--quick"])).items() >= settings.QUICK.items()
    assert parse(["--quick", "--seeds", "8"]).seeds == 8


def test_no_seed_after_the_search_can_be_that_of_the_search(capsys):
    parse = settings.EXPERIMENT.parse
    highest = parse(["--seed", str(2**31 - 1000), "--seeds", "1000"])
    assert SEARCH_SEED not in Plan.read(highest, {}).seeds
    with pytest.raises(SystemExit):
        parse(["--seed", str(2**31 - 999)])
    assert "--seed" in capsys.readouterr().err


def test_the_reference_is_among_the_chosen_cells():
    chosen = dataclasses.replace(SETTINGS, cells="gru,lstm,coupled").chosen_cells()
    assert chosen == ("lstm", "gru", "coupled")
    assert dataclasses.replace(SETTINGS, cells="gru").chosen_cells()[0] == "lstm"
