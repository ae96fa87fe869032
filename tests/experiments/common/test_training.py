"""Training: the best epoch is kept, and Ctrl-C is no accident."""

import os
import signal

import keras
import numpy as np
import pytest

from experiments import training
from lstm_keras.preprocessing.batches import ExampleBatches


def line_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def line(factor=3, size=32):
    x = np.random.default_rng(0).normal(size=(size, 1)).astype("float32")
    return ExampleBatches(x, factor * x, 8, seed=0)


def test_the_weights_of_the_best_epoch_are_kept():
    # Validation that wants the opposite gets worse from epoch to epoch.
    model = line_model()
    fit = training.fit(model, line(), line(-3), epochs=4, patience=None)
    losses = fit.history["val_loss"]
    assert len(losses) == 4
    assert fit.best_epoch == 1 + int(np.argmin(losses))
    kept = model.evaluate(line(-3), verbose=0)
    assert kept == pytest.approx(min(losses), rel=1e-5)
    assert not fit.interrupted


def test_patience_ends_a_training_that_gets_no_better():
    fit = training.fit(line_model(), line(), line(-3), epochs=50, patience=2)
    assert len(fit.history["loss"]) == fit.best_epoch + 2


class DivergeInTheSecondEpoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.set_weights([np.full((1, 1), np.inf), np.zeros(1)])


def test_a_diverging_training_is_an_error_that_names_step_and_learning_rate():
    message = r"finite loss .* (inf|nan) in epoch 2, step 1 of 4, at a .* rate of 0\.1 "
    with pytest.raises(training.DivergedError, match=message):
        training.fit(
            line_model(),
            line(),
            line(),
            epochs=5,
            patience=None,
            callbacks=[DivergeInTheSecondEpoch()],
        )


def test_another_value_than_the_validation_loss_chooses_the_best_epoch():
    fit = training.fit(
        line_model(), line(), line(-3), epochs=4, patience=None, monitor="loss"
    )
    assert np.argmin(fit.history["val_loss"]) == 0
    assert fit.best_epoch == 1 + int(np.argmin(fit.history["loss"])) > 1


def test_a_training_without_validation_keeps_the_epoch_of_the_lowest_loss():
    fit = training.fit(
        line_model(), line(), None, epochs=3, patience=None, monitor="loss"
    )
    assert set(fit.history) == {"loss"}
    assert fit.best_epoch == 1 + int(np.argmin(fit.history["loss"])) > 1


def test_a_validation_loss_needs_something_to_validate_on():
    with pytest.raises(ValueError, match=r"expected a value of .*val_loss"):
        training.fit(line_model(), line(), None, epochs=1, patience=None)


def test_the_epochs_are_entered_one_after_the_other():
    entered = []

    class Line(ExampleBatches):
        def enter(self, epoch, step=0):
            entered.append(epoch)
            super().enter(epoch, step)

    x = np.ones((4, 1))
    training.fit(line_model(), Line(x, x, 2), line(), epochs=3, patience=None)
    assert list(dict.fromkeys(entered)) == [0, 1, 2]


def test_a_history_row_names_its_epoch_and_every_value():
    fit = training.Fit({"loss": [3.0, 2.0], "val_loss": [5.0, 4.0]}, 2, False, 0.1)
    assert training.history_rows(fit) == [
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
                os.kill(os.getpid(), signal.SIGINT)

    with training.stop_on_interrupt() as interrupt:
        line_model().fit(
            line(),
            epochs=9,
            verbose=0,
            callbacks=[PressCtrlC(), interrupt],
        )
    assert interrupt.interrupted
    assert len(seen) == 2
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("epochs", "interrupted"), [(9, True), (1, False)])
def test_ctrl_c_during_a_validation_interrupts_only_if_epochs_remain(
    epochs, interrupted
):

    class PressCtrlC(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            os.kill(os.getpid(), signal.SIGINT)

    with training.stop_on_interrupt() as interrupt:
        fitted = line_model().fit(
            line(),
            validation_data=line(),
            epochs=epochs,
            verbose=0,
            callbacks=[PressCtrlC(), interrupt],
        )
    assert interrupt.interrupted is interrupted
    assert len(fitted.epoch) == 1


def test_a_second_ctrl_c_gives_up_at_once_and_restores_the_handler():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), training.stop_on_interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_training_that_fails_leaves_ctrl_c_as_it_was():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Exception, match="shape"):
        training.fit(
            line_model(),
            ExampleBatches(np.ones((8, 3, 5)), np.ones((8, 1)), 8),
            line(),
            epochs=1,
            patience=None,
        )
    assert signal.getsignal(signal.SIGINT) is before


def test_spread_is_mean_and_sample_deviation():
    spread = training.spread([1.0, 2.0, 6.0])
    assert spread["mean"] == pytest.approx(3)
    assert spread["standard_deviation"] == pytest.approx(np.sqrt((4 + 1 + 9) / 2))
    assert training.spread([1.0])["standard_deviation"] is None


def test_a_monitored_value_that_is_never_finite_is_a_divergence():
    def perplexity(wanted, predicted):
        return keras.ops.exp(1000 + 0 * predicted)

    model = line_model()
    model.compile("sgd", "mse", metrics=[perplexity])
    with pytest.raises(training.DivergedError, match="expected a finite val_perplex"):
        training.fit(
            *(model, line(), line()),
            epochs=2,
            patience=None,
            monitor="val_perplexity",
        )
