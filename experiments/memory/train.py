"""Models of equal size, and the training run of one of them."""

import math

import keras
import numpy as np

from experiments.common.fit import Checkpoint
from experiments.common.layers import recurrent_layer
from experiments.common.trainings import SharedModel, fit_job, interruptible
from experiments.memory.grid import TASK_NAMES, Job, Outcome
from experiments.memory.settings import Settings
from experiments.memory.tasks import TASKS, Task
from lstm_keras.preprocessing.batches import EpochBatches

# The number of a layer's kernels, each with a recurrent one, and of biases to each:
# Keras's GRU has two (reset_after=True).
_KERNELS = {"simple_rnn": 1, "gru": 3, "builtin": 4, "custom": 4}
_BIASES = {"simple_rnn": 1, "gru": 2, "builtin": 1, "custom": 1}

# What sequences are for: those of one seed differ by it.
TRAINING, VALIDATION, TEST = range(3)

# A training run ends when this number of checks in a row find the task solved: one may
# be luck.
CHECKS_PASSED = 2


def parameters(layer: str, units: int, task: Task) -> int:
    """Return the number of trainable parameters of the model, output layer included."""
    layer_alone = _KERNELS[layer] * units * (task.features + units + _BIASES[layer])
    return layer_alone + (units + 1) * task.outputs


def equal_units(layer: str, lstm_units: int, task: Task) -> int:
    """Return the units with which a model is nearest in size to one with an LSTM."""
    wanted = parameters("custom", lstm_units, task)
    # With four times the units even the layer that has one kernel is larger.
    return min(
        range(1, 4 * lstm_units + 1),
        key=lambda units: abs(parameters(layer, units, task) - wanted),
    )


def engine_of(settings: Settings, layer: str) -> str:
    """Return the `--engine` of a layer, which is for the custom one."""
    return settings.engine if layer == "custom" else "auto"


def build(settings: Settings, job: Job) -> keras.Model:
    """Return the model: inputs `(batch, time, features)` to `Task`'s outputs."""
    task = TASKS[job.task]
    make = recurrent_layer(job.layer, engine_of(settings, job.layer))
    units = equal_units(job.layer, settings.units, task)
    activation = None if task.outputs == 1 else "softmax"
    return keras.Sequential(
        [
            keras.Input((None, task.features)),
            FixedBatch(settings.batch_size),
            make(units, return_sequences=task.every_step),
            keras.layers.Dense(task.outputs, activation=activation),
        ]
    )


class FixedBatch(keras.layers.Layer):
    """Tells TensorFlow the number of rows in training; it changes no value.

    `Model.fit` hides it, and then a step needs a third more time.
    """

    def __init__(self, rows: int):
        super().__init__()
        self._rows = rows

    def call(self, inputs, training=False):
        """Return the inputs."""
        if not training:
            return inputs
        return keras.ops.reshape(inputs, (self._rows, *inputs.shape[1:]))


class Sequences(EpochBatches):
    """New sequences in each step; an epoch is the steps between two checks.

    They all come from one generator, whose state before each step is stored, so that a
    step has the same sequences whenever Keras or a resumed run asks for it.
    """

    def __init__(self, settings: Settings, job: Job):
        self._job, self._rows = job, settings.batch_size
        self._steps = min(settings.check_every, settings.steps)
        self._generator = generator(job, TRAINING)
        self._states = [self._generator.bit_generator.state]  # before each step
        super().__init__()

    def order(self, epoch):
        """Return the numbers of the epoch's steps."""
        return range(epoch * self._steps, (epoch + 1) * self._steps)

    def batch(self, chosen):
        """Return the sequences of a step."""
        for step in range(len(self._states) - 1, chosen):  # a resumed run skips some
            self._draw(step)
        return self._draw(chosen)

    def _draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        self._generator.bit_generator.state = self._states[step]
        found = sample(self._job, self._rows, self._generator)
        self._states[step + 1 :] = [self._generator.bit_generator.state]
        return found


