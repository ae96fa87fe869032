"""The grid: equal sizes, what is trained, what is resumed, and what is reported."""

import csv
import dataclasses
import json
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.common import checkpoint
from experiments.common.environment import environment
from experiments.common.fit import Checkpoint
from experiments.common.run_folder import RunFolder, begin
from experiments.memory import progress, results, settings, train, worker
from experiments.memory.grid import Grid, Job, Outcome
from experiments.memory.progress import Progress
from experiments.memory.settings import Settings
from experiments.memory.tasks import TASKS
from experiments.memory.train import Trainer
from tests.helpers import runs
from tests.helpers.runs import metrics_of

LAYERS = ("simple_rnn", "gru", "builtin", "custom")
SETTINGS = Settings(
    units=4, steps=6, check_every=2, batch_size=4, test_size=8, name="run"
)
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
    """Return a function that makes a run, and returns its folder."""
    return lambda *options: runs.make("memory", tmp_path, *SMALL, *options, run="run")


def resume(folder):
    runs.main("memory", "--resume", folder)


@pytest.fixture
def to(tmp_path):
    return Checkpoint(tmp_path / "checkpoint.npz", seconds=60)


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


def test_our_lstm_solves_a_short_lag(to):
    settings = dataclasses.replace(
        SETTINGS, units=16, steps=1000, check_every=50, batch_size=32, test_size=300
    )
    found = Trainer(settings).train(Job("order", 10, "custom", 0.01, 0), to)
    assert found.solved and found.learned
    assert found.steps < 1000


def fresh(to):
    """Return where a training run starts from its beginning."""
    to.path.unlink(missing_ok=True)
    return to


def assert_equal(found, expected):
    assert dataclasses.replace(found, seconds=0) == dataclasses.replace(
        expected, seconds=0
    )


@pytest.mark.parametrize(
    "layer", ["simple_rnn", pytest.param("custom", marks=pytest.mark.thorough)]
)
def test_a_training_run_does_not_depend_on_those_before(layer, to):
    trainer = Trainer(SETTINGS)
    first = Job("adding", 6, layer, 0.05, 1)
    for other in (
        Job("adding", 6, layer, 0.01, 0),  # shares its compiled model
        first,
        Job("order", 8, layer, 0.01, 0),  # does not
    ):
        trainer.train(other, fresh(to))
    again = trainer.train(first, fresh(to))
    assert_equal(again, Trainer(SETTINGS).train(first, fresh(to)))


def test_it_ends_after_two_good_checks_in_a_row_with_its_best_weights(monkeypatch, to):
    checks, weights = [0.001, 0.3, 0.002, 0.003], []
    found = iter([*checks, 0.001, 0.5])  # then validation and test

    def error_of(model, *_):
        weights.append(model.get_weights())
        return next(found)

    monkeypatch.setattr(train, "error_of", error_of)
    settings = dataclasses.replace(SETTINGS, steps=100)
    ended = Trainer(settings).train(job(6, layer="simple_rnn"), to)
    assert ended.steps == len(checks) * settings.check_every
    for tested, best in zip(weights[-1], weights[0], strict=True):
        np.testing.assert_array_equal(tested, best)
    assert (ended.validation, ended.test) == (0.001, 0.5)
    assert ended.learned and not ended.solved


@pytest.mark.parametrize(("steps", "made"), [(1, 1), (2, 2), (4, 4)])
def test_a_training_run_ends_at_its_last_step(steps, made, to):
    settings = dataclasses.replace(SETTINGS, steps=steps)
    assert Trainer(settings).train(job(6, layer="simple_rnn"), to).steps == made


@pytest.mark.parametrize("first", [0, 3])
def test_a_training_run_that_diverges_ends_with_its_best_weights(
    first, monkeypatch, to
):
    """They are the initial ones, or those of the check before the loss became NaN."""
    one, batch = job(6, layer="simple_rnn"), train.Sequences.batch
    if first:
        steps = dataclasses.replace(SETTINGS, steps=2)
        expected = Trainer(steps).train(one, fresh(to)).test
    else:
        train.keras.utils.set_random_seed(one.seed)
        sequences = train.sample(one, 8, train.generator(one, train.TEST))
        expected = train.error_of(train.build(SETTINGS, one), one, sequences)

    def broken(self, step):
        inputs, targets = batch(self, step)
        return inputs * (np.nan if step >= first else 1), targets

    monkeypatch.setattr(train.Sequences, "batch", broken)
    found = Trainer(SETTINGS).train(one, fresh(to))
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
    found = results.cells(grid(), outcomes)
    assert [cell.solved for cell in found] == [2, 2, 1, 0]
    assert results.longest(grid(), found) == {TASK: {"gru": 20}}
    assert found[2].error.mean == pytest.approx((0.002 + 0.2) / 2)
    deviation = np.std([0.002, 0.2], ddof=1)
    assert found[2].error.standard_deviation == pytest.approx(deviation)
    none = results.longest(grid(), found[3:])
    assert none == {TASK: {"gru": None}}


# Interrupted, and resumed.


