"""Training runs: the best epoch, Ctrl-C, and resuming, on every backend.

The oracle of a resumed run is the same run without a stop: history and weights, bit for
bit.
"""

import functools
import signal

import keras
import numpy as np
import pytest
from keras import layers

from experiments.common import checkpoint, fit
from experiments.common.errors import DivergedError
from experiments.common.fit import Checkpoint
from lstm_keras import LSTM
from lstm_keras.language_model.model import build_language_model
from lstm_keras.language_model.training import LanguageModelTrainer, ResetStates
from lstm_keras.preprocessing.batches import (
    WARM_UP,
    ExampleBatches,
    SentenceBatches,
    StreamWindows,
)
from lstm_keras.preprocessing.next_word import sentences
from lstm_keras.preprocessing.vocabulary import END


def line_model(**options):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", **options)
    return model


def line(factor=3, kind=ExampleBatches):
    x = np.random.default_rng(0).normal(size=(32, 1)).astype("float32")
    return kind(x, factor * x, 8, seed=0)


def test_patience_ends_a_training_run_which_keeps_the_weights_of_its_best_epoch():
    entered = []

    class Line(ExampleBatches):
        def enter(self, epoch, step=0):
            entered.append(epoch)
            super().enter(epoch, step)

    # Validation that wants the opposite gets worse from epoch to epoch.
    model = line_model()
    found = fit.fit(model, line(kind=Line), line(-3), epochs=50, patience=2)
    losses = found.history["val_loss"]
    assert found.best_epoch == 1 + int(np.argmin(losses)) == len(losses) - 2
    kept = model.evaluate(line(-3), verbose=0)
    assert kept == pytest.approx(min(losses), rel=1e-5)
    assert list(dict.fromkeys(entered)) == list(range(len(losses)))
    assert not found.interrupted


def test_without_validation_the_lowest_loss_selects_the_epoch():
    found = fit.fit(line_model(), line(), None, epochs=3, patience=None, monitor="loss")
    assert set(found.history) == {"loss"}
    assert found.best_epoch == 1 + int(np.argmin(found.history["loss"])) > 1
    with pytest.raises(ValueError, match=r"expected a training metric .*val_loss"):
        fit.fit(line_model(), line(), None, epochs=1, patience=None)


class DivergeInTheSecondEpoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.set_weights([np.full((1, 1), np.inf), np.zeros(1)])


def never_finite(wanted, predicted):
    return keras.ops.exp(1000 + 0 * predicted)


@pytest.mark.parametrize(
    ("monitor", "callbacks", "message"),
    [
        (
            "val_loss",
            [DivergeInTheSecondEpoch()],
            r"finite loss .* (inf|nan) in epoch 2, step 1 of 4, at a .* rate of 0\.1 ",
        ),
        ("val_never_finite", [], "expected a finite val_never_finite"),
    ],
)
def test_divergence_is_an_error_that_says_where_it_was(monitor, callbacks, message):
    model = line_model(metrics=[never_finite])
    options = {"epochs": 2, "patience": None, "monitor": monitor}
    with pytest.raises(DivergedError, match=message):
        fit.fit(model, line(), line(), callbacks=callbacks, **options)


class Clock(keras.callbacks.Callback):
    """Epochs of four steps that take some seconds each, and a minute to compile."""

    def __init__(self, seconds):
        super().__init__()
        self.now, self.seconds = 0, iter(np.repeat(np.array(seconds) / 4, 4))

    def on_train_batch_begin(self, batch, logs=None):
        self.now += next(self.seconds) + (0 if self.now else 60)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        # 5 s are not worth a line.
        ((40, 20, 5, 0), ["At most 2 min left", "About 40 s left"]),
        # After 50 s, 40 are no news.
        (
            (14, *[10] * 6),
            ["At most 84 s left", *(f"About {n}0 s left" for n in (5, 3, 2, 1))],
        ),
    ],
)
def test_the_time_left_is_that_of_the_last_epoch_without_the_compilation(
    seconds, expected, monkeypatch, capsys
):
    clock = Clock(seconds)
    monkeypatch.setattr(fit.time, "perf_counter", lambda: clock.now)
    epochs = {"epochs": len(seconds), "patience": None}
    fit.fit(line_model(), line(), line(), callbacks=[clock], **epochs)
    said = [line for line in capsys.readouterr().out.splitlines() if "left" in line]
    assert said == expected


def test_a_history_row_names_its_epoch_and_every_value():
    found = fit.Fit({"loss": [3.0, 2.0], "val_loss": [5.0, 4.0]}, 2, False, 0.1)
    assert found.rows() == [
        {"epoch": 1, "loss": 3.0, "val_loss": 5.0},
        {"epoch": 2, "loss": 2.0, "val_loss": 4.0},
    ]


