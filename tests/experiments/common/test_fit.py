"""Training runs: the best epoch, Ctrl-C, and resuming, on every backend.

The oracle of a resumed run is the same run without a stop: history and weights, bit for
bit.
"""

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


def line_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def line(factor=3, size=32):
    x = np.random.default_rng(0).normal(size=(size, 1)).astype("float32")
    return ExampleBatches(x, factor * x, 8, seed=0)


def test_the_model_ends_with_the_weights_of_the_best_epoch():
    # Validation that wants the opposite gets worse from epoch to epoch.
    model = line_model()
    found = fit.fit(model, line(), line(-3), epochs=4, patience=None)
    losses = found.history["val_loss"]
    assert len(losses) == 4
    assert found.best_epoch == 1 + int(np.argmin(losses))
    kept = model.evaluate(line(-3), verbose=0)
    assert kept == pytest.approx(min(losses), rel=1e-5)
    assert not found.interrupted


def test_patience_ends_a_training_run_that_gets_no_better():
    found = fit.fit(line_model(), line(), line(-3), epochs=50, patience=2)
    assert len(found.history["loss"]) == found.best_epoch + 2


class DivergeInTheSecondEpoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.set_weights([np.full((1, 1), np.inf), np.zeros(1)])


def test_divergence_is_an_error_that_names_step_and_learning_rate():
    message = r"finite loss .* (inf|nan) in epoch 2, step 1 of 4, at a .* rate of 0\.1 "
    with pytest.raises(DivergedError, match=message):
        fit.fit(
            line_model(),
            line(),
            line(),
            epochs=5,
            patience=None,
            callbacks=[DivergeInTheSecondEpoch()],
        )


def test_another_value_than_the_validation_loss_can_select_the_epoch():
    found = fit.fit(
        line_model(), line(), line(-3), epochs=4, patience=None, monitor="loss"
    )
    assert np.argmin(found.history["val_loss"]) == 0
    assert found.best_epoch == 1 + int(np.argmin(found.history["loss"])) > 1


def test_without_validation_the_lowest_loss_selects_the_epoch():
    found = fit.fit(line_model(), line(), None, epochs=3, patience=None, monitor="loss")
    assert set(found.history) == {"loss"}
    assert found.best_epoch == 1 + int(np.argmin(found.history["loss"])) > 1


def test_a_validation_loss_needs_something_to_validate_on():
    with pytest.raises(ValueError, match=r"expected a training metric .*val_loss"):
        fit.fit(line_model(), line(), None, epochs=1, patience=None)


def test_the_epochs_are_entered_one_after_the_other():
    entered = []

    class Line(ExampleBatches):
        def enter(self, epoch, step=0):
            entered.append(epoch)
            super().enter(epoch, step)

    x = np.ones((4, 1))
    fit.fit(line_model(), Line(x, x, 2), line(), epochs=3, patience=None)
    assert list(dict.fromkeys(entered)) == [0, 1, 2]


def test_a_history_row_names_its_epoch_and_every_value():
    found = fit.Fit({"loss": [3.0, 2.0], "val_loss": [5.0, 4.0]}, 2, False, 0.1)
    assert found.rows() == [
        {"epoch": 1, "loss": 3.0, "val_loss": 5.0},
        {"epoch": 2, "loss": 2.0, "val_loss": 4.0},
    ]


def test_ctrl_c_ends_after_the_batch_and_restores_the_handler():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    class PressCtrlC(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)
            if len(seen) == 2:
                signal.raise_signal(signal.SIGINT)

    with fit.stop_on_interrupt() as interrupt:
        line_model().fit(
            line(),
            epochs=9,
            verbose=0,
            callbacks=[PressCtrlC(), interrupt],
        )
    assert interrupt.asked
    assert len(seen) == 2
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("hook", ["on_test_begin", "on_train_batch_end"])
def test_ctrl_c_in_the_last_step_or_the_validation_ends_with_the_epoch(hook):

    class PressCtrlC(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            self.press("on_test_begin", 3)

        def on_train_batch_end(self, batch, logs=None):
            self.press("on_train_batch_end", batch)

        def press(self, where, batch):
            if where == hook and batch == 3:
                signal.raise_signal(signal.SIGINT)

    with fit.stop_on_interrupt() as interrupt:
        fitted = line_model().fit(
            line(),
            validation_data=line(),
            epochs=9,
            verbose=0,
            callbacks=[PressCtrlC(), interrupt],
        )
    assert interrupt.asked
    assert len(fitted.epoch) == 1


def test_a_second_ctrl_c_gives_up_at_once_and_restores_the_handler():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), fit.stop_on_interrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        signal.pause()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_training_run_that_fails_restores_the_handler_of_ctrl_c():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Exception, match="shape"):
        fit.fit(
            line_model(),
            ExampleBatches(np.ones((8, 3, 5)), np.ones((8, 1)), 8),
            line(),
            epochs=1,
            patience=None,
        )
    assert signal.getsignal(signal.SIGINT) is before


