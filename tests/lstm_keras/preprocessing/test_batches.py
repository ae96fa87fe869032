"""Batches of texts of similar length.

Oracle: the texts themselves, found again in the batches.
"""

import numpy as np
import pytest

from lstm_keras.preprocessing.batches import (
    TEXT_STEP,
    SemiSupervisedBatches,
    TextBatches,
)

RNG = np.random.default_rng(0)
TEXTS = [RNG.integers(4, 99, n).astype("int32") for n in RNG.integers(1, 150, 50)]
LABELS = np.arange(50)  # which tell the texts apart
MAXLEN = 100


def test_every_text_is_in_one_batch_with_its_label_and_padding_before_it():
    batches, seen = TextBatches(TEXTS, LABELS, 8, MAXLEN, seed=0), []
    for ids, labels in batches:
        longest = max(min(len(TEXTS[label]), MAXLEN) for label in labels)
        assert longest <= ids.shape[1] < longest + TEXT_STEP
        assert ids.shape[1] <= MAXLEN
        for row, label in zip(ids, labels, strict=True):
            text = TEXTS[label][-MAXLEN:]
            start = len(row) - len(text)
            np.testing.assert_array_equal(row[start:], text)
            assert not row[:start].any()
        seen += labels.tolist()
    assert sorted(seen) == LABELS.tolist()
    assert seen == np.concatenate(batches.order(0)).tolist()


def test_the_first_two_batches_differ_in_length_and_epochs_in_order():
    batches = TextBatches(TEXTS, LABELS, 8, MAXLEN, seed=0)
    lengths = [ids.shape[1] for ids, _ in batches]
    assert {*lengths[:2]} == {min(lengths), max(lengths)}
    first, second = (np.concatenate(batches.order(epoch)) for epoch in (0, 1))
    assert not np.array_equal(first, second)
    kept = TextBatches(TEXTS, LABELS, 8, MAXLEN)
    assert all(map(np.array_equal, kept.order(0), kept.order(1)))


MORE = [RNG.integers(4, 99, n).astype("int32") for n in RNG.integers(1, 150, 60)]


def test_unlabelled_texts_of_similar_length_stand_beside_all_labelled_ones():
    labelled = TextBatches(TEXTS, LABELS, 8, MAXLEN, seed=0)
    batches = SemiSupervisedBatches(labelled, MORE, 5, seed=0)
    found, lengths = [], []
    for ids, labels, weights in batches:
        count = len(labels) - 5
        assert weights.tolist() == [1] * count + [0] * 5
        assert not labels[count:].any()
        for row, label in zip(ids, labels[:count], strict=False):
            np.testing.assert_array_equal(row[row > 0], TEXTS[label][-MAXLEN:])
        found += [row[row > 0].tobytes() for row in ids[count:]]
        lengths.append(
            [
                (ids[part] > 0).sum(1).mean()
                for part in np.split(np.arange(len(ids)), [count])
            ]
        )
    assert len({*found}) == 5 * len(batches)  # each once in an epoch
    assert {*found} <= {text[-MAXLEN:].tobytes() for text in MORE}
    assert np.corrcoef(np.transpose(lengths))[0, 1] > 0.9
    drawn = [np.concatenate([more for _, more in batches.order(e)]) for e in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_of_labelled_texts_of_equal_length_the_others_decide_which_come_first():
    labelled = TextBatches([TEXTS[0][:3]] * 12, np.zeros(12, int), 2, MAXLEN, seed=1)
    batches = SemiSupervisedBatches(labelled, MORE, 4, seed=1)
    lengths = [ids.shape[1] for ids, *_ in batches]
    assert {*lengths[:2]} == {min(lengths), max(lengths)}
    assert len({*lengths}) > 1


def test_too_few_unlabelled_texts_are_refused():
    labelled = TextBatches(TEXTS, LABELS, 8, MAXLEN, seed=0)
    with pytest.raises(ValueError, match=r"at least 63 unlabelled.*received 60"):
        SemiSupervisedBatches(labelled, MORE, 9, seed=0)
