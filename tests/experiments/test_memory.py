"""The grid: equal sizes, what is trained, what is kept, and what is said of it."""

import csv
import dataclasses
import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import (
    checkpoint,
    memory,
    memory_grid,
    memory_report,
    memory_training,
    memory_worker,
    runner,
)
from experiments.memory_grid import Grid
from experiments.memory_tasks import TASKS
from experiments.memory_training import Job, Outcome, Trainer
from experiments.run_folder import RunFolder, begin
from experiments.runner import configuration
from experiments.training import Kept

LAYERS = ("simple_rnn", "gru", "builtin", "custom")
SETTINGS = memory.Settings(
    units=4, steps=6, check_every=2, batch_size=4, test_size=8, name="run"
)
# Small trainings: two layers, two lags, two seeds.
SMALL = """--tasks adding --lags 4,6 --layers simple_rnn,custom --seeds 2 --units 3
    --steps 4 --check-every 2 --batch-size 4 --test-size 8 --learning-rates 0.01
    --name run""".split()

TASK = "adding"


def outcome(learned=True, solved=None, validation=None, seconds=1.0, steps=100):
    solved = learned if solved is None else solved
    if validation is None:
        validation = 0.001 if learned else 0.1
    return Outcome(validation, 0.002 if solved else 0.2, 0.01, steps, seconds)


def grid(**changes):
    parts = {
        "tasks": (TASK,),
        "lags": (10, 20, 40, 80),
        "layers": ("gru",),
        "rates": (0.01, 0.001),
        "seeds": (0, 1),
        "give_up_after": 2,
    }
    return Grid(**(parts | changes))


def job(lag, rate=0.01, seed=0, layer="gru"):
    return Job(TASK, lag, layer, rate, seed)


@pytest.fixture
def start(tmp_path):
    """Runs the program; gives its folder."""

    def run(*options):
        memory.main([*SMALL, *options, "--output", str(tmp_path)])
        return tmp_path / "memory" / "run"

    return run


@pytest.fixture
def made_up(monkeypatch):
    """Replaces trainings by outcomes; `jobs` are made until Ctrl-C comes after `at`."""
    found = SimpleNamespace(jobs=[], at=None)

    def train(self, job, kept, stop):
        if len(found.jobs) == found.at:
            raise KeyboardInterrupt
        found.jobs.append(job)
        return outcome(job.layer != "simple_rnn", seconds=job.lag + job.seed)

    monkeypatch.setattr(Trainer, "train", train)
    return found


def numbers(folder):
    """The results but for what the clock says."""
    metrics = json.loads((folder / "metrics.json").read_text())
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return metrics["cells"], metrics["longest"], sorted(rows, key=str)


# Sizes.


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("layer", LAYERS)
def test_parameters_are_those_that_keras_counts(task, layer):
    model = memory_training.build(SETTINGS, Job(task, 6, layer, 0.01, 0))
    units = memory_training.equal_units(layer, SETTINGS.units, TASKS[task])
    counted = memory_training.parameters(layer, units, TASKS[task])
    assert model.count_params() == counted


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("lstm_units", [1, 8, 32, 100])
def test_no_other_number_of_units_is_nearer_to_the_lstm(layer, lstm_units):
    task = TASKS[TASK]
    wanted = memory_training.parameters("builtin", lstm_units, task)
    units = memory_training.equal_units(layer, lstm_units, task)

    def distance(number):
        return abs(memory_training.parameters(layer, number, task) - wanted)

    assert all(distance(units) <= distance(n) for n in (units - 1, units + 1) if n)
    if lstm_units >= 8:
        assert distance(units) < 0.05 * wanted


# Training.


def test_our_lstm_solves_a_short_lag():
    settings = dataclasses.replace(
        SETTINGS, units=16, steps=1000, check_every=50, batch_size=32, test_size=300
    )
    found = Trainer(settings).train(Job("order", 10, "custom", 0.01, 0))
    assert found.solved and found.learned
    assert found.steps < 1000


