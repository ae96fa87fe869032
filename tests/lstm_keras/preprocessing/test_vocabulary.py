"""Vocabularies, against `collections.Counter` and Keras's tokenizer and padding.

TensorFlow still carries that tokenizer.
"""

from collections import Counter

import numpy as np
import pytest

from lstm_keras.preprocessing.vocabulary import (
    END,
    FIRST_WORD,
    OOV,
    PADDING,
    START,
    Vocabulary,
    length_mask,
    limit_ids,
    pad,
    tokenize,
)

TEXTS = [
    "The cat saw the dog; the dog didn't see it.<br /><br />The end!",
    "A dog, a cat & a bird: 10/10...",
    "It's the BEST film, isn't it?\n\tYes.",
]


def test_vocabulary_ranks_as_the_keras_tokenizer_does():
    tf = pytest.importorskip("tensorflow")
    oracle = tf.keras.preprocessing.text.Tokenizer()
    oracle.fit_on_texts(TEXTS)
    vocabulary = Vocabulary.build(TEXTS, tokenizer="keras")
    assert {word: vocabulary.id_of(word) for word in vocabulary.words} == {
        word: rank + 3 for word, rank in oracle.word_index.items()
    }


def test_vocabulary_counts_as_a_plain_count_does():
    counts = Counter(token for text in TEXTS for token in tokenize(text))
    # Words of equal count keep their first order.
    assert Vocabulary.build(TEXTS).words == tuple(w for w, _ in counts.most_common())


def test_max_size_counts_the_special_ids_and_min_count_drops_rare_words():
    texts = ["a a a b b c"]
    assert Vocabulary.build(texts, max_size=6).words == ("a", "b")
    assert len(Vocabulary.build(texts, max_size=6)) == 6
    assert Vocabulary.build(texts, min_count=2).words == ("a", "b")
    assert len(Vocabulary.build(texts, max_size=100)) == FIRST_WORD + 3


def test_ids_are_those_of_keras_at_index_from_3():
    vocabulary = Vocabulary(["the", "film"])
    assert (PADDING, START, OOV, END) == (0, 1, 2, 3)
    assert [vocabulary.id_of(word) for word in ("the", "film", "x")] == [4, 5, 2]
    assert len(vocabulary) == 6
    assert "the" in vocabulary and "x" not in vocabulary
    ids = vocabulary.encode("The film, the END")
    assert ids.tolist() == [1, 4, 5, 4, 2]
    assert ids.dtype == np.int32
    assert vocabulary.encode("").tolist() == [1]
    assert vocabulary.decode(ids) == "the film the [UNK]"


def test_encode_all_encodes_each_text():
    vocabulary = Vocabulary.build(TEXTS)
    texts = [*TEXTS, "", "العربية 😀"]
    for text, ids in zip(texts, vocabulary.encode_all(texts), strict=True):
        np.testing.assert_array_equal(ids, vocabulary.encode(text))


def test_limited_vocabulary_encodes_as_limit_ids_does():
    vocabulary = Vocabulary.build(TEXTS)
    for num_words in (5, 8, 1000):
        limited = vocabulary.limit(num_words)
        assert len(limited) == min(num_words, len(vocabulary))
        for text in TEXTS:
            expected = limit_ids(vocabulary.encode(text), num_words)
            np.testing.assert_array_equal(limited.encode(text), expected)
    limited = limit_ids(np.array([[0, 1, 4], [9, 5, 10]], np.int32), 10)
    assert limited.tolist() == [[0, 1, 4], [9, 5, 2]]
    assert limited.dtype == np.int32


def test_decoding_leaves_out_padding_and_start():
    vocabulary = Vocabulary(["a", "b"])
    assert vocabulary.decode([0, 0, 1, 5, 4, 2, 3]) == "b a [UNK] [UNK]"
    assert vocabulary.decode([]) == ""


@pytest.mark.parametrize("tokenizer", ["text", "text_cased", "whitespace"])
def test_decoding_reads_as_text_with_a_line_for_each_end(tokenizer):
    vocabulary = Vocabulary(["so", ",", "a", "."], tokenizer)
    ids = [START, 4, 5, 6, 7, END, END, 6, 2, 5, PADDING]
    expected = "so, a.\n\na [UNK],"
    if tokenizer == "text":
        expected = "So, a.\n\nA [UNK],"
    assert vocabulary.decode(ids) == expected
    assert vocabulary.decode([]) == ""


@pytest.mark.parametrize("ids", [[6], [-1], [[4]], [4.0]])
def test_decoding_ids_outside_the_vocabulary_is_refused(ids):
    with pytest.raises(ValueError, match="expected ids"):
        Vocabulary(["a", "b"]).decode(ids)


