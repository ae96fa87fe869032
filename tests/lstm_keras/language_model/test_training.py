"""Batches and scores of a next-word model; one pass against prefixes written out."""

import functools

import keras
import numpy as np
import pytest

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
from lstm_keras.reference import lstm_forward
from tests.helpers.pairwise import first_of

WORDS = 20


def text_of(lengths, seed=0):
    """Sentences of random words, of these lengths, each with its end."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [[*rng.integers(4, WORDS, length), END] for length in lengths]
    ).astype("int32")


TEXT = text_of([3, 9, 1, 6, 5, 5, 8])


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


@functools.cache
def weights():
    return parts_of().model.get_weights()


def log_probabilities_after(ids):
    """Of the token after each id, by the reference, `(time, vocabulary)`."""
    embeddings, *recurrent, kernel, bias = weights()
    hidden = embeddings[ids][None]
    for layer in (recurrent[:3], recurrent[3:]):
        hidden = lstm_forward(hidden, *layer).h
    return log_softmax(hidden[0] @ kernel + bias)


def literal_losses():
    """The loss of every prefix, each read by itself without any padding."""
    losses = []
    for sentence in sentences(TEXT):
        words = [START, *sentence]
        for end in range(1, len(words)):
            losses.append(-log_probabilities_after(words[:end])[-1, words[end]])
    return np.array(losses)


@first_of("layer", [LSTM, keras.layers.LSTM])
def test_one_pass_gives_the_losses_of_all_prefixes(layer):
    """Those that the tutorial's padded expansion has, too; the batches are uneven."""
    loss = literal_losses().mean()
    trainer = LanguageModelTrainer(parts_of(layer))
    trainer.compile()
    batches = SentenceBatches(sentences(TEXT), 4, seed=0)
    found = trainer.evaluate(batches, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["perplexity"] == pytest.approx(np.exp(loss), rel=1e-4)


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
    rows = sorted(sentences(TEXT), key=len)
    inputs, targets = SentenceBatches(rows, 100)[0]
    assert inputs.shape == targets.shape == (7, 16)
    for row, read, wanted in zip(rows, inputs.tolist(), targets.tolist(), strict=True):
        padding = [PADDING] * (16 - len(row))
        assert read == [START, *row[:-1], *padding]
        assert wanted == [*row, *padding]


@pytest.mark.thorough
def test_lengths_may_differ_from_batch_to_batch_while_training():
    """Keras fixes the shape by the first batches where these are alike."""
    parts = parts_of()
    trainer = LanguageModelTrainer(parts)
    trainer.compile("adam")
    texts = sentences(text_of([2] * 20 + [30] * 3))
    batches = SentenceBatches(texts, 4, seed=0)
    history = trainer.fit(batches, epochs=2, shuffle=False, verbose=0).history
    assert history["perplexity"][-1] < history["perplexity"][0]


def test_an_expansion_that_does_not_fit_into_memory_is_an_error(monkeypatch):
    monkeypatch.setattr("lstm_keras.preprocessing.batches.MAX_PREFIX_IDS", 100)
    with pytest.raises(ValueError, match="expected at most 100 ids in the expansion"):
        PrefixBatches(sentences(TEXT), 4, seed=0)


def test_scores_of_sentences_come_in_the_order_of_the_text():
    scores = score(parts_of(), TEXT, stream=False)
    np.testing.assert_array_equal(scores.targets, TEXT)
    np.testing.assert_allclose(-scores.log_probability, literal_losses(), atol=1e-4)


@first_of("steps", [7, 100])
def test_scores_of_a_stream_carry_the_state_through_the_whole_text(monkeypatch, steps):
    """Whatever the windows, what one pass over the whole text says."""
    monkeypatch.setattr("lstm_keras.language_model.scoring.EVALUATION_STEPS", steps)
    inputs, targets = shift(TEXT)
    log_probabilities = log_probabilities_after(inputs)
    expected = log_probabilities[np.arange(len(TEXT)), targets]
    scores = score(parts_of(), TEXT, stream=True)
    np.testing.assert_array_equal(scores.targets, TEXT)
    for found, right in (
        (scores.log_probability, expected),
        (scores.rank, (log_probabilities > expected[:, None]).sum(axis=1)),
        (scores.top_probability, np.exp(log_probabilities.max(axis=1))),
    ):
        np.testing.assert_allclose(found, right, atol=1e-4)


def losses_of_streams(count):
    """The loss of every token, each stream read by itself."""
    length, losses = -(-len(TEXT) // count), []
    for start in range(0, len(TEXT), length):
        inputs, targets = (ids[start : start + length] for ids in shift(TEXT))
        every = log_probabilities_after(inputs)
        losses.extend(-every[np.arange(len(targets)), targets])
    return np.array(losses)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["sentences", "prefixes", "stream"])
def test_loss_and_perplexity_are_of_all_tokens_alike(kind):
    """In training and evaluation, from batches with unequal numbers of tokens."""
    parts, streams, texts = parts_of(), None, sentences(TEXT)
    if kind == "stream":
        streams, batches = 3, StreamWindows(TEXT, 3, 5)
        losses = losses_of_streams(3)
    else:
        make, size = {
            "sentences": (SentenceBatches, 3),
            "prefixes": (PrefixBatches, 20),
        }[kind]
        batches, losses = make(texts, size, 0), literal_losses()
    assert len({np.count_nonzero(targets) for _, targets in batches}) > 1
    trainer = LanguageModelTrainer(parts, streams=streams)
    trainer.compile(keras.optimizers.SGD(0.0))  # nothing is learned
    found = trainer.fit(
        batches,
        validation_data=batches,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[ResetStates()],
    ).history
    for prefix in ("", "val_"):
        assert found[f"{prefix}loss"] == pytest.approx([losses.mean()] * 2, rel=1e-5)
        perplexity = np.exp(losses.mean())
        assert found[f"{prefix}perplexity"] == pytest.approx([perplexity] * 2, rel=1e-4)


@pytest.mark.thorough
def test_a_stream_learns_from_what_the_window_before_ended_with():
    """The word that ends a window tells the one that begins the next but one."""
    windows = StreamWindows(np.array([5, 6, 7, 8] * 80, "int32"), 2, 2)
    parts = parts_of()
    trainer = LanguageModelTrainer(parts, streams=2)
    trainer.compile(keras.optimizers.Adam(0.05))
    trainer.fit(windows, epochs=6, shuffle=False, verbose=0, callbacks=[ResetStates()])
    result = trainer.evaluate(windows, verbose=0, return_dict=True)
    assert result["perplexity"] < 1.2
