"""A training that is kept goes on to the same end, on every backend.

The oracle is the same training without a stop: history and weights, bit for bit.
"""

import signal

import keras
import numpy as np
import pytest
from keras import layers

from experiments import checkpoint, training
from lstm_keras import LSTM
from lstm_keras.language_model.model import LanguageModelTrainer, build_language_model
from lstm_keras.language_model.training import (
    ResetStates,
    SentenceBatches,
    StreamWindows,
)
from lstm_keras.preprocessing.batches import WARM_UP, ExampleBatches
from lstm_keras.preprocessing.next_word import sentences
from lstm_keras.preprocessing.vocabulary import END

EPOCHS = 3
RNG = np.random.default_rng(0)
IDS, LABELS = RNG.integers(1, 20, (34, 7)), RNG.integers(0, 2, 34)
# Sentences of many lengths, for batches of many shapes.
TEXT = np.where(np.arange(300) % 13 % 5 == 3, END, RNG.integers(4, 20, 300))
TEXT = TEXT.astype("int32")


class Killed(BaseException):
    """What nothing catches."""


class Kill(keras.callbacks.Callback):
    """Ends the training after so many of its steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_begin(self, batch, logs=None):
        if self.left == 0:
            raise Killed
        self.left -= 1


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


TRAININGS = {
    "classifier": lambda: (*classifier(LSTM), "val_loss"),
    "built-in classifier": lambda: (*classifier(layers.LSTM), "val_loss"),
    "sentences": lambda: (*language_model(LSTM, False), "val_perplexity"),
    "stream": lambda: (*language_model(LSTM, True), "val_perplexity"),
}


def fit(kind, kept=None, *callbacks, **options):
    keras.utils.set_random_seed(3)
    model, train, held_out, followed, monitor = TRAININGS[kind]()
    found = training.fit(
        *(model, train, held_out),
        **{"epochs": EPOCHS, "patience": 9, "monitor": monitor} | options,
        callbacks=[*followed, *callbacks],
        kept=kept,
    )
    return found, model.get_weights()


def assert_same(found, whole):
    (fit, weights), (other_fit, other_weights) = found, whole
    assert fit.history == other_fit.history
    assert fit.best_epoch == other_fit.best_epoch
    for one, other in zip(weights, other_weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module", params=TRAININGS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def whole(kind):
    return fit(kind)


def test_a_killed_training_that_goes_on_ends_as_if_it_was_not(kind, whole, tmp_path):
    kept = training.Kept(tmp_path / "kept.npz", seconds=0)
    for steps in (1, 8, 7):
        with pytest.raises(Killed):
            fit(kind, kept, Kill(steps))
    assert_same(fit(kind, kept), whole)


def test_a_finished_training_is_not_made_again(kind, whole, tmp_path):
    kept = training.Kept(tmp_path / "kept.npz", seconds=1e9)
    assert_same(fit(kind, kept), whole)
    assert_same(fit(kind, kept, Kill(0)), whole)


def test_epochs_are_kept_whatever_the_seconds(tmp_path):
    kept = training.Kept(tmp_path / "kept.npz", seconds=1e9)
    with pytest.raises(Killed):
        fit("classifier", kept, Kill(5 + 3))
    facts = checkpoint.read(kept.path).facts
    assert (facts["epoch"], facts["step"]) == (1, 0)


def test_an_interruption_is_kept_at_its_step_and_not_with_the_epoch_it_cut(tmp_path):
    kept = training.Kept(tmp_path / "kept.npz", seconds=1e9)

    class Press(Kill):
        def on_train_batch_begin(self, batch, logs=None):
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)

    found, _ = fit("classifier", kept, Press(5 + 3))
    assert found.interrupted and len(found.history["loss"]) == 2
    state = checkpoint.read(kept.path)
    assert (state.facts["epoch"], state.facts["step"]) == (1, 3)
    assert len(state.facts["history"]["loss"]) == 1
    assert_same(fit("classifier", kept), fit("classifier"))


def test_an_interruption_while_the_first_batches_are_warmed_up_does_no_harm(tmp_path):
    kept = training.Kept(tmp_path / "kept.npz", seconds=0)
    with pytest.raises(Killed):
        fit("classifier", kept, Kill(3))

    class Press(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 0:
                signal.raise_signal(signal.SIGINT)

    found, _ = fit("classifier", kept, Press())
    assert found.interrupted
    # Stopped by the first step of its own.
    assert checkpoint.read(kept.path).facts["step"] in (3, 4)
    assert_same(fit("classifier", kept), fit("classifier"))


def test_early_stopping_knows_after_a_stop_what_it_knew(tmp_path):
    class Worse(keras.callbacks.Callback):
        """Validation that gets worse after the second epoch."""

        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = float(abs(epoch - 1))

    def run(kept=None, *callbacks):
        return fit("classifier", kept, Worse(), *callbacks, epochs=9, patience=3)

    whole = run()
    assert len(whole[0].history["loss"]) == 2 + 3 and whole[0].best_epoch == 2
    kept = training.Kept(tmp_path / "kept.npz", seconds=0)
    for steps in (5 * 3 + 2, WARM_UP + 4):
        with pytest.raises(Killed):
            run(kept, Kill(steps))
    assert_same(run(kept), whole)
    assert_same(run(kept, Kill(0)), whole)


def test_weights_that_are_not_finite_do_not_replace_what_is_kept(tmp_path):
    kept = training.Kept(tmp_path / "kept.npz", seconds=0)

    class Spoil(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 3:
                weights = self.model.get_weights()
                self.model.set_weights([np.full_like(one, np.nan) for one in weights])

    with pytest.raises(training.DivergedError, match="step 4 of 5, at a learning rate"):
        fit("classifier", kept, Spoil())
    state = checkpoint.read(kept.path)
    assert state.finite and state.facts["step"] == 3


def test_a_training_that_goes_on_counts_the_seconds_before(tmp_path):
    kept = training.Kept(tmp_path / "kept.npz", seconds=0)
    with pytest.raises(Killed):
        fit("classifier", kept, Kill(4))
    state = checkpoint.read(kept.path)
    state.facts["seconds"] = 1000.0
    checkpoint.write(kept.path, state)
    found, _ = fit("classifier", kept)
    assert 1000 < found.seconds < 2000
