"""Generation against reading the whole text anew for every token."""

import keras
import numpy as np
import pytest

from lstm_keras import LSTM
from lstm_keras.language_model.generation import (
    Sampling,
    Stepper,
    beam_search,
    most_probable,
    sample,
    stream,
)
from lstm_keras.language_model.model import build_language_model
from lstm_keras.preprocessing.vocabulary import END, OOV, PADDING, START
from tests.helpers.pairwise import first_of

WORDS = 12
PROMPT = np.array([START, 7, 10, 8], "int32")


def make(kind=LSTM, tied=False, layers=2):
    keras.utils.set_random_seed(4)
    big = keras.initializers.RandomNormal(stddev=0.8)  # far from uniform
    recurrent = [
        kind(6, return_sequences=True, return_state=True, kernel_initializer=big)
        for _ in range(layers)
    ]
    parts = build_language_model(WORDS, 6, recurrent, tied=tied, dropout=0.2)
    for weight in parts.model.trainable_weights:
        if weight.shape == (6, WORDS) or weight.shape == (WORDS, 6):
            weight.assign(np.random.default_rng(0).normal(size=weight.shape) * 2)
    return parts.model


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def stepper(model):
    return Stepper(model)


@pytest.fixture(scope="module")
def continuations(model):
    """By number of tokens every continuation with its log-probability."""
    found = {0: {(): 0.0}}
    for tokens in (1, 2):
        rows = log_probabilities_of_all(
            model, [[*PROMPT, *ids] for ids in found[tokens - 1]]
        )
        found[tokens] = {
            (*ids, token): total + row[token]
            for (ids, total), row in zip(found[tokens - 1].items(), rows, strict=True)
            for token in set(range(WORDS)) - {PADDING, START, OOV}
        }
    return found


def log_probabilities_of_all(model, rows):
    """Of the token after each row of ids, all of them read anew."""
    rows = np.array(rows)
    last = rows.shape[1] - 1
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 16)))  # few shapes to compile
    logits = keras.ops.convert_to_numpy(model(rows))[:, last].astype("float64")
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@first_of("arguments", [{"tied": True, "layers": 1}, {}, {"kind": keras.layers.GRU}])
def test_a_step_with_the_state_equals_reading_the_whole_text(arguments):
    model = make(**arguments)
    stepper = Stepper(model)
    first, states = stepper.feed(PROMPT[None], stepper.start())
    second, _ = stepper.feed(np.array([[9]]), states)
    for found, ids in ((first, PROMPT), (second, [*PROMPT, 9])):
        expected = log_probabilities_of_all(model, [ids])
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("length", [31, 32, 70])
def test_a_prompt_may_be_of_any_length(model, stepper, length):
    prompt = np.random.default_rng(length).integers(1, WORDS, length)
    found, _ = stepper.feed(prompt[None], stepper.start())
    expected = log_probabilities_of_all(model, [prompt])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_greedy_text_is_the_most_probable_token_each_time(model, stepper):
    ids, total = list(PROMPT), 0.0
    for _ in range(6):
        (row,) = log_probabilities_of_all(model, [ids])
        row[[PADDING, START, OOV]] = -np.inf
        ids.append(int(row.argmax()))
        total += row.max()
    for written in (
        sample(stepper, PROMPT, 6, Sampling(), stop_at_end=False),
        beam_search(stepper, PROMPT, 6, 1, stop_at_end=False),
    ):
        assert written.ids == ids[len(PROMPT) :]
        assert written.log_probability == pytest.approx(total, abs=1e-4)


def test_the_log_probability_is_that_of_the_new_tokens(model, stepper):
    written = sample(stepper, PROMPT, 3, Sampling(1.0), stop_at_end=False, seed=1)
    total = sum(
        log_probabilities_of_all(model, [[*PROMPT, *written.ids[:n]]])[0, token]
        for n, token in enumerate(written.ids)
    )
    assert written.log_probability == pytest.approx(total, abs=1e-4)


def test_a_stream_is_the_sample_token_by_token(stepper):
    how = (stepper, PROMPT, 5, Sampling(1.0))
    written = sample(*how, stop_at_end=False, seed=1)
    texts = [*stream(*how, stop_at_end=False, seed=1)]
    assert [text.ids for text in texts] == [written.ids[:n] for n in range(1, 6)]
    assert texts[-1] == written


