"""The next-word model: its parts, its training, its scores."""

import keras
import numpy as np
import pytest

from lstm_keras import LSTM
from lstm_keras.language_model.model import (
    TiedEmbedding,
    build_language_model,
)
from lstm_keras.language_model.training import LanguageModelTrainer, start_at_unigrams

WORDS = 30


def parts_of(units=(6,), embedding=5, kind=LSTM, **options):
    keras.utils.set_random_seed(0)
    layers = [kind(size, return_sequences=True, return_state=True) for size in units]
    return build_language_model(WORDS, embedding, layers, **options)


def examples(batch=4, time=7):
    rng = np.random.default_rng(1)
    inputs = rng.integers(1, WORDS, (batch, time)).astype("int32")
    targets = rng.integers(1, WORDS, (batch, time)).astype("int32")
    targets[0, -2:] = 0
    return inputs, targets


def log_softmax(logits):
    logits = np.asarray(logits, "float64")
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_the_plain_model_is_embedding_lstm_dense():
    model = parts_of(units=(150,), embedding=100).model
    kinds = [type(layer) for layer in model.layers[1:]]
    assert kinds == [keras.layers.Embedding, LSTM, keras.layers.Dense]
    assert model.count_params() == (
        WORDS * 100 + 4 * 150 * (100 + 150 + 1) + (150 + 1) * WORDS
    )


def call(model, inputs):
    """The outputs of a model without compiling it."""
    return keras.ops.convert_to_numpy(model(inputs))


def test_tied_logits_are_products_with_the_embedding_and_are_saved(tmp_path):
    parts = parts_of(units=(5,), tied=True, dropout=0.3)
    inputs, _ = examples()
    parts.head.bias.assign(np.arange(WORDS))
    vectors = parts.head.get_weights()[0]
    logits = call(parts.model, inputs)
    expected = call(parts.body, inputs) @ vectors.T + np.arange(WORDS)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert isinstance(parts.head, TiedEmbedding)
    parts.model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(call(again, inputs), logits)


def test_tied_weights_need_equal_sizes():
    with pytest.raises(ValueError, match=r"expected tied weights .* 5; received 6"):
        parts_of(units=(6,), tied=True)


def test_dropout_has_one_mask_for_all_steps():
    parts = parts_of(units=(8, 7), dropout=0.5)
    drops = [
        layer for layer in parts.model.layers if isinstance(layer, keras.layers.Dropout)
    ]
    assert len(drops) == 3
    ones = np.ones((3, 9, 5), "float32")
    dropped = keras.ops.convert_to_numpy(drops[0](ones, training=True))
    assert (dropped == dropped[:, :1]).all()
    assert set(np.unique(dropped)) == {0, 2}


def test_an_untrained_model_knows_the_unigrams():
    parts = parts_of()
    counts = np.arange(WORDS, dtype=float)
    start_at_unigrams(parts.head, counts)
    inputs, _ = examples(batch=1, time=1)
    parts.body.layers[-1].set_weights(
        [np.zeros_like(w) for w in parts.body.layers[-1].get_weights()]
    )
    probabilities = np.exp(log_softmax(call(parts.model, inputs)))
    np.testing.assert_allclose(
        probabilities[0, 0], (counts + 0.1) / (counts + 0.1).sum(), rtol=1e-4
    )


def test_a_step_of_the_trainer_is_a_step_of_keras_on_the_whole_model():
    inputs, targets = examples()
    ours, theirs = parts_of(), parts_of(kind=keras.layers.LSTM)
    theirs.model.set_weights(ours.model.get_weights())
    trainer = LanguageModelTrainer(ours, samples=1000)  # more than there are
    trainer.compile(keras.optimizers.SGD(0.5))
    trainer.train_on_batch(inputs, targets)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    theirs.model.compile(keras.optimizers.SGD(0.5), loss, run_eagerly=True)
    real = (targets != 0).astype("float32")
    theirs.model.train_on_batch(inputs, targets, sample_weight=real / real.sum())
    weights = (parts.model.get_weights() for parts in (ours, theirs))
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.thorough
def test_a_sampled_softmax_trains_and_is_evaluated_over_all_words():
    parts = parts_of()
    trainer = LanguageModelTrainer(parts, samples=12)
    trainer.compile(keras.optimizers.Adam(0.1))
    inputs, targets = examples()
    before = trainer.evaluate(inputs, targets, verbose=0, return_dict=True)
    trainer.fit(inputs, targets, epochs=30, verbose=0)
    after = trainer.evaluate(inputs, targets, verbose=0, return_dict=True)
    assert after["perplexity"] < before["perplexity"] / 3
    exact = LanguageModelTrainer(parts)
    exact.compile()
    assert exact.evaluate(inputs, targets, verbose=0, return_dict=True)[
        "perplexity"
    ] == pytest.approx(after["perplexity"], rel=1e-5)


def test_states_are_carried_from_window_to_window_until_they_are_reset():
    """What the trainer reads in two batches is what the model reads in one."""
    inputs, targets = examples(time=6)
    parts = parts_of(units=(6, 4))
    for weight in parts.model.trainable_weights:  # far from zero: states tell
        weight.assign(np.random.default_rng(2).normal(size=weight.shape))
    trainer = LanguageModelTrainer(parts, streams=4)
    trainer.compile("sgd")
    log_probabilities = log_softmax(call(parts.model, inputs))
    true = np.take_along_axis(log_probabilities, targets[..., None], axis=2)[..., 0]
    for _ in range(2):
        trainer.reset_states()
        for cut in (slice(0, 3), slice(3, 6)):
            trainer.reset_metrics()
            loss, _ = trainer.test_on_batch(inputs[:, cut], targets[:, cut])
            counted = true[:, cut][targets[:, cut] != 0]
            assert float(loss) == pytest.approx(-counted.mean(), rel=1e-5)
