"""The grid: equal sizes, what is trained, what is resumed, and what is reported."""

import csv
import dataclasses
import itertools
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.common import checkpoint, terminal, trainings
from experiments.common.environment import environment
from experiments.common.fit import Checkpoint
from experiments.common.run_folder import RunFolder, begin
from experiments.memory import results, settings, train
from experiments.memory.grid import Grid, Job, Outcome
from experiments.memory.settings import Settings
from experiments.memory.tasks import TASKS
from experiments.memory.train import Trainer
from experiments.memory.worker import TRAININGS
from tests.helpers import runs
from tests.helpers.browser import assert_page_is_sound, in_a_browser
from tests.helpers.runs import metrics_of

LAYERS = ("simple_rnn", "gru", "builtin", "custom")
SIZES = {"units": 4, "steps": 6, "check_every": 2, "batch_size": 4, "test_size": 8}
SETTINGS = Settings(**SIZES, name="run")
# Small training runs: two layers, two lags, two seeds.
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
    parts = {"tasks": (TASK,), "lags": (10, 20, 40, 80), "layers": ("gru",)}
    parts |= {"rates": (0.01, 0.001), "seeds": (0, 1), "give_up_after": 2}
    return Grid(**(parts | changes))


def job(lag, rate=0.01, seed=0, layer="gru"):
    return Job(TASK, lag, layer, rate, seed)


RNN = job(6, layer="simple_rnn")


@pytest.fixture
def start(tmp_path):
    """Return a function that makes a run, and returns its folder."""
    return lambda *options: runs.make("memory", tmp_path, *SMALL, *options, run="run")


def resume(folder):
    runs.main("memory", "--resume", folder)


@pytest.fixture
def trained(tmp_path):
    """Return a function that trains, and returns how it ended, but for its time."""
    numbers = itertools.count()

    def train(one, trainer=None, **changes):
        trainer = trainer or Trainer(dataclasses.replace(SETTINGS, **changes))
        to = Checkpoint(tmp_path / f"{next(numbers)}.npz", seconds=60)
        return dataclasses.replace(trainer.train(one, to), seconds=0)

    return train


@pytest.fixture
def made_up(monkeypatch):
    """Replace training runs by outcomes; Ctrl-C comes after `at` of the `jobs`."""
    found = SimpleNamespace(jobs=[], at=None)

    def train(self, job, to):
        if len(found.jobs) == found.at:
            raise KeyboardInterrupt
        found.jobs.append(job)
        return outcome(job.layer != "simple_rnn", seconds=job.lag + job.seed)

    monkeypatch.setattr(Trainer, "train", train)
    return found


def numbers(folder):
    """Return the results but for times."""
    metrics = metrics_of(folder)
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return metrics["cells"], metrics["longest"], sorted(rows, key=str)


# Sizes.


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("layer", LAYERS)
def test_parameters_are_those_that_keras_counts(task, layer):
    model = train.build(SETTINGS, Job(task, 6, layer, 0.01, 0))
    units = train.equal_units(layer, SETTINGS.units, TASKS[task])
    counted = train.parameters(layer, units, TASKS[task])
    assert model.count_params() == counted


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("lstm_units", [1, 8, 32, 100])
def test_no_other_number_of_units_is_nearer_to_the_lstm(layer, lstm_units):
    task = TASKS[TASK]
    wanted = train.parameters("builtin", lstm_units, task)
    units = train.equal_units(layer, lstm_units, task)

    def distance(number):
        return abs(train.parameters(layer, number, task) - wanted)

    assert all(distance(units) <= distance(n) for n in (units - 1, units + 1) if n)
    if lstm_units >= 8:
        assert distance(units) < 0.05 * wanted


# Training.


@pytest.mark.thorough
def test_our_lstm_solves_a_short_lag(trained):
    sizes = {"units": 16, "batch_size": 32, "test_size": 300}
    one = Job("order", 10, "custom", 0.01, 0)
    found = trained(one, steps=1000, check_every=50, **sizes)
    assert found.solved and found.learned and found.steps < 1000


@pytest.mark.parametrize(
    "layer", ["simple_rnn", pytest.param("custom", marks=pytest.mark.thorough)]
)
def test_a_training_run_does_not_depend_on_those_before(layer, trained):
    """They share a compiled model."""
    trainer, one = Trainer(SETTINGS), job(6, rate=0.05, seed=1, layer=layer)
    trained(job(6, layer=layer), trainer)
    assert trained(one, trainer) == trained(one)