def test_a_monitored_value_that_is_never_finite_is_a_divergence():
    def perplexity(wanted, predicted):
        return keras.ops.exp(1000 + 0 * predicted)

    model = line_model()
    model.compile("sgd", "mse", metrics=[perplexity])
    with pytest.raises(DivergedError, match="expected a finite val_perplex"):
        fit.fit(
            *(model, line(), line()),
            epochs=2,
            patience=None,
            monitor="val_perplexity",
        )


# Resuming

EPOCHS = 3
QUICK = ("dense", "stream")
RNG = np.random.default_rng(0)
IDS, LABELS = RNG.integers(1, 20, (34, 7)), RNG.integers(0, 2, 34)
# Sentences of many lengths, for batches of many shapes.
TEXT = np.where(np.arange(300) % 13 % 5 == 3, END, RNG.integers(4, 20, 300))
TEXT = TEXT.astype("int32")


class Killed(BaseException):
    """What nothing catches."""


class Kill(keras.callbacks.Callback):
    """Ends the training run after a number of its steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_begin(self, batch, logs=None):
        if self.left == 0:
            raise Killed
        self.left -= 1


def dense():
    model = keras.Sequential(
        [keras.Input((7,)), layers.Dropout(0.3), layers.Dense(1, activation="sigmoid")]
    )
    model.compile(keras.optimizers.Adam(0.03), "mse", metrics=["accuracy"])
    features = IDS.astype("float32")
    train = ExampleBatches(features, LABELS[:, None], 7, seed=1)
    return model, train, ExampleBatches(features[::2], 1 - LABELS[::2, None], 7), ()


def classifier(layer):
    model = keras.Sequential(
        [
            keras.Input((7,)),
            layers.Embedding(20, 3, mask_zero=True),
            layers.Dropout(0.3),
            layer(4, dropout=0.2, recurrent_dropout=0.2, seed=5),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(0.03, 15)
    model.compile(keras.optimizers.Adam(rate), "mse", metrics=["accuracy"])
    train = ExampleBatches(IDS, LABELS[:, None], 7, seed=1)
    return model, train, ExampleBatches(IDS[::2], 1 - LABELS[::2, None], 7), ()


def language_model(layer, stream):
    recurrent = [layer(4, return_sequences=True, return_state=True) for _ in range(2)]
    parts = build_language_model(20, 4, recurrent, dropout=0.3)
    model = LanguageModelTrainer(parts, 10, 3, 4 if stream else None)
    model.compile(keras.optimizers.AdamW(0.05, global_clipnorm=1.0))
    if stream:
        train, held_out = StreamWindows(TEXT, 4, 9), StreamWindows(TEXT[:90], 4, 9)
    else:
        train = SentenceBatches(sentences(TEXT), 8, seed=2)
        held_out = SentenceBatches(sentences(TEXT[:90]), 8)
    plateau = keras.callbacks.ReduceLROnPlateau(
        "val_perplexity", factor=0.25, patience=0, mode="min", min_delta=0
    )
    return model, train, held_out, (ResetStates(), plateau)


TASKS = {
    "dense": lambda: (*dense(), "val_loss"),
    "classifier": lambda: (*classifier(LSTM), "val_loss"),
    "built-in classifier": lambda: (*classifier(layers.LSTM), "val_loss"),
    "sentences": lambda: (*language_model(LSTM, False), "val_perplexity"),
    "stream": lambda: (*language_model(LSTM, True), "val_perplexity"),
}


def train(kind, to=None, *callbacks, **options):
    keras.utils.set_random_seed(3)
    model, batches, held_out, followed, monitor = TASKS[kind]()
    found = fit.fit(
        model,
        batches,
        held_out,
        **{"epochs": EPOCHS, "patience": 9, "monitor": monitor} | options,
        callbacks=[*followed, *callbacks],
        to=to,
    )
    return found, model.get_weights()


def assert_same(found, whole):
    (one, weights), (other, other_weights) = found, whole
    assert one.history == other.history
    assert one.best_epoch == other.best_epoch
    for value, expected in zip(weights, other_weights, strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=[] if kind in QUICK else pytest.mark.thorough)
        for kind in TASKS
    ],
)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def whole(kind):
    """The training run that nothing happens to."""
    return train(kind)


def test_a_killed_training_run_resumes_to_the_same_end(kind, whole, tmp_path):
    to = Checkpoint(tmp_path / "checkpoint.npz", seconds=0)
    for steps in (1, 8, 7):
        with pytest.raises(Killed):
            train(kind, to, Kill(steps))
    assert_same(train(kind, to), whole)
    assert_same(train(kind, to, Kill(0)), whole)  # finished: not trained again


def test_a_finished_training_run_is_not_trained_again_whatever_the_seconds(tmp_path):
    to = Checkpoint(tmp_path / "checkpoint.npz", seconds=1e9)
    whole = train("dense", to)
    assert_same(whole, train("dense"))
    assert_same(train("dense", to, Kill(0)), whole)


def test_there_is_a_checkpoint_after_each_epoch_whatever_the_seconds(tmp_path):
    to = Checkpoint(tmp_path / "checkpoint.npz", seconds=1e9)
    with pytest.raises(Killed):
        train("dense", to, Kill(5 + 3))
    facts = checkpoint.read(to.path).facts
    assert (facts["epoch"], facts["step"]) == (1, 0)


def test_the_checkpoint_of_an_interruption_is_of_its_step_not_of_the_cut_epoch(
    tmp_path,
):
    to = Checkpoint(tmp_path / "checkpoint.npz", seconds=1e9)

    class Press(Kill):
        def on_train_batch_begin(self, batch, logs=None):
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)

    found, _ = train("dense", to, Press(5 + 3))
    assert found.interrupted and len(found.history["loss"]) == 2
    state = checkpoint.read(to.path)
    assert (state.facts["epoch"], state.facts["step"]) == (1, 3)
    assert len(state.facts["history"]["loss"]) == 1
    assert_same(train("dense", to), train("dense"))


def test_an_interruption_while_warming_up_does_no_harm(tmp_path):
    to = Checkpoint(tmp_path / "checkpoint.npz", seconds=0)
    with pytest.raises(Killed):
        train("dense", to, Kill(3))

    class Press(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 0:
                signal.raise_signal(signal.SIGINT)

    found, _ = train("dense", to, Press())
    assert found.interrupted
    # Stopped by the first step of its own.
    assert checkpoint.read(to.path).facts["step"] in (3, 4)
    assert_same(train("dense", to), train("dense"))


def test_an_interruption_before_the_first_step_waits_for_it(tmp_path):
    class Pressing(type(tmp_path)):
        def exists(self):
            signal.raise_signal(signal.SIGINT)
            return super().exists()

    path = tmp_path / "checkpoint.npz"
    found, _ = train("dense", Checkpoint(Pressing(path), seconds=1e9))
    assert found.interrupted and len(found.history["loss"]) == 1
    assert checkpoint.read(path).facts["step"] == 1
    assert_same(train("dense", Checkpoint(path, seconds=1e9)), train("dense"))


@pytest.mark.thorough
def test_early_stopping_resumes_with_its_state(tmp_path):
    class Worse(keras.callbacks.Callback):
        """Validation that gets worse after the second epoch."""

        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = float(abs(epoch - 1))

    def run(to=None, *callbacks):
        return train("dense", to, Worse(), *callbacks, epochs=9, patience=3)

    whole = run()
    assert len(whole[0].history["loss"]) == 2 + 3 and whole[0].best_epoch == 2
    to = Checkpoint(tmp_path / "checkpoint.npz", seconds=0)
    for steps in (5 * 3 + 2, WARM_UP + 4):
        with pytest.raises(Killed):
            run(to, Kill(steps))
    assert_same(run(to), whole)
    assert_same(run(to, Kill(0)), whole)


def test_weights_that_are_not_finite_do_not_replace_the_checkpoint(tmp_path):
    to = Checkpoint(tmp_path / "checkpoint.npz", seconds=0)

    class Spoil(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 3:
                weights = self.model.get_weights()
                self.model.set_weights([np.full_like(one, np.nan) for one in weights])

    with pytest.raises(DivergedError, match="step 4 of 5, at a learning rate"):
        train("dense", to, Spoil())
    state = checkpoint.read(to.path)
    assert state.finite and state.facts["step"] == 3


def test_a_resumed_training_run_counts_the_seconds_before(tmp_path):
    to = Checkpoint(tmp_path / "checkpoint.npz", seconds=0)
    with pytest.raises(Killed):
        train("dense", to, Kill(4))
    state = checkpoint.read(to.path)
    state.facts["seconds"] = 1000.0
    checkpoint.write(to.path, state)
    found, _ = train("dense", to)
    assert 1000 < found.seconds < 2000


def test_early_stopping_in_the_epoch_that_ctrl_c_ends_is_remembered(tmp_path):
    class Worse(keras.callbacks.Callback):
        """Validation that gets worse from epoch to epoch; Ctrl-C in a last step."""

        press = False

        def on_train_batch_end(self, batch, logs=None):
            if self.press and batch == 4 and self.epoch == 1:
                signal.raise_signal(signal.SIGINT)

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = float(epoch)

    class Pressed(Worse):
        press = True

    options = {"epochs": 9, "patience": 1}
    whole = train("dense", None, Worse(), **options)
    assert len(whole[0].history["loss"]) == 2
    to = Checkpoint(tmp_path / "checkpoint.npz", seconds=1e9)
    assert train("dense", to, Pressed(), **options)[0].interrupted
    assert_same(train("dense", to, Worse(), **options), whole)
