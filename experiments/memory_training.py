"""Layers of equal size, and one training of one of them."""

import math
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from types import SimpleNamespace

import numpy as np

from experiments import recurrent
from experiments.memory_tasks import TASKS, Task
from experiments.training import DivergedError, Kept

# How many kernels a layer has, each with a recurrent one, and how many biases to each:
# Keras's GRU has two (reset_after=True).
_KERNELS = {"simple_rnn": 1, "gru": 3, "builtin": 4, "custom": 4}
_BIASES = {"simple_rnn": 1, "gru": 2, "builtin": 1, "custom": 1}

# What a generator of random numbers is for: those of one seed differ by it.
TRAINING, VALIDATION, TEST = range(3)

# A training ends when so many checks in a row find the task solved: one may be luck.
CHECKS_PASSED = 2


@dataclass(frozen=True)
class Job:
    """One training of the grid: of what, and with what."""

    task: str
    lag: int
    layer: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """A name for its files."""
        return "-".join(map(str, astuple(self)))

    @property
    def label(self) -> str:
        """What it is, but for the seed."""
        return f"{self.task}, lag {self.lag}, {self.layer}, rate {self.rate:g}"


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        validation: Its lowest error on the validation sequences.
        test: The error on the test sequences with the weights of that moment.
        goal: The error under which the task counts as solved.
        steps: Training steps that were made.
        seconds: How long it took, compiling included.
        diverged: Whether an error that was NaN or infinite ended it.
    """

    validation: float
    test: float
    goal: float
    steps: int
    seconds: float
    diverged: bool = False

    @property
    def learned(self) -> bool:
        """Whether the validation says that the task is solved: what choices go by."""
        return self.validation < self.goal

    @property
    def solved(self) -> bool:
        """Whether the test says so: what is reported."""
        return self.test < self.goal


def parameters(layer: str, units: int, task: Task) -> int:
    """Return how many trainable parameters the model has, output layer included."""
    layer_alone = _KERNELS[layer] * units * (task.features + units + _BIASES[layer])
    return layer_alone + (units + 1) * task.outputs


def equal_units(layer: str, lstm_units: int, task: Task) -> int:
    """Return for how many units a model is nearest in size to one with an LSTM."""
    wanted = parameters("custom", lstm_units, task)
    # With four times the units even the layer that has one kernel is larger.
    return min(
        range(1, 4 * lstm_units + 1),
        key=lambda units: abs(parameters(layer, units, task) - wanted),
    )


def choice(settings, layer: str) -> SimpleNamespace:
    """Return the settings of the grid as `recurrent` reads them, for one layer."""
    engine = settings.engine if layer == "custom" else "auto"
    return SimpleNamespace(layer=layer, engine=engine, jit=False, recurrent_dropout=0.0)


def build(settings, job: Job):
    """Return the model: inputs `(batch, time, features)` to `Task`'s outputs."""
    import keras

    task = TASKS[job.task]
    make = recurrent.recurrent_layer(choice(settings, job.layer))
    units = equal_units(job.layer, settings.units, task)
    activation = None if task.outputs == 1 else "softmax"
    return keras.Sequential(
        [
            keras.Input((None, task.features)),
            make(units, return_sequences=task.every_step),
            keras.layers.Dense(task.outputs, activation=activation),
        ]
    )


@dataclass
class _Moment:
    """Where a training is.

    Attributes:
        best: The weights at the check with the lowest error.
        lowest: That error.
        passed: Checks in a row that found the task solved.
        step: Steps that are done.
        seconds: How long they took.
    """

    best: list[np.ndarray]
    lowest: float = math.inf
    passed: int = 0
    step: int = 0
    seconds: float = 0.0

    def look(self, error: float, goal: float, model) -> None:
        """Note the error of a check."""
        if error < self.lowest:
            self.lowest, self.best = error, model.get_weights()
        self.passed = self.passed + 1 if error < goal else 0

    def state(self, model, batches: np.random.Generator):
        """Return all of it as a `checkpoint.State`."""
        from experiments import checkpoint

        facts = {name: getattr(self, name) for name in _FACTS}
        facts["generator"] = batches.bit_generator.state
        state = checkpoint.capture(model, facts, metrics=False)
        state.best = self.best
        return state

    @classmethod
    def restored(cls, model, batches: np.random.Generator, state) -> "_Moment":
        """Bring a training to the moment of a state."""
        from experiments import checkpoint

        checkpoint.check(model, state, {*_FACTS, "generator"})
        checkpoint.restore(model, state)
        batches.bit_generator.state = state.facts["generator"]
        return cls(state.best, **{name: state.facts[name] for name in _FACTS})


