"""Three tasks that need memory: inputs, targets, and the error without memory.

Sequences of any lag are generated as needed, so that none is seen twice.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Copying: the number of symbols to copy, and of different ones, beside which there are
# a blank and a signal.
COPIED, ALPHABET = 10, 8
BLANK, RECALL = ALPHABET, ALPHABET + 1

# Temporal order: the symbols' places in the one-hot input.
X, Y, DISTRACTORS, START, END = 0, 1, (2, 3, 4, 5), 6, 7


@dataclass(frozen=True)
class Task:
    """A task, for every lag.

    Attributes:
        title: Its name in the report.
        measure: What the error measures.
        description: Inputs and targets, for the report.
        sample: Takes a lag, a number of sequences and a random generator, and returns
            inputs `(count, time, features)` float32 and targets: `(count, 1)` float32
            of a regression, else classes `(count,)` or, one at every step,
            `(count, time)` int32.
        features: Size of the input at a step.
        outputs: Size of the output: the number of classes, or 1 of a regression.
        every_step: Whether there is an output at every step, not only at the last.
        error: Takes outputs and targets, and returns the error; lower is better.
        baseline: Takes the lag, and returns the error of the best guess without memory.
        goal: Takes the lag, and returns the error below which the task counts as
            solved.
    """

    title: str
    measure: str
    description: str
    sample: Callable[[int, int, np.random.Generator], tuple[np.ndarray, np.ndarray]]
    features: int
    outputs: int
    every_step: bool
    error: Callable[[np.ndarray, np.ndarray], float]
    baseline: Callable[[int], float]
    goal: Callable[[int], float]


def adding(
    lag: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences of numbers, two of them marked, and the sums of the two.

    The adding problem of Hochreiter & Schmidhuber (1997, "Long Short-Term Memory",
    experiment 4) as Le, Jaitly & Hinton (2015, "A Simple Way to Initialize Recurrent
    Networks of Rectified Linear Units") and Arjovsky, Shah & Bengio (2016, "Unitary
    Evolution Recurrent Neural Networks") pose it: `lag` numbers, uniform in [0, 1], one
    marked in the first half and one in the second, each with equal chance.

    Predicting the mean, 1, gives a mean squared error of Var(a + b) = 2/12 = 1/6.

    Returns:
        Inputs `(count, lag, 2)`, number and mark (0 or 1), and sums `(count, 1)`.
    """
    numbers = rng.random((count, lag), dtype=np.float32)
    rows = np.arange(count)
    first = rng.integers(0, lag // 2, count)
    second = rng.integers(lag // 2, lag, count)
    marks = np.zeros_like(numbers)
    marks[rows, first] = marks[rows, second] = 1
    sums = numbers[rows, first] + numbers[rows, second]
    return np.stack([numbers, marks], axis=-1), sums[:, np.newaxis]


def copying(
    lag: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences that begin with ten symbols, to be recalled after a delay.

    It has had many forms since Hochreiter & Schmidhuber (1997); this is the one of
    Arjovsky, Shah & Bengio (2016): ten symbols from eight different ones, `lag - 1`
    blanks, the signal to recall, ten blanks. The targets are `lag + 10` blanks and then
    the ten symbols.

    Without memory it is best to predict "blank" up to the signal's step, and then each
    of the eight symbols with probability 1/8: a cross-entropy of 10 ln 8 / (lag + 20)
    nats on average over all `lag + 20` steps.

    Returns:
        Inputs `(count, lag + 20, 10)`, one-hot, and classes `(count, lag + 20)`.
    """
    symbols = rng.integers(0, ALPHABET, (count, COPIED), dtype=np.int32)
    shown = np.full((count, lag + 2 * COPIED), BLANK, np.int32)
    wanted = shown.copy()
    shown[:, :COPIED] = wanted[:, -COPIED:] = symbols
    shown[:, COPIED + lag - 1] = RECALL
    return one_hot(shown, ALPHABET + 2), wanted


def temporal_order(
    lag: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences with two signals among distractors, and which two they were.

    Experiment 6a of Hochreiter & Schmidhuber (1997) at any length: `lag` symbols, of
    which the first marks the start and the last the end. The others are four
    distractors, except for an X or a Y between lag/10 and lag/5 and another between
    lag/2 and 3 lag/5, both ends included, counted from 0. The class is 0 for X X, 1 for
    X Y, 2 for Y X and 3 for Y Y. (There the lengths vary by a tenth; here they are all
    `lag`, as in Martens & Sutskever, 2011, "Learning Recurrent Neural Networks with
    Hessian-Free Optimization".)

    Guessing is wrong in three of four cases.

    Returns:
        Inputs `(count, lag, 8)`, one-hot, and classes `(count,)`.
    """
    symbols = rng.choice(np.int32(DISTRACTORS), (count, lag))
    symbols[:, 0], symbols[:, -1] = START, END
    rows = np.arange(count)
    early = rng.integers(max(1, lag // 10), max(1, lag // 5) + 1, count)
    late = rng.integers(lag // 2, 3 * lag // 5 + 1, count)
    signals = rng.choice(np.int32([X, Y]), (count, 2))
    symbols[rows, early], symbols[rows, late] = signals.T
    return one_hot(symbols, 8), 2 * signals[:, 0] + signals[:, 1]


def one_hot(ids: np.ndarray, size: int) -> np.ndarray:
    """Return ids `(…,)` as vectors `(…, size)` float32."""
    return np.eye(size, dtype=np.float32)[ids]


def squared_error(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean of the squared differences."""
    return float(np.mean(np.square(outputs - targets), dtype=np.float64))


def cross_entropy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean of -ln of the right classes' probabilities, in nats.

    Args:
        outputs: Probabilities `(…, classes)`.
        targets: Classes `(…,)`.
    """
    right = np.take_along_axis(outputs, targets[..., np.newaxis], axis=-1)
    # float32 may round a probability to 0, whose logarithm is infinite.
    return float(-np.mean(np.log(np.maximum(right, 1e-30)), dtype=np.float64))


def share_wrong(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Return how often the most probable class is not the right one."""
    return float(np.mean(outputs.argmax(axis=-1) != targets))


def memoryless_copying(lag: int) -> float:
    """Return the cross-entropy without memory, 10 ln 8 / (lag + 20); see `copying`."""
    return COPIED * math.log(ALPHABET) / (lag + 2 * COPIED)


TASKS = {
    "adding": Task(
        title="Adding problem",
        measure="mean squared error",
        description="The sum of two marked numbers of a sequence as long as the lag, "
        "uniform in [0, 1], one marked in each half (after Hochreiter & Schmidhuber "
        "1997, experiment 4). Predicting the mean, 1, gives a mean squared error of "
        "1/6 = 0.167; the task counts as solved below 0.01.",
        sample=adding,
        features=2,
        outputs=1,
        every_step=False,
        error=squared_error,
        baseline=lambda lag: 1 / 6,
        goal=lambda lag: 0.01,
    ),
    "copying": Task(
        title="Copying after a delay",
        measure="cross-entropy (nats per step)",
        description="Ten symbols from eight different ones, then as many blanks as the "
        "lag, the last of them a signal, and then the ten symbols are to be recalled "
        "(as in Arjovsky, Shah & Bengio 2016). The error is the cross-entropy, "
        "averaged over all lag + 20 steps; without memory it is at best "
        "10 ln 8 / (lag + 20), and the task counts as solved below a tenth of that.",
        sample=copying,
        features=ALPHABET + 2,
        outputs=ALPHABET + 1,
        every_step=True,
        error=cross_entropy,
        baseline=memoryless_copying,
        goal=lambda lag: memoryless_copying(lag) / 10,
    ),
    "order": Task(
        title="Temporal order",
        measure="share of wrong answers",
        description="Which two signals, X or Y each, came in which order among "
        "distractors: the first after a tenth to a fifth of the sequence, the second "
        "after a half to three fifths, the answer at the end (Hochreiter & Schmidhuber "
        "1997, experiment 6a). Guessing is wrong in 3 of 4 cases; the task counts as "
        "solved if less than 5% of the answers are wrong.",
        sample=temporal_order,
        features=8,
        outputs=4,
        every_step=False,
        error=share_wrong,
        baseline=lambda lag: 3 / 4,
        goal=lambda lag: 0.05,
    ),
}
