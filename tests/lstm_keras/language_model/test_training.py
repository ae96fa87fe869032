"""Batches and scores of a next-word model; one pass against prefixes written out."""

import keras
import numpy as np
import pytest
from keras import ops

from lstm_keras import LSTM
from lstm_keras.language_model.model import build_language_model
from lstm_keras.language_model.scoring import score
from lstm_keras.language_model.training import LanguageModelTrainer, ResetStates
from lstm_keras.preprocessing.batches import (
    PrefixBatches,
    SentenceBatches,
    StreamWindows,
)
from lstm_keras.preprocessing.next_word import sentences, shift
from lstm_keras.preprocessing.vocabulary import END, PADDING, START
from tests.helpers.pairwise import first_of

WORDS = 20


def text_of(lengths, seed=0):
    """Sentences of random words, of these lengths, each with its end."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [[*rng.integers(4, WORDS, length), END] for length in lengths]
    ).astype("int32")


TEXT = text_of([3, 9, 1, 17, 5, 5, 8])


def parts_of(layer=LSTM):
    keras.utils.set_random_seed(1)
    recurrent = [layer(6, return_sequences=True, return_state=True) for _ in range(2)]
    parts = build_language_model(WORDS, 5, recurrent, mask_padding=True)
    rng = np.random.default_rng(2)
    for weight in parts.model.trainable_weights:  # any weights, far from zero
        weight.assign(rng.normal(size=weight.shape))
    return parts


def log_softmax(logits):
    logits = np.asarray(logits, "float64")
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def literal_losses(parts):
    """The loss of every prefix, each read by itself without any padding."""
    losses = []
    for sentence in sentences(TEXT):
        words = [START, *sentence]
        for end in range(1, len(words)):
            logits = parts.model(np.array([words[:end]]))[0, -1]
            losses.append(-log_softmax(ops.convert_to_numpy(logits))[words[end]])
    return np.array(losses)


@first_of("layer", [LSTM, keras.layers.LSTM, keras.layers.GRU])
def test_one_pass_gives_the_losses_of_all_prefixes(layer):
    """Per batch, and in sum: the tutorial's padded expansion, and no padding at all."""
    parts = parts_of(layer)
    literal = literal_losses(parts)
    trainer = LanguageModelTrainer(parts)
    trainer.compile()
    expansion = PrefixBatches(sentences(TEXT), 100, seed=0)
    passes = SentenceBatches(sentences(TEXT), 100)
    assert len(expansion) == len(passes) == 1
    for batches in (expansion, passes):
        loss = trainer.evaluate(batches, verbose=0, return_dict=True)["loss"]
        assert loss * len(TEXT) == pytest.approx(literal.sum(), rel=1e-5)


@pytest.mark.thorough
def test_one_pass_learns_what_the_prefixes_teach():
    """The gradient, too: one step of each changes the weights alike."""
    weights = []
    for kind in (PrefixBatches, SentenceBatches):
        parts = parts_of()
        trainer = LanguageModelTrainer(parts)
        trainer.compile(keras.optimizers.SGD(1.0))
        trainer.train_on_batch(*kind(sentences(TEXT), 100, 0)[0])
        weights.append(parts.model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_every_sentence_is_in_an_epoch_once_and_the_next_has_other_batches():
    texts = sentences(text_of(range(1, 40)))
    batches = SentenceBatches(texts, 4, seed=0)
    orders = [np.concatenate(batches.order(epoch)).tolist() for epoch in (0, 1)]
    for chosen in orders:
        assert sorted(chosen) == list(range(len(texts)))
    assert orders[0] != orders[1]


def test_batches_are_padded_at_the_end_and_begin_with_start():
    inputs, targets = SentenceBatches(sentences(TEXT), 100)[0]
    assert inputs.shape == targets.shape == (7, 24)
    for row, (read, wanted) in zip(
        sorted(sentences(TEXT), key=len), zip(inputs, targets, strict=True), strict=True
    ):
        assert read.tolist() == [START, *row[:-1], *[PADDING] * (24 - len(row))]
        assert wanted.tolist() == [*row, *[PADDING] * (24 - len(row))]


@pytest.mark.thorough
def test_lengths_may_differ_from_batch_to_batch_while_training():
    """Keras fixes the shape by the first batches where these are alike."""
    parts = parts_of()
    trainer = LanguageModelTrainer(parts)
    trainer.compile("adam")
    texts = sentences(text_of([2] * 20 + [30] * 3))
    batches = SentenceBatches(texts, 4, seed=0)
    history = trainer.fit(batches, epochs=3, shuffle=False, verbose=0).history
    assert history["perplexity"][-1] < history["perplexity"][0]


def test_an_expansion_that_does_not_fit_into_memory_is_an_error(monkeypatch):
    monkeypatch.setattr("lstm_keras.preprocessing.batches.MAX_PREFIX_IDS", 100)
    with pytest.raises(ValueError, match="expected at most 100 ids in the expansion"):
        PrefixBatches(sentences(TEXT), 4, seed=0)


def test_scores_of_sentences_come_in_the_order_of_the_text():
    parts = parts_of()
    scores = score(parts, TEXT, stream=False)
    np.testing.assert_array_equal(scores.targets, TEXT)
    np.testing.assert_allclose(
        -scores.log_probability, literal_losses(parts), atol=1e-4
    )


@pytest.mark.parametrize("steps", [4, 7, 100])
def test_scores_of_a_stream_carry_the_state_through_the_whole_text(monkeypatch, steps):
    """Whatever the windows, what one pass over the whole text says."""
    monkeypatch.setattr("lstm_keras.language_model.scoring.EVALUATION_STEPS", steps)
    parts = parts_of()
    inputs, targets = shift(TEXT)
    log_probabilities = log_softmax(parts.model.predict(inputs[None], verbose=0))[0]
    expected = log_probabilities[np.arange(len(TEXT)), targets]
    scores = score(parts, TEXT, stream=True)
    np.testing.assert_allclose(scores.log_probability, expected, atol=1e-4)
    np.testing.assert_array_equal(scores.targets, TEXT)


@pytest.mark.thorough
def test_every_epoch_and_evaluation_starts_with_zero_states():
    parts = parts_of()
    trainer = LanguageModelTrainer(parts, streams=1)
    trainer.compile(keras.optimizers.SGD(0.0))  # nothing is learned
    history = trainer.fit(
        StreamWindows(TEXT, 1, 5),
        validation_data=StreamWindows(TEXT, 1, 5),
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[ResetStates()],
    ).history
    values = history["perplexity"] + history["val_perplexity"]
    assert values == pytest.approx([values[0]] * 4, rel=1e-5)
    losses = -score(parts, TEXT, stream=True).log_probability
    assert values[0] == pytest.approx(np.exp(losses.mean()), rel=1e-4)


@pytest.mark.thorough
def test_a_stream_learns_from_what_the_window_before_ended_with():
    """The word that ends a window tells the one that begins the next but one."""
    windows = StreamWindows(np.array([5, 6, 7, 8] * 200, "int32"), 2, 2)
    parts = parts_of()
    trainer = LanguageModelTrainer(parts, streams=2)
    trainer.compile(keras.optimizers.Adam(0.02))
    trainer.fit(windows, epochs=6, shuffle=False, verbose=0, callbacks=[ResetStates()])
    result = trainer.evaluate(windows, verbose=0, return_dict=True)
    assert result["perplexity"] < 1.2