def test_a_sentence_ends_at_the_end_token(stepper):
    texts = [
        sample(stepper, PROMPT, 30, Sampling(2.0), stop_at_end=True, seed=seed)
        for seed in range(20)
    ]
    ended = [text for text in texts if text.ended]
    assert ended
    assert all(END not in text.ids for text in texts)
    assert all(len(text.ids) == 30 for text in texts if not text.ended)


def test_padding_start_and_unknown_words_are_never_written(stepper):
    written = sample(stepper, PROMPT, 200, Sampling(5.0), stop_at_end=False, seed=0)
    assert not {PADDING, START, OOV} & set(written.ids)
    assert len(set(written.ids)) == WORDS - 3


def test_a_seed_gives_the_same_text_again(stepper):
    texts = [
        sample(stepper, PROMPT, 10, Sampling(2.0), stop_at_end=False, seed=seed).ids
        for seed in (3, 3, 4)
    ]
    assert texts[0] == texts[1] != texts[2]


P = np.array([0.1, 0.4, 0.2, 0.3])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"temperature": 0.7}, P ** (1 / 0.7) / (P ** (1 / 0.7)).sum()),
        ({"temperature": 1.0, "top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
        # 0.4 alone is not 0.6 yet; with 0.3 it is.
        ({"temperature": 1.0, "top_p": 0.6}, [0, 4 / 7, 0, 3 / 7]),
        ({"temperature": 1.0, "top_p": 0.01}, [0, 1, 0, 0]),
        ({"temperature": 1.0, "top_k": 9, "top_p": 1.0}, P),
    ],
)
def test_temperature_divides_the_logits_and_the_most_probable_are_kept(
    options, expected
):
    found = Sampling(**options).probabilities(np.log(P))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature of at least 0; received -1"),
        ({"temperature": float("nan")}, "temperature of at least 0; received nan"),
        ({"temperature": 0.0, "top_k": 3}, "expected a temperature above 0 with"),
        ({"temperature": 1.0, "top_k": 0}, "top_k as a whole number .* 1; received 0"),
        ({"temperature": 1.0, "top_p": 0.0}, r"top_p in \(0, 1\]; received 0"),
        ({"temperature": 1.0, "top_p": 1.5}, r"top_p in \(0, 1\]; received 1.5"),
    ],
)
def test_bad_numbers_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


def test_a_wide_beam_finds_the_most_probable_continuation(stepper, continuations):
    best = max(continuations[2], key=continuations[2].get)
    written = beam_search(stepper, PROMPT, 2, WORDS, stop_at_end=False)
    assert tuple(written.ids) == best
    total = continuations[2][best]
    assert written.log_probability == pytest.approx(total, abs=1e-4)


def test_a_beam_chooses_by_the_mean_among_ended_and_running_sentences(
    stepper, continuations
):
    """Against all sentences of at most two tokens, an end counted as a token."""
    means = {ids: n / 2 for ids, n in continuations[2].items() if ids[0] != END}
    means[(END,)] = continuations[1][(END,)]
    best = max(means, key=means.get)
    assert continuations[2][best] < means[(END,)]  # by the sum it would be the end
    written = beam_search(stepper, PROMPT, 2, WORDS, stop_at_end=True)
    assert (*written.ids, *[END] * written.ended) == best
    assert written.log_probability == pytest.approx(means[best] * len(best), abs=1e-4)


def test_a_beam_may_end_a_sentence(model, stepper):
    """With the end made probable."""
    bias = model.layers[-1].bias
    before = keras.ops.convert_to_numpy(bias)
    bias.assign(20.0 * (np.arange(WORDS) == END))
    try:
        written = beam_search(stepper, PROMPT, 9, 3, stop_at_end=True)
    finally:
        bias.assign(before)
    assert written.ids == [] and written.ended


def test_most_probable_words_come_in_order():
    row = np.log([0.2, 0.2, 0.2, 0.1, 0.05, 0.25])
    assert most_probable(row, 2) == [5, 3]
    assert most_probable(row, 99) == [5, 3, 4]


def test_another_kind_of_model_is_an_error():
    model = keras.Sequential([keras.Input((None,)), keras.layers.Embedding(4, 2)])
    with pytest.raises(ValueError, match="expected a model of an embedding, recurrent"):
        Stepper(model)