def test_an_interrupted_grid_reports_what_is_done_and_resumes_to_the_same_results(
    start, tmp_path, monkeypatch, capsys
):
    few = ("--layers", "gru", "--lags", "4", "--learning-rates", "0.01,0.003")
    whole = numbers(start(*few))
    capsys.readouterr()
    original, made = Trainer.train, []

    def interrupted(self, job, to):
        if len(made) == 3:
            signal.raise_signal(signal.SIGINT)
        made.append(job)
        return original(self, job, to)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", interrupted)
        with pytest.raises(SystemExit, match="130"):
            start(*few, "--overwrite")
    folder = tmp_path / "memory" / "run"
    said = "Interrupted: up to 1 of the training runs are missing."
    out = capsys.readouterr().out
    assert said in out and f"python -m experiments.memory --resume {folder}" in out
    assert said in (folder / "report.html").read_text()
    metrics = metrics_of(folder)
    assert metrics["interrupted"] and metrics["trainings"] == 3
    resume(folder)
    assert numbers(folder) == whole
    assert [path.name for path in (tmp_path / "memory").iterdir()] == ["run"]
    assert "--resume" not in metrics_of(folder)["command"]
    assert not (folder / "checkpoint").exists()


@pytest.mark.thorough
def test_a_training_run_that_is_interrupted_ends_as_if_it_was_not(monkeypatch, to):
    one = job(6, layer="custom")
    settings = dataclasses.replace(SETTINGS, steps=12, check_every=4)
    whole = Trainer(settings).train(one, fresh(to))
    fresh(to)
    for steps, done in ((1, (0, 1)), (4, (0, 3)), (5, (1, 2))):
        left = [None] * steps

        def press(self, batch, logs=None, left=left):
            left.pop()
            if not left:
                signal.raise_signal(signal.SIGINT)

        with monkeypatch.context() as patch:
            patch.setattr(train.Check, "on_train_batch_end", press)
            with pytest.raises(KeyboardInterrupt):
                Trainer(settings).train(one, to)
        facts = checkpoint.read(to.path).facts
        assert (facts["epoch"], facts["step"]) == done
    assert_equal(Trainer(settings).train(one, to), whole)


@pytest.mark.thorough
def test_processes_give_the_same_results(start, tmp_path):
    one_lag = ("--lags", "4")
    alone = numbers(start(*one_lag))
    assert numbers(start(*one_lag, "--jobs", "2", "--overwrite")) == alone


DIES = "import os; os.kill(os.getpid(), 9)"


@pytest.fixture
def workers(monkeypatch):
    """Let workers write made-up outcomes, and then do what `after` says of a layer."""
    after = {}

    def command(progress, group):
        lines = ["from pathlib import Path"]
        for job in group if after.get(group[0].layer) != "dies at once" else ():
            content = {"job": dataclasses.asdict(job), **dataclasses.asdict(outcome())}
            path = str(progress.path(job, "json"))
            lines.append(f"Path({path!r}).write_text({json.dumps(content)!r})")
        if group[0].layer in after:
            lines.append(DIES)
        return ("timeit", "-n1", "-r1", "-s", "\n".join(lines), "pass")

    monkeypatch.setattr(progress, "worker_command", command)
    return after


def test_a_process_that_dies_is_reported_and_does_not_affect_the_others(
    start, workers, tmp_path, capsys
):
    workers["custom"] = "dies at once"
    with pytest.raises(SystemExit, match="130"):
        start("--lags", "4,6", "--jobs", "2")
    printed = capsys.readouterr()
    # The second seed is tried, too: it was not begun.
    said = [
        f"adding, lag 4, custom, rate 0.01, seed {seeds} was killed by SIGKILL"
        for seeds in ("0, 1", "1")
    ]
    assert said[0] in printed.err and said[1] in printed.err
    assert f"Some training runs are missing: {'; '.join(said)}." in printed.out
    assert "4/8" in printed.out  # both lags of the other layer
    metrics = metrics_of(tmp_path / "memory" / "run")
    assert metrics["interrupted"] and metrics["trainings"] == 4


def test_a_process_that_dies_after_its_jobs_leaves_nothing_missing(
    start, workers, capsys
):
    workers.update(dict.fromkeys(LAYERS, "dies at the end"))
    metrics = metrics_of(start("--lags", "4", "--jobs", "2"))
    assert "SIGKILL" in capsys.readouterr().err
    assert metrics["interrupted"] is False and metrics["trainings"] == 4


def test_processes_that_all_die_are_an_error(start, workers):
    workers.update(dict.fromkeys(LAYERS, "dies at once"))
    with pytest.raises(SystemExit, match=r"all training runs failed: .*by SIGKILL"):
        start("--jobs", "2")


@pytest.mark.parametrize(
    ("count", "seeds"),
    [(1, [[0, 1, 2, 3, 4]]), (2, [[0, 1], [2, 3, 4]]), (9, [[0], [1], [2], [3], [4]])],
)
def test_seeds_share_a_process_unless_there_are_too_few_jobs(count, seeds):
    groups = grid(seeds=range(5)).ready({})
    parts = progress.split(groups, count)
    assert sorted([job.seed for job in part] for part in parts) == seeds


