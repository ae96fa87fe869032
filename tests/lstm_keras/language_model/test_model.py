"""The next-word model: its parts, its training, its scores."""

import keras
import numpy as np
import pytest

from lstm_keras import LSTM
from lstm_keras.language_model.model import (
    TiedEmbedding,
    build_language_model,
    zero_states,
)
from lstm_keras.language_model.training import LanguageModelTrainer, start_at_unigrams

WORDS = 30


def parts_of(units=(6,), embedding=5, seed=0, **options):
    keras.utils.set_random_seed(seed)
    layers = [LSTM(size, return_sequences=True, return_state=True) for size in units]
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


def test_tied_logits_are_products_with_the_embedding():
    parts = parts_of(units=(5,), tied=True)
    inputs, _ = examples()
    parts.head.bias.assign(np.arange(WORDS))
    hidden = parts.body.predict(inputs, verbose=0)
    vectors = parts.head.get_weights()[0]
    np.testing.assert_allclose(
        parts.model.predict(inputs, verbose=0),
        hidden @ vectors.T + np.arange(WORDS),
        atol=1e-5,
    )
    assert isinstance(parts.head, TiedEmbedding)


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
    dropped = np.asarray(keras.ops.convert_to_numpy(drops[0](ones, training=True)))
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
    probabilities = np.exp(log_softmax(parts.model.predict(inputs, verbose=0)))
    np.testing.assert_allclose(
        probabilities[0, 0], (counts + 0.1) / (counts + 0.1).sum(), rtol=1e-4
    )


@pytest.mark.parametrize("samples", [None, 1000], ids=["all words", "more than all"])
def test_loss_and_perplexity_are_those_of_the_logits(samples):
    parts = parts_of()
    trainer = LanguageModelTrainer(parts, samples)
    trainer.compile("sgd")
    inputs, targets = examples()
    log_probabilities = log_softmax(parts.model.predict(inputs, verbose=0))
    true = np.take_along_axis(log_probabilities, targets[..., None], axis=2)[..., 0]
    loss = -true[targets != 0].mean()
    results = trainer.evaluate(inputs, targets, verbose=0, return_dict=True)
    assert results["loss"] == pytest.approx(loss, rel=1e-5)
    assert results["perplexity"] == pytest.approx(np.exp(loss), rel=1e-5)


def test_perplexity_weighs_batches_by_their_tokens():
    parts = parts_of()
    trainer = LanguageModelTrainer(parts)
    trainer.compile("sgd")
    inputs, targets = examples()
    targets[1:3] = 0
    whole = trainer.evaluate(inputs, targets, verbose=0, return_dict=True)
    halves = trainer.evaluate(
        inputs, targets, batch_size=2, verbose=0, return_dict=True
    )
    assert halves["perplexity"] == pytest.approx(whole["perplexity"], rel=1e-5)


def test_a_step_of_the_trainer_is_a_step_of_keras_on_the_whole_model():
    inputs, targets = examples()
    ours, theirs = parts_of(), parts_of()
    trainer = LanguageModelTrainer(ours)
    trainer.compile(keras.optimizers.SGD(0.5))
    trainer.train_on_batch(inputs, targets)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    theirs.model.compile(keras.optimizers.SGD(0.5), loss)
    real = (targets != 0).astype("float32")
    theirs.model.train_on_batch(inputs, targets, sample_weight=real / real.sum())
    for one, other in zip(
        ours.model.get_weights(), theirs.model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.thorough
def test_a_sampled_softmax_trains_and_is_evaluated_over_all_words():
    parts = parts_of()
    trainer = LanguageModelTrainer(parts, samples=12)
    trainer.compile(keras.optimizers.Adam(0.05))
    inputs, targets = examples()
    before = trainer.evaluate(inputs, targets, verbose=0, return_dict=True)
    trainer.fit(inputs, targets, epochs=60, verbose=0)
    after = trainer.evaluate(inputs, targets, verbose=0, return_dict=True)
    assert after["perplexity"] < before["perplexity"] / 3
    exact = LanguageModelTrainer(parts)
    exact.compile()
    assert exact.evaluate(inputs, targets, verbose=0, return_dict=True)[
        "perplexity"
    ] == pytest.approx(after["perplexity"], rel=1e-5)


def test_scores_come_in_the_shape_of_the_targets():
    parts = parts_of()
    inputs, targets = examples()
    log_probabilities = log_softmax(parts.model.predict(inputs, verbose=0))
    true = np.take_along_axis(log_probabilities, targets[..., None], axis=2)
    states = zero_states(parts.carry, len(inputs))
    scores, *_ = parts.scorer.predict_on_batch([inputs, targets, *states])
    np.testing.assert_allclose(scores[..., 0], true[..., 0], atol=1e-5)
    np.testing.assert_array_equal(
        scores[..., 1], (log_probabilities > true).sum(axis=2)
    )
    np.testing.assert_allclose(
        scores[..., 2], np.exp(log_probabilities.max(axis=2)), atol=1e-5
    )


@pytest.mark.parametrize("tied", [False, True])
def test_a_saved_model_gives_the_same_logits(tmp_path, tied):
    parts = parts_of(units=(5,), tied=tied, dropout=0.3)
    parts.head.bias.assign(np.arange(WORDS))
    inputs, _ = examples()
    parts.model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(inputs, verbose=0), parts.model.predict(inputs, verbose=0)
    )


def test_states_are_carried_from_window_to_window_until_they_are_reset():
    """What the trainer reads in two batches is what the model reads in one."""
    inputs, targets = examples(time=6)
    parts = parts_of(units=(6, 4))
    for weight in parts.model.trainable_weights:  # far from zero: states tell
        weight.assign(np.random.default_rng(2).normal(size=weight.shape))
    trainer = LanguageModelTrainer(parts, streams=4)
    trainer.compile("sgd")
    log_probabilities = log_softmax(parts.model.predict(inputs, verbose=0))
    true = np.take_along_axis(log_probabilities, targets[..., None], axis=2)[..., 0]
    for _ in range(2):
        trainer.reset_states()
        for cut in (slice(0, 3), slice(3, 6)):
            trainer.reset_metrics()
            loss, _ = trainer.test_on_batch(inputs[:, cut], targets[:, cut])
            counted = true[:, cut][targets[:, cut] != 0]
            assert float(loss) == pytest.approx(-counted.mean(), rel=1e-5)