def test_it_ends_after_two_good_checks_in_a_row_with_its_best_weights(
    monkeypatch, trained
):
    checks, weights = [0.001, 0.3, 0.002, 0.003], []
    found = iter([*checks, 0.001, 0.5])  # then validation and test

    def error_of(model, *_):
        weights.append(model.get_weights())
        return next(found)

    monkeypatch.setattr(train, "error_of", error_of)
    ended = trained(RNN, steps=100)
    assert ended.steps == len(checks) * SETTINGS.check_every
    for tested, best in zip(weights[-1], weights[0], strict=True):
        np.testing.assert_array_equal(tested, best)
    assert (ended.validation, ended.test) == (0.001, 0.5)
    assert ended.learned and not ended.solved


@pytest.mark.parametrize("steps", [1, 4])
def test_a_training_run_ends_at_its_last_step(steps, trained):
    assert trained(RNN, steps=steps).steps == steps


def test_resumed_within_its_last_epoch_it_has_as_many_steps(monkeypatch, tmp_path):
    settings = dataclasses.replace(SETTINGS, steps=4, check_every=4)
    to, written = Checkpoint(tmp_path / "one.npz", seconds=0), itertools.count(1)
    write = checkpoint.write

    def write_and_end(path, state):
        write(path, state)
        if next(written) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", write_and_end)
        with pytest.raises(KeyboardInterrupt):
            Trainer(settings).train(RNN, to)
    assert Trainer(settings).train(RNN, to).steps == 4


@pytest.mark.parametrize("first", [0, 3])
def test_a_training_run_that_diverges_ends_with_its_best_weights(
    first, monkeypatch, trained
):
    """They are the initial ones, or those of the check before the loss became NaN."""
    if first:
        expected = trained(RNN, steps=2).test
    else:
        train.keras.utils.set_random_seed(RNN.seed)
        sequences = train.sample(RNN, 8, train.generator(RNN, train.TEST))
        expected = train.error_of(train.build(SETTINGS, RNN), RNN, sequences)
    batch = train.Sequences.batch

    def broken(self, step):
        inputs, targets = batch(self, step)
        return inputs * (np.nan if step >= first else 1), targets

    monkeypatch.setattr(train.Sequences, "batch", broken)
    found = trained(RNN)
    assert found.diverged and found.test == expected
    assert found.steps == (4 if first else 2)


def test_sequences_of_training_validation_test_seeds_and_lags_are_disjoint():
    drawn = {
        train.generator(job(lag, seed=seed), purpose).random()
        for lag in (10, 20)
        for seed in (0, 1)
        for purpose in range(3)
    }
    assert len(drawn) == 12
    layers = {train.generator(job(10, layer=layer), 0).random() for layer in LAYERS}
    assert len(layers) == 1