@pytest.mark.parametrize("layer", ["simple_rnn", "custom"])
def test_a_training_does_not_depend_on_those_before(layer):
    trainer = Trainer(SETTINGS)
    first = Job("adding", 6, layer, 0.05, 1)
    for other in (
        Job("adding", 6, layer, 0.01, 0),  # shares its compiled model
        first,
        Job("order", 8, layer, 0.01, 0),  # does not
    ):
        trainer.train(other)
    again, alone = trainer.train(first), Trainer(SETTINGS).train(first)
    assert dataclasses.replace(again, seconds=0) == dataclasses.replace(
        alone, seconds=0
    )


def checks(monkeypatch, errors, **settings):
    """Let the checks find these errors, then the test 0.5; gives the outcome."""
    found = iter([*errors, 0.5])
    weights = []

    def error(self, job, examples):
        weights.append(self._model.get_weights())
        return next(found)

    monkeypatch.setattr(Trainer, "_error", error)
    settings = dataclasses.replace(SETTINGS, **settings)
    return Trainer(settings).train(job(6, layer="simple_rnn")), weights


def test_a_training_ends_after_two_good_checks_in_a_row(monkeypatch):
    found, weights = checks(monkeypatch, [0.5, 0.001, 0.3, 0.002, 0.003], steps=100)
    assert found.steps == 8
    # Tested are the weights of the best check.
    for tested, best in zip(weights[-1], weights[1], strict=True):
        np.testing.assert_array_equal(tested, best)
    assert (found.validation, found.test) == (0.001, 0.5)
    assert found.learned and not found.solved


@pytest.mark.parametrize(("steps", "made"), [(4, 3), (5, 4)])
def test_a_training_ends_at_its_last_step(monkeypatch, steps, made):
    found, _ = checks(monkeypatch, [0.5] * made, steps=steps)
    assert found.steps == steps


def test_a_training_that_diverges_ends_with_its_best_weights(monkeypatch):
    found, weights = checks(monkeypatch, [0.5, 0.4, np.nan], steps=100)
    assert (found.steps, found.validation) == (4, 0.4)
    for tested, best in zip(weights[-1], weights[1], strict=True):
        np.testing.assert_array_equal(tested, best)


def test_sequences_of_training_validation_test_seeds_and_lags_are_disjoint():
    drawn = {
        memory_training.generator(job(lag, seed=seed), purpose).random()
        for lag in (10, 20)
        for seed in (0, 1)
        for purpose in range(3)
    }
    assert len(drawn) == 12
    layers = {
        memory_training.generator(job(10, layer=layer), 0).random() for layer in LAYERS
    }
    assert len(layers) == 1


# What is left of the grid.


def test_short_lags_come_first_and_the_first_rate_before_the_second():
    jobs = grid(layers=("gru", "custom")).remaining({})
    assert len(jobs) == 4 * 2 * 2 * 2
    assert jobs[:3] == [job(10), job(10, seed=1), job(10, rate=0.001)]
    assert [job.lag for job in jobs] == sorted(job.lag for job in jobs)


def test_another_rate_is_tried_only_if_a_seed_did_not_learn():
    outcomes = {job(10): outcome(), job(10, seed=1): outcome()}
    assert job(10, rate=0.001) not in grid().remaining(outcomes)
    outcomes[job(10, seed=1)] = outcome(learned=False)
    assert grid().remaining(outcomes)[0] == job(10, rate=0.001)


def failed(*lags):
    return {
        job(lag, rate, seed): outcome(learned=False)
        for lag in lags
        for rate in (0.01, 0.001)
        for seed in (0, 1)
    }


def test_a_layer_is_given_up_after_so_many_lags_in_a_row():
    two = grid(layers=("gru", "builtin"))
    assert {job.lag for job in two.remaining(failed(10)) if job.layer == "gru"} == {
        20,
        40,
        80,
    }
    assert {job.layer for job in two.remaining(failed(10, 20))} == {"builtin"}
    assert grid().remaining(failed(10, 40))[0] == job(20)
    # One seed that learned is enough to go on.
    learned = failed(10, 20) | {job(20): outcome()}
    assert {job.lag for job in grid().remaining(learned)} == {40, 80}
    assert grid(give_up_after=1).remaining(failed(10)) == []