_FACTS = ("lowest", "passed", "step", "seconds")


class Trainer:
    """Trains the jobs of a grid, each as if it were the only one.

    Compiling takes a second or more, so jobs that differ in rate and seed alone share a
    compiled model, which begins each of them as a new one would.

    Args:
        settings: Of the grid.
    """

    def __init__(self, settings):
        self._settings = settings
        self._compiled_for = self._model = self._optimizer_start = None

    def train(
        self,
        job: Job,
        kept: Kept | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Train until the task is solved or the steps are used up, then test.

        Args:
            job: Which training.
            kept: Where it is kept while it goes on, and from where it goes on.
            stop: Whether to stop after the step; asked after each.

        Raises:
            KeyboardInterrupt: It was stopped; up to then it is kept.
            DivergedError: The error was NaN or infinite from the beginning.
        """
        from experiments import checkpoint

        start = written = time.perf_counter()
        model, goal = self._new_model(job), TASKS[job.task].goal(job.lag)
        held_out = self._held_out(job, VALIDATION)
        batches = generator(job, TRAINING)
        now = _Moment(best=model.get_weights())
        if kept and kept.path.exists():
            now = _Moment.restored(model, batches, checkpoint.read(kept.path))
            start -= now.seconds
        while True:
            if self._look_at(now.step):
                error = self._error(job, held_out)
                now.look(error, goal, model)
                over = now.passed == CHECKS_PASSED or now.step == self._settings.steps
                if over or not math.isfinite(error):
                    break
            self._learn(job, batches)
            now.step += 1
            stopped = stop()
            late = kept and time.perf_counter() - written >= kept.seconds
            if kept and (stopped or late):
                now.seconds = time.perf_counter() - start
                checkpoint.write(kept.path, now.state(model, batches))
                written = time.perf_counter()
            if stopped:
                raise KeyboardInterrupt
        if not math.isfinite(now.lowest):
            raise DivergedError(
                f"expected a finite error of {job} before its first step; received "
                f"{error}"
            )
        model.set_weights(now.best)
        test = self._error(job, self._held_out(job, TEST))
        seconds = time.perf_counter() - start
        diverged = not math.isfinite(error)
        return Outcome(now.lowest, test, goal, now.step, seconds, diverged)

    def _look_at(self, step: int) -> bool:
        return step % self._settings.check_every == 0 or step == self._settings.steps

    def _new_model(self, job: Job):
        """Return a compiled model with new weights, and an optimizer that did nothing.

        It is compiled for one lag alone: were it compiled for all, its results might
        depend, in the last bits, on the lags that came before.
        """
        import keras

        keras.utils.set_random_seed(job.seed)
        model, kind = build(self._settings, job), (job.task, job.lag, job.layer)
        if kind == self._compiled_for:
            self._model.set_weights(model.get_weights())
            variables = self._model.optimizer.variables
            for variable, value in zip(variables, self._optimizer_start, strict=True):
                variable.assign(value)
        else:
            loss = "sparse_categorical_crossentropy"
            optimizer = keras.optimizers.Adam(global_clipnorm=self._settings.clip_norm)
            optimizer.build(model.trainable_variables)
            model.compile(optimizer, "mse" if TASKS[job.task].outputs == 1 else loss)
            self._optimizer_start = [value.numpy() for value in optimizer.variables]
            self._compiled_for, self._model = kind, model
        self._model.optimizer.learning_rate = job.rate
        return self._model

    def _held_out(self, job: Job, purpose: int) -> tuple[np.ndarray, np.ndarray]:
        rng = generator(job, purpose)
        return TASKS[job.task].sample(job.lag, self._settings.test_size, rng)

    def _learn(self, job: Job, batches: np.random.Generator) -> None:
        batch = TASKS[job.task].sample(job.lag, self._settings.batch_size, batches)
        self._model.train_on_batch(*batch)

    def _error(self, job: Job, examples: tuple[np.ndarray, np.ndarray]) -> float:
        inputs, targets = examples
        outputs = self._model.predict_on_batch(inputs)
        return TASKS[job.task].error(outputs, targets)


def generator(job: Job, purpose: int) -> np.random.Generator:
    """Return the random numbers of a job's sequences, for all layers the same.

    Args:
        job: Which training.
        purpose: `TRAINING`, `VALIDATION` or `TEST`.
    """
    return np.random.default_rng(
        [job.seed, purpose, job.lag, list(TASKS).index(job.task)]
    )


def first_test_sequences(task: str, lag: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return some sequences, to tell whether they are those of another run."""
    rng = generator(Job(task, lag, "custom", 0.0, seed), TEST)
    return TASKS[task].sample(lag, 10, rng)
