"""Examples for next-word prediction, against those of plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_keras.preprocessing.next_word import (
    Streams,
    length_batches,
    prefixes,
    sentences,
    shift,
)
from lstm_keras.preprocessing.vocabulary import END, PADDING, START
from tests.helpers.examples import examples

TEXTS = st.lists(st.integers(END, 9), max_size=40).map(lambda ids: np.int32(ids))


def test_sentences_end_with_their_end_and_are_views():
    ids = np.int32([4, 5, END, END, 6, END])
    parts = sentences(ids)
    assert [part.tolist() for part in parts] == [[4, 5, END], [END], [6, END]]
    assert all(np.shares_memory(part, ids) for part in parts)
    assert [part.tolist() for part in sentences(ids[:2])] == [[4, 5]]
    assert sentences(ids[:0]) == []


def test_each_input_is_the_token_before_its_target():
    inputs, targets = shift(np.int32([4, 5, END]))
    assert inputs.tolist() == [START, 4, 5]
    assert targets.tolist() == [4, 5, END]
    assert inputs.dtype == targets.dtype == np.int32
    assert shift(np.int32([]))[0].tolist() == []


@given(st.lists(TEXTS, max_size=5), st.none() | st.integers(1, 12))
def test_prefixes_are_those_of_a_plain_loop(texts, maxlen):
    rows = [
        ([START, *text[:end]][-(maxlen or 99) :], text[end])
        for text in map(np.ndarray.tolist, texts)
        for end in range(len(text))
    ]
    inputs, targets = prefixes(texts, maxlen)
    assert [row[row != PADDING].tolist() for row in inputs] == [row for row, _ in rows]
    assert targets.tolist() == [target for _, target in rows]
    assert inputs.dtype == targets.dtype == np.int32
    assert inputs.shape[1] == max((len(row) for row, _ in rows), default=0)
    assert not np.any((inputs == PADDING)[:, 1:] & (inputs != PADDING)[:, :-1])


def test_batches_hold_every_sequence_once_and_need_little_padding():
    lengths = np.random.default_rng(0).integers(1, 50, 203)
    for rng in (None, np.random.default_rng(1)):
        batches = length_batches(lengths, 10, rng)
        assert sorted(np.concatenate(batches).tolist()) == list(range(203))
        assert sorted(map(len, batches)) == [3] + [10] * 20
        padding = sum(
            lengths[batch].max() * len(batch) - lengths[batch].sum()
            for batch in batches
        )
        assert padding < 0.06 * lengths.sum()  # in order as given: 0.8
    assert length_batches([], 3) == []


def test_shuffled_batches_differ_by_seed_and_not_otherwise():
    lengths = [1, 2, 3] * 30

    def drawn(seed):
        rng = None if seed is None else np.random.default_rng(seed)
        return [batch.tolist() for batch in length_batches(lengths, 4, rng)]

    assert drawn(0) == drawn(0) != drawn(1)
    means = [np.mean(np.take(lengths, batch)) for batch in drawn(None)]
    assert means == sorted(means)
    means = [np.mean(np.take(lengths, batch)) for batch in drawn(0)]
    assert means != sorted(means)
    assert sorted(map(sorted, drawn(0))) != sorted(map(sorted, drawn(1)))


def test_streams_go_on_from_window_to_window():
    windows = Streams(np.arange(4, 15, dtype=np.int32), batch_size=2, steps=4)
    (first_inputs, first_targets), (inputs, targets) = windows
    assert first_targets.tolist() == [[4, 5, 6, 7], [10, 11, 12, 13]]
    assert targets.tolist() == [[8, 9, 0, 0], [14, 0, 0, 0]]
    assert first_inputs.tolist() == [[START, 4, 5, 6], [9, 10, 11, 12]]
    assert inputs.tolist() == [[7, 8, 0, 0], [13, 0, 0, 0]]
    assert inputs.dtype == targets.dtype == np.int32
    assert windows[-1][0].tolist() == windows[1][0].tolist() == inputs.tolist()
    for index in (2, -3):
        with pytest.raises(IndexError):
            windows[index]


@examples(thorough=200)
@given(TEXTS, st.integers(1, 8), st.integers(1, 8))
def test_every_token_is_a_target_once_after_the_token_before_it(ids, batch_size, steps):
    windows = Streams(ids, batch_size, steps)
    length = -(-len(ids) // batch_size)
    assert len(windows) == -(-length // steps)
    assert all(part.shape == (batch_size, steps) for pair in windows for part in pair)
    nothing = np.empty((batch_size, 0), np.int32)
    before, after = (
        np.concatenate([nothing, *(pair[part] for pair in windows)], axis=1).ravel()
        for part in (0, 1)
    )
    assert after[after != PADDING].tolist() == ids.tolist()
    assert before[after != PADDING].tolist() == [START, *ids.tolist()][: len(ids)]
    assert not before[after == PADDING].any()


@pytest.mark.parametrize("value", [0, -1, 2.0, True])
def test_invalid_sizes_are_refused(value):
    ids = np.int32([4, END])
    with pytest.raises(ValueError, match="expected batch_size"):
        Streams(ids, value, 2)
    with pytest.raises(ValueError, match="expected steps"):
        Streams(ids, 2, value)
    with pytest.raises(ValueError, match="expected batch_size"):
        length_batches([1], value)
    with pytest.raises(ValueError, match="expected maxlen"):
        prefixes([ids], value)