class PressCtrlC(keras.callbacks.Callback):
    """Presses Ctrl-C in a callback of a step, such as `on_train_batch_end`."""

    def __init__(self, moment, step, epoch=0):
        super().__init__()
        self.wanted, self.steps = (moment, epoch, step), []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.press("on_train_batch_begin", batch)

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(batch)
        self.press("on_train_batch_end", batch)

    def on_test_begin(self, logs=None):
        self.press("on_test_begin", self.steps[-1])

    def press(self, moment, step):
        if (moment, self.epoch, step) == self.wanted:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("hook", "step"),
    [("on_train_batch_end", 1), ("on_train_batch_end", 3), ("on_test_begin", 3)],
)
def test_ctrl_c_ends_after_the_step_and_restores_the_handler(hook, step):
    before, press = signal.getsignal(signal.SIGINT), PressCtrlC(hook, step)
    with fit.stop_on_interrupt() as interrupt:
        fitted = line_model().fit(
            line(),
            validation_data=line(),
            epochs=9,
            verbose=0,
            callbacks=[press, interrupt],
        )
    assert interrupt.asked
    assert press.steps == list(range(step + 1)) and len(fitted.epoch) == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_gives_up_at_once_and_restores_the_handler():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), fit.stop_on_interrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        signal.pause()
    assert signal.getsignal(signal.SIGINT) is before


# Resuming

EPOCHS, STEPS = 3, 5
RNG = np.random.default_rng(0)
IDS, LABELS = RNG.integers(1, 20, (34, 7)), RNG.integers(0, 2, 34)
# Sentences of many lengths, for batches of many shapes.
TEXT = np.where(np.arange(300) % 13 % 5 == 3, END, RNG.integers(4, 20, 300))
TEXT = TEXT.astype("int32")


class Killed(BaseException):
    """What nothing catches."""


