"""Batches of texts of similar length.

Oracle: the texts themselves, found again in the batches.
"""

import numpy as np

from lstm_keras.preprocessing.batches import TEXT_STEP, TextBatches

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