def test_each_step_has_the_next_sequences_of_one_generator():
    one, rng = job(6), train.generator(job(6), train.TRAINING)
    expected = [train.sample(one, SETTINGS.batch_size, rng) for _ in range(6)]
    batches = train.Sequences(SETTINGS, one)
    for step in (3, 0, 1, 5, 4, 5, 2):  # as Keras and a resumed run may ask
        for found, wanted in zip(batches.batch(step), expected[step], strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert [list(batches.order(epoch)) for epoch in range(2)] == [[0, 1], [2, 3]]


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


def test_a_layer_is_given_up_after_enough_failed_lags_in_a_row():
    two = grid(layers=("gru", "builtin"))
    left = {job.lag for job in two.remaining(failed(10)) if job.layer == "gru"}
    assert left == {20, 40, 80}
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
    found = results.cells(grid(), outcomes)
    assert [cell.solved for cell in found] == [2, 2, 1, 0]
    assert results.longest(grid(), found) == {TASK: {"gru": 20}}
    assert found[2].error.mean == pytest.approx((0.002 + 0.2) / 2)
    deviation = np.std([0.002, 0.2], ddof=1)
    assert found[2].error.standard_deviation == pytest.approx(deviation)
    assert results.longest(grid(), found[3:]) == {TASK: {"gru": None}}


# Interrupted, and resumed.


def test_an_interrupted_grid_reports_what_is_done_and_only_makes_what_is_missing(
    start, made_up, tmp_path, capsys
):
    whole = numbers(start())
    made_up.jobs.clear()
    made_up.at = 3
    with pytest.raises(SystemExit, match="130"):
        start("--overwrite")
    made_up.at = None
    folder = tmp_path / "memory" / "run"
    said = "Interrupted: up to 5 of the training runs are missing."
    out = capsys.readouterr().out
    assert said in out and f"python -m experiments.memory --resume {folder}" in out
    assert said in (folder / "report.html").read_text()
    metrics = metrics_of(folder)
    assert metrics["interrupted"] and metrics["trainings"] == 3
    with pytest.raises(SystemExit, match="exists already"):
        start()
    resume(folder)
    assert len(made_up.jobs) == len(set(made_up.jobs)) == 8
    assert numbers(folder) == whole
    assert "--resume" not in metrics_of(folder)["command"]


@pytest.mark.thorough
def test_processes_give_the_same_results(memory_run, tmp_path):
    words = runs.SMALL["memory"].split()
    folder = runs.make("memory", tmp_path, *words, "--jobs", "2")
    assert numbers(folder) == numbers(memory_run)


@pytest.fixture
def workers(monkeypatch):
    """Let workers write made-up outcomes, and then do what `after` says of a layer."""
    after = {}

    def command(worker, progress, group):
        lines = ["from pathlib import Path"]
        for job in group if after.get(group[0].layer) != "dies at once" else ():
            content = {"job": dataclasses.asdict(job), **dataclasses.asdict(outcome())}
            path = str(progress.path(job, "json"))
            lines.append(f"Path({path!r}).write_text({json.dumps(content)!r})")
        if group[0].layer in after:
            lines.append("import os; os.kill(os.getpid(), 9)")
        return ("timeit", "-n1", "-r1", "-s", "\n".join(lines), "pass")

    monkeypatch.setattr(trainings, "worker_command", command)
    return after


def test_a_process_that_dies_is_reported_and_tried_again_by_resume(
    start, workers, tmp_path, capsys
):
    workers["custom"] = "dies at once"
    with pytest.raises(SystemExit, match=r"^1$"):
        start("--lags", "4,6", "--jobs", "2")
    printed = capsys.readouterr()
    # The second seed is tried, too: it was not begun.
    said = [
        f"adding, lag 4, custom, rate 0.01, seed {seeds} was killed by SIGKILL"
        for seeds in ("0, 1", "1")
    ]
    assert said[0] in printed.err and said[1] in printed.err
    ending = (
        f"Failed processes: 2 ({'; '.join(said)}). Up to 4 of the training runs are "
        "missing; --resume tries them again."
    )
    folder = tmp_path / "memory" / "run"
    assert ending in " ".join(printed.out.split())
    assert f"--resume {folder}" in printed.out
    assert "4/8" in printed.out  # both lags of the other layer
    metrics = metrics_of(folder)
    assert metrics["interrupted"] and metrics["trainings"] == 4
    # One that dies after its last training run leaves nothing missing.
    workers["custom"] = "dies at the end"
    resume(folder)
    assert "SIGKILL" in capsys.readouterr().err
    metrics = metrics_of(folder)
    assert not metrics["interrupted"] and metrics["trainings"] == 8


def test_processes_that_all_die_are_an_error(start, workers):
    workers.update(dict.fromkeys(LAYERS, "dies at once"))
    with pytest.raises(SystemExit, match=r"all training runs failed: .*by SIGKILL"):
        start("--jobs", "2")


@pytest.mark.parametrize(
    ("count", "seeds"),
    [(1, [[0, 1, 2, 3, 4]]), (2, [[0, 1], [2, 3, 4]]), (9, [[0], [1], [2], [3], [4]])],
)
def test_seeds_share_a_process_unless_there_are_too_few_jobs(count, seeds):
    plan = grid(seeds=range(5))
    parts = trainings.split(plan, plan.ready({}), count)
    assert sorted([job.seed for job in part] for part in parts) == seeds


def test_what_depends_on_a_job_that_failed_or_runs_is_left_out():
    failed = {job(10)}
    assert grid().ready({}, failed) == [[job(10, seed=1)]]
    assert grid().ready({job(10, seed=1): outcome()}, failed) == []


def test_a_worker_leaves_what_another_one_has_done(tmp_path):
    done, missing = (job(4, layer="simple_rnn", seed=seed) for seed in (0, 1))
    with RunFolder(tmp_path / "memory" / "run") as folder:
        config = {"experiment": "memory", **dataclasses.asdict(SETTINGS)}
        of_run = TRAININGS.progress(begin(folder, config, "", environment(), {}))
        of_run.write(done, outcome(steps=12345))
        _, *argv = trainings.worker_command("", of_run, [done, missing])
        TRAININGS.work(argv)
        found = of_run.outcomes()
    assert found[done] == outcome(steps=12345)
    assert found[missing].steps <= SETTINGS.steps


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--tasks=adding,nonsense", "expected --tasks .* adding, copying, order"),
        ("--layers=", "expected --layers .*custom"),
        ("--lags=3", "expected --lags .*at least 4; received '3'"),
        ("--lags=10,x", "expected --lags"),
        ("--learning-rates=0", "expected --learning-rates"),
        ("--steps=5", "expected --steps as a multiple of --check-every"),
        ("--engine=scan", "engine='scan' cannot run this layer"),
    ],
)
def test_bad_options_are_refused_before_any_work(
    options, message, start, made_up, tmp_path
):
    with pytest.raises(SystemExit, match=message):
        start(options)
    assert not made_up.jobs and not list(tmp_path.iterdir())