class Kill(keras.callbacks.Callback):
    """Ends the training run after a number of its steps, the warm-up included."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_begin(self, batch, logs=None):
        if self.left == 0:
            raise Killed
        self.left -= 1


def of_examples(inputs, *hidden, rate):
    model = keras.Sequential(
        [keras.Input((7,)), *hidden, layers.Dense(1, activation="sigmoid")]
    )
    model.compile(keras.optimizers.Adam(rate), "mse", metrics=["accuracy"])
    train = ExampleBatches(inputs, LABELS[:, None], 7, seed=1)
    held_out = ExampleBatches(inputs[::2], 1 - LABELS[::2, None], 7)
    return model, train, held_out, (), "val_loss"


def dense():
    return of_examples(IDS.astype("float32"), layers.Dropout(0.3), rate=0.03)


def classifier():
    return of_examples(
        IDS,
        layers.Embedding(20, 3, mask_zero=True),
        layers.Dropout(0.3),
        LSTM(4, dropout=0.2, recurrent_dropout=0.2, seed=5),
        rate=keras.optimizers.schedules.CosineDecay(0.03, 15),
    )


def language_model(train, held_out, streams=None):
    lstm = LSTM(4, return_sequences=True, return_state=True)
    parts = build_language_model(20, 4, [lstm], dropout=0.3)
    model = LanguageModelTrainer(parts, 10, 3, streams)
    model.compile(keras.optimizers.AdamW(0.05, global_clipnorm=1.0))
    plateau = keras.callbacks.ReduceLROnPlateau(
        "val_perplexity", factor=0.25, patience=0, mode="min", min_delta=0
    )
    return model, train, held_out, (ResetStates(), plateau), "val_perplexity"


def of_sentences():
    train, held_out = sentences(TEXT), sentences(TEXT[:90])
    return language_model(
        SentenceBatches(train, 8, seed=2), SentenceBatches(held_out, 8)
    )


def of_stream():
    windows = StreamWindows(TEXT, 4, 9), StreamWindows(TEXT[:90], 4, 9)
    return language_model(*windows, streams=4)


def train(task=dense, to=None, *callbacks, **options):
    keras.utils.set_random_seed(3)
    model, batches, held_out, followed, monitor = task()
    found = fit.fit(
        model,
        batches,
        held_out,
        **{"epochs": EPOCHS, "patience": 9, "monitor": monitor} | options,
        callbacks=[*followed, *callbacks],
        to=to,
    )
    return found, model.get_weights()


@functools.cache
def whole(task):
    """The training run that nothing happens to."""
    return train(task)


def assert_same(found, expected):
    (one, weights), (other, other_weights) = found, expected
    assert one.history == other.history
    assert one.best_epoch == other.best_epoch
    for value, wanted in zip(weights, other_weights, strict=True):
        np.testing.assert_array_equal(value, wanted)


@pytest.fixture
def to(tmp_path):
    """A checkpoint after every step."""
    return Checkpoint(tmp_path / "checkpoint.npz", seconds=0)


@pytest.fixture
def rarely(tmp_path):
    """A checkpoint after every epoch."""
    return Checkpoint(tmp_path / "checkpoint.npz", seconds=1e9)


def state_of(to):
    facts = checkpoint.read(to.path).facts
    return facts["epoch"], facts["step"], len(facts["history"].get("val_loss", ()))


@pytest.mark.parametrize(
    "task",
    [
        dense,
        *(
            pytest.param(task, marks=pytest.mark.thorough)
            for task in (classifier, of_sentences, of_stream)
        ),
    ],
)
def test_a_killed_training_run_resumes_to_the_same_end(task, to):
    """It is killed in its first epoch, and in its last one, after a whole one."""
    for steps in (1, WARM_UP + 2 * STEPS + 1):
        with pytest.raises(Killed):
            train(task, to, Kill(steps))
    assert_same(train(task, to), whole(task))
    assert_same(train(task, to, Kill(0)), whole(task))  # finished: not trained again


def test_a_training_run_resumes_between_two_epochs_and_counts_the_seconds_before(
    rarely,
):
    with pytest.raises(Killed):
        train(dense, rarely, Kill(STEPS + 3))
    assert state_of(rarely) == (1, 0, 1)
    state = checkpoint.read(rarely.path)
    state.facts["seconds"] = 1000.0
    checkpoint.write(rarely.path, state)
    found = train(dense, rarely)
    assert_same(found, whole(dense))
    assert 1000 < found[0].seconds < 2000


def test_an_interruption_leaves_a_checkpoint_of_its_step_also_while_warming_up(rarely):
    found, _ = train(dense, rarely, PressCtrlC("on_train_batch_begin", 2, epoch=1))
    assert found.interrupted and len(found.history["loss"]) == 2  # one is cut
    assert state_of(rarely) == (1, 3, 1)
    found, _ = train(dense, rarely, PressCtrlC("on_train_batch_begin", 0, epoch=1))
    assert found.interrupted
    assert state_of(rarely) == (1, 3, 1)
    assert_same(train(dense, rarely), whole(dense))


def test_an_interruption_before_the_first_step_waits_for_it(rarely):
    class Pressing(type(rarely.path)):
        def exists(self):
            signal.raise_signal(signal.SIGINT)
            return super().exists()

    found, _ = train(dense, Checkpoint(Pressing(rarely.path), seconds=1e9))
    assert found.interrupted and len(found.history["loss"]) == 1
    assert state_of(rarely) == (0, 1, 0)


class Worse(keras.callbacks.Callback):
    """Validation that gets worse after an epoch."""

    def __init__(self, best):
        super().__init__()
        self.best = best

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = float(abs(epoch - self.best))


@pytest.mark.thorough
def test_early_stopping_resumes_with_its_state(to):
    options = {"epochs": 9, "patience": 3}
    expected = train(dense, None, Worse(1), **options)
    assert len(expected[0].history["loss"]) == 2 + 3 and expected[0].best_epoch == 2
    for steps in (STEPS * 3 + 2, WARM_UP + 4):
        with pytest.raises(Killed):
            train(dense, to, Worse(1), Kill(steps), **options)
    assert_same(train(dense, to, Worse(1), **options), expected)
    assert_same(train(dense, to, Worse(1), Kill(0), **options), expected)


def test_early_stopping_in_the_epoch_that_ctrl_c_ends_is_remembered(rarely):
    press, options = (
        PressCtrlC("on_train_batch_end", STEPS - 1, epoch=1),
        {"patience": 1},
    )
    assert train(dense, rarely, Worse(0), press, **options)[0].interrupted
    found, _ = train(dense, rarely, Worse(0), Kill(0), **options)
    assert len(found.history["loss"]) == 2 and found.best_epoch == 1


def test_weights_that_are_not_finite_do_not_replace_the_checkpoint(to):
    class Spoil(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 3:
                weights = self.model.get_weights()
                self.model.set_weights([np.full_like(one, np.nan) for one in weights])

    with pytest.raises(DivergedError, match="step 4 of 5, at a learning rate"):
        train(dense, to, Spoil())
    assert checkpoint.read(to.path).finite and state_of(to) == (0, 3, 0)
