"""The tasks: targets and baselines are recomputed from the inputs, step by step."""

import math

import numpy as np
import pytest

from experiments.memory.tasks import TASKS, cross_entropy, share_wrong, squared_error

LAGS = [4, 5, 7, 10, 25, 100]


def sample(name, lag, count=200, seed=0):
    return TASKS[name].sample(lag, count, np.random.default_rng(seed))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("lag", LAGS)
def test_shapes_and_types_are_those_that_the_task_names(name, lag):
    task = TASKS[name]
    inputs, targets = sample(name, lag, 3)
    steps = {"copying": lag + 20}.get(name, lag)
    assert inputs.shape == (3, steps, task.features)
    assert inputs.dtype == np.float32
    if task.outputs == 1:
        assert targets.shape == (3, 1) and targets.dtype == np.float32
    else:
        assert targets.shape == ((3, steps) if task.every_step else (3,))
        assert targets.dtype == np.int32
        assert targets.min() >= 0 and targets.max() < task.outputs


@pytest.mark.parametrize("name", TASKS)
def test_the_seed_decides_the_sequences(name):
    inputs, targets = sample(name, 20, seed=3)
    again, same = sample(name, 20, seed=3)
    np.testing.assert_array_equal(inputs, again)
    np.testing.assert_array_equal(targets, same)
    assert not np.array_equal(inputs, sample(name, 20, seed=4)[0])


@pytest.mark.parametrize("lag", LAGS)
def test_adding_asks_for_the_sum_of_the_numbers_marked_in_either_half(lag):
    inputs, targets = sample("adding", lag)
    for sequence, (target,) in zip(inputs, targets, strict=True):
        total, marked = 0.0, []
        for step, (number, mark) in enumerate(sequence):
            assert 0 <= number <= 1 and mark in (0, 1)
            if mark:
                total += number
                marked.append(step)
        first, second = marked
        assert first < lag // 2 <= second
        assert target == pytest.approx(total, abs=1e-6)


def test_every_step_of_a_half_is_marked_with_equal_chance():
    marks = sample("adding", 6, 2000)[0][:, :, 1].sum(axis=0)
    assert (marks > 2000 / 3 * 0.85).all() and (marks < 2000 / 3 * 1.15).all()


@pytest.mark.parametrize("lag", LAGS)
def test_copying_asks_for_the_first_ten_symbols_after_the_signal(lag):
    inputs, targets = sample("copying", lag, 20)
    for sequence, wanted in zip(inputs, targets, strict=True):
        assert set(sequence.ravel()) == {0, 1} and (sequence.sum(axis=1) == 1).all()
        shown = [list(step).index(1) for step in sequence]
        assert all(symbol < 8 for symbol in shown[:10])
        assert shown[10:] == [8] * (lag - 1) + [9] + [8] * 10
        assert list(wanted) == [8] * (lag + 10) + shown[:10]


@pytest.mark.parametrize("lag", LAGS)
def test_temporal_order_asks_which_two_signals_came(lag):
    classes = {(0, 0): 0, (0, 1): 1, (1, 0): 2, (1, 1): 3}
    inputs, targets = sample("order", lag)
    for sequence, target in zip(inputs, targets, strict=True):
        assert (sequence.sum(axis=1) == 1).all()
        shown = [list(step).index(1) for step in sequence]
        assert shown[0] == 6 and shown[-1] == 7
        signals = [(step, symbol) for step, symbol in enumerate(shown) if symbol < 2]
        (early, first), (late, second) = signals
        assert target == classes[first, second]
        assert max(1, lag // 10) <= early <= max(1, lag // 5)
        assert lag // 2 <= late <= lag * 3 // 5
        others = [s for step, s in enumerate(shown) if step not in (early, late)]
        assert set(others[1:-1]) <= {2, 3, 4, 5}
    assert set(targets) == {0, 1, 2, 3}


def test_predicting_the_mean_has_the_baseline_of_adding():
    _, sums = sample("adding", 50, 100_000)
    baseline = TASKS["adding"].baseline(50)
    assert squared_error(np.ones_like(sums), sums) == pytest.approx(baseline, rel=0.02)
    assert baseline == pytest.approx(0.167, abs=5e-4)
    # No other constant is better.
    for constant in (0.9, 1.1):
        assert squared_error(np.full_like(sums, constant), sums) > baseline


@pytest.mark.parametrize("lag", LAGS)
def test_the_baseline_of_copying_is_the_entropy_of_the_best_constant_predictor(lag):
    _, wanted = sample("copying", lag, 5000)
    entropy = 0.0
    for step in range(lag + 20):
        _, counts = np.unique(wanted[:, step], return_counts=True)
        shares = counts / counts.sum()
        entropy -= float(np.sum(shares * np.log(shares))) / (lag + 20)
    baseline = TASKS["copying"].baseline(lag)
    assert baseline == pytest.approx(entropy, rel=1e-3)
    assert baseline == pytest.approx(10 * math.log(8) / (lag + 20))
    guesses = np.full((*wanted.shape, 9), 1e-9, np.float32)
    guesses[:, : lag + 10, 8] = 1
    guesses[:, lag + 10 :, :8] = 1 / 8
    assert cross_entropy(guesses, wanted) == pytest.approx(baseline, rel=1e-3)


def test_always_the_same_class_has_the_baseline_of_order():
    _, classes = sample("order", 50, 20_000)
    for guess in range(4):
        outputs = np.tile(np.eye(4, dtype=np.float32)[guess], (len(classes), 1))
        baseline = TASKS["order"].baseline(50)
        assert share_wrong(outputs, classes) == pytest.approx(baseline, abs=0.02)


@pytest.mark.parametrize("name", TASKS)
def test_right_answers_have_no_error_and_solve_the_task(name):
    task = TASKS[name]
    _, targets = sample(name, 25)
    outputs = targets if task.outputs == 1 else np.eye(task.outputs)[targets]
    assert task.error(outputs, targets) == 0
    assert 0 < task.goal(25) < task.baseline(25)


def test_an_impossible_right_answer_has_a_finite_cross_entropy():
    outputs = np.array([[1.0, 0.0]], np.float32)
    assert 50 < cross_entropy(outputs, np.array([1])) < 100