def test_what_counts_is_the_rate_with_which_most_seeds_learned():
    outcomes = {
        job(10): outcome(validation=0.0001),
        job(10, seed=1): outcome(learned=False, validation=0.9),
        job(10, rate=0.001): outcome(validation=0.008),
        job(10, rate=0.001, seed=1): outcome(validation=0.009),
    }
    rate, _ = grid().chosen(outcomes, TASK, 10, "gru")
    assert rate == 0.001
    outcomes[job(10, rate=0.001)] = outcome(learned=False, validation=0.02)
    rate, by_seed = grid().chosen(outcomes, TASK, 10, "gru")
    assert rate == 0.001  # as many learned, and the mean error is lower
    assert by_seed[1] == outcomes[job(10, rate=0.001, seed=1)]
    assert grid().chosen({}, TASK, 10, "gru") is None


def test_the_longest_lag_is_solved_by_more_than_half_the_seeds():
    outcomes = {
        job(lag, seed=seed): outcome(solved=seed < solved)
        for lag, solved in ((10, 2), (20, 2), (40, 1), (80, 0))
        for seed in (0, 1)
    }
    found = memory_report.cells(grid(), outcomes)
    assert [cell["solved"] for cell in found] == [2, 2, 1, 0]
    assert memory_report.longest(grid(), found) == {TASK: {"gru": 20}}
    assert found[2]["error"]["mean"] == pytest.approx((0.002 + 0.2) / 2)
    deviation = np.std([0.002, 0.2], ddof=1)
    assert found[2]["error"]["standard_deviation"] == pytest.approx(deviation)
    none = memory_report.longest(grid(), found[3:])
    assert none == {TASK: {"gru": None}}


# Interrupted, and gone on with.


def test_an_interrupted_grid_reports_what_is_done_and_resumes_to_the_same_results(
    start, tmp_path, monkeypatch, capsys
):
    one_lag = ("--lags", "4", "--learning-rates", "0.01,0.003")
    whole = numbers(start(*one_lag))
    capsys.readouterr()
    train, made = Trainer.train, []

    def interrupted(self, job, kept, stop):
        if len(made) == 3:
            signal.raise_signal(signal.SIGINT)
        made.append(job)
        return train(self, job, kept, stop)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", interrupted)
        with pytest.raises(SystemExit) as ended:
            start(*one_lag, "--overwrite")
    assert ended.value.code == 130
    folder = tmp_path / "memory" / "run"
    said = "Interrupted: up to 5 of the trainings are missing."
    out = capsys.readouterr().out
    assert said in out and f"python -m experiments.memory --resume {folder}" in out
    assert said in (folder / "report.html").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["interrupted"] and metrics["trainings"] == 3
    memory.main(["--resume", str(folder)])
    assert numbers(folder) == whole
    assert [path.name for path in (tmp_path / "memory").iterdir()] == ["run"]
    assert (
        "--resume" not in json.loads((folder / "metrics.json").read_text())["command"]
    )
    assert not (folder / "checkpoint").exists()


def test_a_training_that_is_stopped_at_some_steps_ends_as_if_it_was_not(tmp_path):
    one, kept = job(6, layer="custom"), Kept(tmp_path / "training.npz", seconds=60)
    whole = Trainer(SETTINGS).train(one)
    for steps, done in ((1, 1), (2, 3), (1, 4)):
        more = iter([False] * (steps - 1))
        with pytest.raises(KeyboardInterrupt):
            Trainer(SETTINGS).train(one, kept, lambda more=more: next(more, True))
        assert checkpoint.read(kept.path).facts["step"] == done
    found = Trainer(SETTINGS).train(one, kept)
    assert dataclasses.replace(found, seconds=whole.seconds) == whole


def test_processes_give_the_same_results(start, tmp_path):
    one_lag = ("--lags", "4")
    alone = numbers(start(*one_lag))
    assert numbers(start(*one_lag, "--jobs", "2", "--overwrite")) == alone