class Check(keras.callbacks.Callback):
    """Measures the error after each epoch, and stops once the task is solved.

    Args:
        job: The job.
        sequences: The validation sequences.

    Attributes:
        passed: Number of checks in a row that found the task solved.
    """

    state_attributes = ("passed",)

    def __init__(self, job: Job, sequences: tuple[np.ndarray, np.ndarray]):
        super().__init__()
        self._job, self._sequences, self.passed = job, sequences, 0

    def on_epoch_end(self, epoch, logs=None):
        """Add the error to what the epoch is judged by."""
        logs["error"] = error_of(self.model, self._job, self._sequences)
        self.passed = self.passed + 1 if logs["error"] < goal_of(self._job) else 0
        if self.passed == CHECKS_PASSED:
            self.model.stop_training = True


class Trainer:
    """Runs the jobs of a grid, each as if it were the only one.

    Args:
        settings: The settings of the grid.
    """

    def __init__(self, settings: Settings):
        self._settings, self._shared = settings, SharedModel()

    def train(self, job: Job, to: Checkpoint) -> Outcome:
        """Train until the task is solved or the steps are used up, then test.

        Args:
            job: The job.
            to: Where its checkpoint goes, and where it resumes from.

        Raises:
            KeyboardInterrupt: Ctrl-C came; there is a checkpoint.
        """
        with interruptible() as interrupt:
            validation, test = (
                sample(job, self._settings.test_size, generator(job, purpose))
                for purpose in (VALIDATION, TEST)
            )
            batches = Sequences(self._settings, job)
            each = len(batches)  # of an epoch that is resumed within there are fewer
            model = self._new_model(job)
            fitted = fit_job(
                model,
                batches,
                None,
                interrupt=interrupt,
                epochs=math.ceil(self._settings.steps / each),
                monitor="error",
                callbacks=[Check(job, validation)],
                to=to,
            )
            return Outcome(
                validation=error_of(model, job, validation),
                test=error_of(model, job, test),
                goal=goal_of(job),
                steps=len(fitted.history["loss"]) * each,
                seconds=fitted.seconds,
                diverged=not math.isfinite(fitted.history["loss"][-1]),
            )

    def _new_model(self, job: Job) -> keras.Model:
        """Return a compiled model.

        It is compiled for one lag alone: were it compiled for all, its results might
        depend, in the last bits, on the lags that came before.
        """
        alone = TASKS[job.task].outputs == 1
        optimizer = keras.optimizers.Adam(global_clipnorm=self._settings.clip_norm)
        return self._shared.new(
            (job.task, job.lag, job.layer),
            job.seed,
            lambda: build(self._settings, job),
            lambda model: model.compile(
                optimizer, "mse" if alone else "sparse_categorical_crossentropy"
            ),
            job.rate,
        )


def goal_of(job: Job) -> float:
    """Return the error below which a job's task counts as solved."""
    return TASKS[job.task].goal(job.lag)


def error_of(
    model: keras.Model, job: Job, sequences: tuple[np.ndarray, np.ndarray]
) -> float:
    """Return the error of a model on sequences."""
    inputs, targets = sequences
    return TASKS[job.task].error(model.predict_on_batch(inputs), targets)


def sample(
    job: Job, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences and targets of a job."""
    return TASKS[job.task].sample(job.lag, count, rng)


def generator(job: Job, purpose: int) -> np.random.Generator:
    """Return the generator of a job's sequences, for all layers the same.

    Args:
        job: The job.
        purpose: `TRAINING`, `VALIDATION` or `TEST`.
    """
    return np.random.default_rng(
        [job.seed, purpose, job.lag, TASK_NAMES.index(job.task)]
    )


def first_test_sequences(task: str, lag: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return a few sequences, to tell whether they are those of another run."""
    job = Job(task, lag, "custom", 0.0, seed)
    return sample(job, 10, generator(job, TEST))