@pytest.mark.parametrize(
    ("function", "given", "error", "message"),
    [
        *((Vocabulary.build, g, ValueError, "one word") for g in ([], [""], ["?!"])),
        (Vocabulary.build, "a film", TypeError, "one string"),
        (Vocabulary.build, ["a", float("nan")], TypeError, "text 1: nan"),
        (Vocabulary(["a"]).encode_all, "a film", TypeError, "one string"),
    ],
)
def test_texts_without_a_word_and_what_is_no_text_are_refused(
    function, given, error, message
):
    with pytest.raises(error, match=message):
        function(given)


@pytest.mark.parametrize("value", [4, 0, -1, 5.0, "6", True, None])
def test_bad_sizes_are_refused(value):
    with pytest.raises(ValueError, match="expected num_words"):
        Vocabulary(["a"]).limit(value)
    with pytest.raises(ValueError, match="expected num_words"):
        limit_ids(np.array([4]), value)
    if value is not None:
        with pytest.raises(ValueError, match="expected max_size"):
            Vocabulary.build(["a"], max_size=value)
    with pytest.raises(ValueError, match="expected min_count"):
        Vocabulary.build(["a"], min_count=0)


def test_saved_vocabulary_loads_equal_and_leaves_no_other_file(tmp_path):
    vocabulary = Vocabulary(["the", "हिन्दी", "😀", "a\ud800", '"'], tokenizer="keras")
    vocabulary.save(tmp_path / "vocabulary.json")
    vocabulary.save(tmp_path / "vocabulary.json")  # over the old one
    loaded = Vocabulary.load(tmp_path / "vocabulary.json")
    assert loaded.words == vocabulary.words
    assert loaded.tokenizer == "keras"
    assert [path.name for path in tmp_path.iterdir()] == ["vocabulary.json"]


def test_failed_save_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "vocabulary.json"
    Vocabulary(["old"]).save(path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        Vocabulary(["new"]).save(path)
    assert Vocabulary.load(path).words == ("old",)
    assert [file.name for file in tmp_path.iterdir()] == ["vocabulary.json"]


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
@pytest.mark.parametrize("maxlen", [1, 3, 7])
def test_padding_agrees_with_keras(padding, truncating, maxlen):
    from keras.utils import pad_sequences

    sequences = [[], [5], [1, 4, 5], [1, 4, 5, 6], list(range(1, 12))]
    options = {"padding": padding, "truncating": truncating}
    padded = pad(sequences, maxlen, **options)
    np.testing.assert_array_equal(padded, pad_sequences(sequences, maxlen, **options))
    assert padded.dtype == np.int32
    assert pad([], maxlen, **options).shape == (0, maxlen)


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("maxlen", [4, 6])
def test_the_mask_of_lengths_is_where_padding_puts_the_ids(padding, maxlen):
    sequences = [[7], [], [8, 9, 5, 6], [4, 4]]
    expected = pad(sequences, maxlen, padding=padding) != PADDING
    lengths = [len(sequence) for sequence in sequences]
    mask = length_mask(lengths, maxlen, padding=padding)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, expected)
    if maxlen == max(lengths):
        np.testing.assert_array_equal(length_mask(lengths, padding=padding), expected)


def test_the_mask_of_no_lengths_or_of_nothing_is_empty():
    assert length_mask([]).shape == (0, 0)
    assert length_mask([], 3).shape == (0, 3)
    assert length_mask([0, 0]).shape == (2, 0)
    assert length_mask(np.array([2], np.uint8), 3).tolist() == [[True, True, False]]


@pytest.mark.parametrize(
    ("function", "given", "options", "message"),
    [
        (pad, [[4]], {"maxlen": 0}, "maxlen"),
        (pad, [[4]], {"maxlen": 2.0}, "maxlen"),
        (pad, [[4]], {"maxlen": 2, "padding": "left"}, "padding"),
        (pad, [[4]], {"maxlen": 2, "truncating": None}, "truncating"),
        (pad, [[[4]]], {"maxlen": 2}, "expected ids"),
        (pad, [[4.5]], {"maxlen": 2}, "expected ids"),
        (pad, [["a"]], {"maxlen": 2}, "expected ids"),
        (length_mask, [1, -2, 3], {}, "from 0 to maxlen, 3; received -2 to 3"),
        (length_mask, [1, 5], {"maxlen": 4}, "from 0 to maxlen, 4; received 1 to 5"),
        (length_mask, [1.0, 2.0], {}, r"whole numbers; received float64 \(2,\)"),
        (length_mask, [True, False], {}, r"received bool \(2,\)"),
        (length_mask, ["3"], {}, "whole numbers"),
        (length_mask, [[1], [2]], {}, r"lengths \(batch,\) .* \(2, 1\)"),
        (length_mask, 3, {}, r"received int64 \(\)"),
        (length_mask, None, {}, r"received object \(\)"),
        (length_mask, [1], {"maxlen": 2.0}, "maxlen"),
        (length_mask, [1], {"maxlen": -1}, "maxlen"),
        (length_mask, [1], {"padding": "left"}, "padding"),
    ],
)
def test_bad_arguments_of_padding_are_refused(function, given, options, message):
    with pytest.raises(ValueError, match=message):
        function(given, **options)