def test_a_process_that_dies_is_reported_and_does_not_take_the_others_along(
    start, monkeypatch, capsys
):
    command = memory_worker.command

    def one_dies(progress):
        def of(group):
            if group[0].layer == "custom":
                return ("timeit", "-s", "import os", "os.kill(os.getpid(), 9)")
            return command(progress)(group)

        return of

    with monkeypatch.context() as patch:
        patch.setattr(memory_worker, "command", one_dies)
        with pytest.raises(SystemExit) as ended:
            start("--lags", "4,6", "--jobs", "2")
    assert ended.value.code == 130
    printed = capsys.readouterr()
    # The second seed is tried, too: it was not begun.
    said = [
        f"adding, lag 4, custom, rate 0.01, seed {seeds} was killed by SIGKILL"
        for seeds in ("0, 1", "1")
    ]
    assert said[0] in printed.err and said[1] in printed.err
    assert f"Some trainings are missing: {'; '.join(said)}." in printed.out
    assert "4/8" in printed.out  # both lags of the other layer


def test_a_process_that_dies_after_its_trainings_leaves_nothing_missing(
    start, monkeypatch, capsys
):
    command, code = memory_worker.command, "from experiments import memory_worker as m"

    def all_die_late(progress):
        def of(group):
            argv = list(command(progress)(group))[1:]
            end = f"{code}; m.main({argv!r}); import os; os.kill(os.getpid(), 9)"
            return ("timeit", "-n1", "-r1", end)

        return of

    monkeypatch.setattr(memory_worker, "command", all_die_late)
    folder = start("--lags", "4", "--jobs", "2")
    assert "SIGKILL" in capsys.readouterr().err
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["interrupted"] is False and metrics["trainings"] == 4


@pytest.mark.parametrize(
    ("count", "seeds"),
    [(1, [[0, 1, 2, 3, 4]]), (2, [[0, 1], [2, 3, 4]]), (9, [[0], [1], [2], [3], [4]])],
)
def test_seeds_are_trained_at_a_time_where_there_are_no_other_trainings(count, seeds):
    groups = grid(seeds=range(5)).ready({})
    parts = memory_grid.spread(groups, count)
    assert sorted([job.seed for job in part] for part in parts) == seeds


def test_of_trainings_that_are_lost_the_longer_lags_alone_are_left_out():
    lost = {job(10)}
    assert grid().ready({}, lost) == [[job(10, seed=1)]]
    assert grid().ready({job(10, seed=1): outcome()}, lost) == []


def test_a_worker_leaves_what_another_one_has_done(tmp_path):
    done, missing = job(4, layer="custom"), job(4, layer="custom", seed=1)
    with RunFolder(tmp_path / "memory" / "run") as folder:
        config = configuration("memory", SETTINGS)
        progress = memory_grid.Progress(
            begin(folder, config, "", runner.environment(), {})
        )
        progress.keep(done, outcome(steps=12345))
        memory_worker.main(memory_worker.command(progress)([done, missing])[1:])
        found = progress.outcomes()
    assert found[done] == outcome(steps=12345)
    assert found[missing].steps <= SETTINGS.steps


def test_processes_that_all_die_are_an_error(start, monkeypatch):
    dies = ("timeit", "-s", "import os", "os.kill(os.getpid(), 9)")
    monkeypatch.setattr(memory_worker, "command", lambda progress: lambda group: dies)
    with pytest.raises(SystemExit, match=r"no training could be made: .*by SIGKILL"):
        start("--jobs", "2")


def test_only_what_is_missing_is_made(start, made_up, tmp_path):
    made_up.at = 3
    with pytest.raises(SystemExit, match="130"):
        start()
    made_up.at = None
    with pytest.raises(SystemExit, match="exists already"):
        start()
    assert len(made_up.jobs) == 3
    memory.main(["--resume", str(tmp_path / "memory" / "run")])
    assert len(made_up.jobs) == len(set(made_up.jobs)) == 8


def test_overwrite_begins_anew(start, made_up):
    made_up.at = 3
    with pytest.raises(SystemExit):
        start()
    made_up.at = None
    start("--overwrite", "--steps", "5")
    assert len(made_up.jobs) == 3 + 8