def test_what_depends_on_a_job_that_failed_or_runs_is_left_out():
    failed = {job(10)}
    assert grid().ready({}, failed) == [[job(10, seed=1)]]
    assert grid().ready({job(10, seed=1): outcome()}, failed) == []


def test_a_worker_leaves_what_another_one_has_done(tmp_path):
    done, missing = job(4, layer="custom"), job(4, layer="custom", seed=1)
    with RunFolder(tmp_path / "memory" / "run") as folder:
        config = {"experiment": "memory", **dataclasses.asdict(SETTINGS)}
        of_run = Progress(begin(folder, config, "", environment(), {}))
        of_run.write(done, outcome(steps=12345))
        worker.main(progress.worker_command(of_run, [done, missing])[1:])
        found = of_run.outcomes()
    assert found[done] == outcome(steps=12345)
    assert found[missing].steps <= SETTINGS.steps


def test_only_what_is_missing_is_made(start, made_up, tmp_path):
    made_up.at = 3
    with pytest.raises(SystemExit, match="130"):
        start()
    made_up.at = None
    with pytest.raises(SystemExit, match="exists already"):
        start()
    assert len(made_up.jobs) == 3
    resume(tmp_path / "memory" / "run")
    assert len(made_up.jobs) == len(set(made_up.jobs)) == 8


def test_overwrite_begins_anew(start, made_up):
    made_up.at = 3
    with pytest.raises(SystemExit):
        start()
    made_up.at = None
    start("--overwrite", "--steps", "6")
    assert len(made_up.jobs) == 3 + 8


def test_a_finished_run_is_not_replaced_unless_asked_to(start, made_up):
    start()
    with pytest.raises(SystemExit, match="exists already"):
        start()
    assert len(made_up.jobs) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "adding,nonsense"], "expected --tasks .* adding, copying, order"),
        (["--layers", ""], "expected --layers .*custom"),
        (["--lags", "3"], "expected --lags .*at least 4; received '3'"),
        (["--lags", "10,x"], "expected --lags"),
        (["--learning-rates", "0"], "expected --learning-rates"),
        (["--learning-rates", "nan"], "expected --learning-rates"),
        (["--learning-rates", "inf"], "expected --learning-rates"),
        (["--steps", "5"], "expected --steps as a multiple of --check-every"),
        (["--engine", "scan"], "engine='scan' cannot run this layer"),
    ],
)
def test_bad_options_are_refused_before_any_work(
    options, message, start, made_up, tmp_path
):
    with pytest.raises(SystemExit, match=message):
        start(*options)
    assert not made_up.jobs and not list(tmp_path.glob("memory/*"))


# What is reported.


def test_a_run_has_tables_figures_and_what_computed_them(start, made_up, capsys):
    folder = start("--tasks", "all", "--lags", "10,20")
    metrics = metrics_of(folder)
    assert metrics["experiment"] == "memory" and not runs.schema_errors(folder)
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


def test_quick_asks_for_less_but_for_what_was_chosen(start, made_up):
    folder = start("--quick", "--lags", "4", "--steps", "3000", "--give-up-after", "2")
    config = json.loads((folder / "config.json").read_text())
    # 3000 steps and 2 are the defaults without --quick.
    assert (config["steps"], config["give_up_after"]) == (3000, 2)
    quick = runs.make("memory", folder.parent.parent, "--quick")
    config = json.loads((quick / "config.json").read_text())
    assert config.items() >= settings.QUICK.items()


def test_a_terminal_gets_a_bar_that_moves(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    outcomes = {job(10): outcome()}
    progress.show(job(10), outcomes, [job(20), job(20, seed=1)])
    progress.show(job(10), outcomes, [])
    first, second, last, _ = capsys.readouterr().out.split("\n")
    said = f"{job(10)}: error 0.00200, solved, 100 steps, 1.0 s"
    assert first == f"\r\x1b[K{said}"
    bar, _, end = second.partition("\r\x1b[K")
    assert (bar.count("█"), bar.count("░"), end) == (10, 20, said)
    assert "1/3, about 2 s left" in bar
    assert last.startswith("█" * 30) and last.endswith("1/1, done")


def test_the_time_left_grows_with_the_lags_that_are_left():
    outcomes = {job(10): outcome(seconds=6), job(10, seed=1): outcome(seconds=6)}
    left = [job(10, rate=0.001), job(70)]
    # A lag of 10 costs as much as 60, one of 70 as much as 120.
    assert progress.seconds_left(outcomes, left) == pytest.approx(6 + 12)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (9000, "2.5 h")],
)
def test_durations_have_the_unit_in_which_they_are_read_best(seconds, text):
    assert progress.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1 / 6, "0.167"), (0.01, "0.0100"), (12.345, "12.3"), (3e-9, "0.00000")],
)
def test_numbers_have_three_digits(value, text):
    assert progress.significant(value) == text