# What is reported.


@pytest.mark.thorough
@in_a_browser
def test_the_report_is_sound_in_a_browser(start, made_up):
    assert_page_is_sound(start("--tasks", "all", "--lags", "10,20") / "report.html")


def test_a_run_has_tables_figures_and_what_computed_them(start, made_up, capsys):
    folder = start("--tasks", "all", "--lags", "10,20")
    metrics = metrics_of(folder)
    assert metrics["experiment"] == "memory" and not runs.schema_errors(folder)
    assert {"data", "engine", "environment", "seconds", "command"} <= set(metrics)
    assert metrics["longest"]["copying"] == {"simple_rnn": None, "custom": 20}
    finding = "20 (Copying after a delay), 20 (Temporal order); SimpleRNN up to"
    assert finding in (folder / "report.html").read_text().partition("<h2>")[0]
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
    assert "http" not in page


def test_quick_asks_for_less_but_for_what_was_chosen():
    parse, words = settings.EXPERIMENT.parse, ["--quick", "--steps", "3000"]
    chosen = parse([*words, "--give-up-after", "2"])
    # 3000 steps and 2 are the defaults without --quick.
    assert (chosen.steps, chosen.give_up_after) == (3000, 2)
    assert vars(parse(["--quick"])).items() >= settings.QUICK.items()


def test_a_terminal_gets_a_bar_that_moves(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    outcomes = {job(10): outcome()}
    trainings.show(grid(), job(10), outcomes, [job(20), job(20, seed=1)])
    trainings.show(grid(), job(10), outcomes, [])
    first, second, last, _ = capsys.readouterr().out.split("\n")
    said = f"{grid().label([job(10)])}: error 0.00200, solved, 100 steps, 1.0 s"
    assert first == f"\r\x1b[K{said}"
    bar, _, end = second.partition("\r\x1b[K")
    assert (bar.count("█"), bar.count("░"), end) == (10, 20, said)
    assert "1/3, about 2 s left" in bar
    assert last.startswith("█" * 30) and last.endswith("1/1, done")


def test_the_time_left_grows_with_the_lags_that_are_left():
    outcomes = {job(10): outcome(seconds=6), job(10, seed=1): outcome(seconds=6)}
    left = [job(10, rate=0.001), job(70)]
    # A lag of 10 costs as much as 60, one of 70 as much as 120.
    assert trainings.seconds_left(grid(), outcomes, left) == pytest.approx(6 + 12)


@pytest.mark.parametrize(
    ("shown", "value", "text"),
    [
        *((terminal.duration, 0, "0 s"), (terminal.duration, 89, "89 s")),
        *((terminal.duration, 90, "2 min"), (terminal.duration, 9000, "2.5 h")),
        *((terminal.significant, 0, "0"), (terminal.significant, 1 / 6, "0.167")),
        *(
            (terminal.significant, 12.345, "12.3"),
            (terminal.significant, 3e-9, "0.00000"),
        ),
    ],
)
def test_times_and_numbers_are_shown_as_they_are_read_best(shown, value, text):
    assert shown(value) == text