def test_a_finished_run_is_not_replaced_unless_asked_to(start, made_up):
    start()
    with pytest.raises(SystemExit, match="exists already"):
        start()
    assert len(made_up.jobs) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "adding,nonsense"], "expected tasks of adding, copying, order"),
        (["--layers", ""], "expected layers of .*custom"),
        (["--lags", "3"], "expected lags of at least 4, .*received '3'"),
        (["--lags", "10,x"], "expected lags"),
        (["--learning-rates", "0"], "expected learning rates"),
        (["--learning-rates", "nan"], "expected learning rates"),
        (["--learning-rates", "inf"], "expected learning rates"),
        (["--engine", "scan"], "engine='scan' cannot run this layer"),
    ],
)
def test_what_can_not_be_is_refused_before_any_work(
    options, message, start, made_up, tmp_path
):
    with pytest.raises(SystemExit, match=message):
        start(*options)
    assert not made_up.jobs and not list(tmp_path.glob("memory/*"))


# What is said.


def test_a_run_holds_tables_figures_and_what_computed_them(start, made_up, capsys):
    folder = start("--tasks", "all", "--lags", "10,20")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["experiment"] == "memory"
    assert {"data", "engine", "environment", "seconds", "command"} <= set(metrics)
    assert metrics["longest"]["copying"] == {"simple_rnn": None, "custom": 20}
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "longest_lag.png",
        "error_adding.png",
        "error_copying.png",
        "error_order.png",
    }
    with (folder / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == metrics["trainings"] == 3 * 2 * 2 * 2
    config = json.loads((folder / "config.json").read_text())
    assert config["lags"] == "10,20"
    page, shown = (folder / "report.html").read_text(), capsys.readouterr().out
    for text in ("20 (2 of 2)", "none", "LSTM (lstm_keras)", "0.200 ± 0", "0 of 2"):
        assert text in page and text in shown
    assert "24/24" in shown and "done" in shown
    assert "<script" not in page and "http" not in page


def test_quick_asks_for_less_and_keeps_what_was_chosen(start, made_up):
    folder = start("--quick", "--lags", "4", "--steps", "3000", "--give-up-after", "2")
    config = json.loads((folder / "config.json").read_text())
    # 3000 steps and 2 are the defaults without --quick.
    assert (config["steps"], config["give_up_after"]) == (3000, 2)
    memory.main(["--quick", "--output", str(folder.parent.parent), "--name", "quick"])
    quick = json.loads((folder.parent / "quick" / "config.json").read_text())
    assert quick.items() >= memory.QUICK.items()


def test_a_terminal_gets_a_bar_that_moves(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    outcomes = {job(10): outcome()}
    memory_grid.show("one", outcomes, [job(20), job(20, seed=1)])
    memory_grid.show("all", outcomes, [])
    first, second, last, _ = capsys.readouterr().out.split("\n")
    assert first == "\r\x1b[Kone"
    bar, _, end = second.partition("\r\x1b[K")
    assert (bar.count("█"), bar.count("░"), end) == (10, 20, "all")
    assert "1/3, about 2 s left" in bar
    assert last.startswith("█" * 30) and last.endswith("1/1, done")


def test_the_time_left_grows_with_the_lags_that_are_left():
    outcomes = {job(10): outcome(seconds=6), job(10, seed=1): outcome(seconds=6)}
    left = [job(10, rate=0.001), job(70)]
    # A lag of 10 costs as much as 60, one of 70 as much as 120.
    assert memory_grid.seconds_left(outcomes, left) == pytest.approx(6 + 12)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (9000, "2.5 h")],
)
def test_durations_have_the_unit_in_which_they_are_read_best(seconds, text):
    assert memory_grid.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1 / 6, "0.167"), (0.01, "0.0100"), (12.345, "12.3"), (3e-9, "0.00000")],
)
def test_numbers_have_three_digits(value, text):
    assert memory_report.significant(value) == text


def test_the_script_is_there_before_keras_is_loaded():
    code = "import sys, experiments.memory; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
