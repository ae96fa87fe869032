"""Corpora, against the same steps with lists of words and `collections.Counter`."""

import tarfile
import tracemalloc
from collections import Counter
from itertools import chain

import numpy as np
import pytest

from lstm_keras.datasets import corpora
from lstm_keras.datasets.corpora import load_text
from lstm_keras.preprocessing.batches import StreamWindows
from lstm_keras.preprocessing.next_word import sentences
from lstm_keras.preprocessing.vocabulary import END, FIRST_WORD, OOV, PADDING, START
from tests.helpers.review_sources import write_archive

LINES = [f"Word{n % 7} and word{n % 3} of line{n}" for n in range(40)]
KEYS = ("train", "held_out")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(LINES) + "\n")
    return path


def segments(corpus, ids):
    """The words of each segment, by the ids; unknown ones are `None`."""
    words = corpus.vocabulary.words
    for segment in sentences(ids):
        assert segment[-1] == END
        yield [None if i == OOV else words[i - FIRST_WORD] for i in segment[:-1]]


def expected(train, held_out, min_count=1, max_vocab=None):
    """Ranked words, and the segments with `None` for what is not among them."""
    counts = Counter(word for segment in train for word in segment)
    most = None if max_vocab is None else max_vocab - FIRST_WORD
    words = [word for word, n in counts.most_common(most) if n >= min_count]
    known = set(words)
    parts = [
        [[word if word in known else None for word in segment] for segment in part]
        for part in (train, held_out)
    ]
    return words, *parts


@pytest.mark.parametrize(
    "options", [{}, {"min_count": 2}, {"min_count": 3, "max_vocab": 9}]
)
def test_words_are_ranked_by_the_training_part_alone(text, options):
    corpus = load_text(text, held_out=0.25, seed=3, **{"min_count": 1, **options})
    everything = load_text(text, held_out=0, min_count=1)
    all_words = [line.lower().split() for line in LINES]
    assert list(segments(everything, everything.train)) == all_words

    whole = load_text(text, held_out=0.25, seed=3, min_count=1)
    # Each line has a word of its own.
    own = [segment[-1] for segment in segments(whole, whole.train)]
    numbers = [int(word.removeprefix("line")) for word in own]
    assert numbers == sorted(numbers)
    assert len(numbers) == 30
    train = [all_words[n] for n in numbers]
    rest = [words for n, words in enumerate(all_words) if n not in numbers]
    words, train, rest = expected(train, rest, **options)
    assert list(corpus.vocabulary.words) == words
    assert list(segments(corpus, corpus.train)) == train
    assert list(segments(corpus, corpus.held_out)) == rest
    for ids in (corpus.train, corpus.held_out):
        assert ids.dtype == np.int32
        assert not np.isin([PADDING, START], ids).any()


def test_the_seed_chooses_the_held_out_lines(text):
    first, again, other = (load_text(text, min_count=1, seed=s) for s in (0, 0, 1))
    for key in KEYS:
        np.testing.assert_array_equal(getattr(first, key), getattr(again, key))
    assert first.vocabulary.words == again.vocabulary.words
    assert set(first.vocabulary.words) != set(other.vocabulary.words)


def test_a_stream_keeps_blank_lines_and_holds_out_its_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a b\n\n\na c\nd a\n\n")
    options = {"split": "stream", "held_out": 0.3, "min_count": 1}
    corpus = load_text(path, **options)
    assert corpus.stream
    assert list(segments(corpus, corpus.train)) == [["a", "b"], [], [], ["a", "c"]]
    assert list(segments(corpus, corpus.held_out)) == [[None, "a"], []]
    path.write_text("a b c d e f g h i j")  # without line ends, its last words
    corpus = load_text(path, **options)
    assert corpus.vocabulary.decode(corpus.train) == "A b c d e f g h"
    assert corpus.held_out.tolist() == [OOV, OOV, END]


def test_lines_and_paragraphs_without_a_word_are_no_segments(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n  a b\nc\n \n--\n\n!\nd\n")
    options = {"tokenizer": "words", "held_out": 0, "min_count": 1}
    lines, paragraphs = (
        load_text(path, split=split, **options) for split in ("lines", "paragraphs")
    )
    assert list(segments(lines, lines.train)) == [["a", "b"], ["c"], ["d"]]
    assert list(segments(paragraphs, paragraphs.train)) == [["a", "b", "c"], ["d"]]
    assert not lines.stream


def test_another_text_can_be_held_out(text, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("Word1 and something else\n")
    corpus = load_text(text, held_out=0.9, held_out_source=other, min_count=1)
    assert list(segments(corpus, corpus.train)) == [x.lower().split() for x in LINES]
    assert list(segments(corpus, corpus.held_out)) == [["word1", "and", None, None]]
    assert corpus.name == "text (text.txt), held out text (other.txt)"
    assert corpus.source == str(text)
    assert corpus.note == ""


def test_limit_is_the_number_of_words_read_and_leaves_the_rest_unread(text, tmp_path):
    corpus = load_text(text, limit=13, held_out=0, min_count=1)
    assert sum(map(len, segments(corpus, corpus.train))) == 13
    assert np.count_nonzero(corpus.train == END) == 3
    full = load_text(text, limit=10_000, held_out=0)
    np.testing.assert_array_equal(full.train, load_text(text, held_out=0).train)
    (tmp_path / "a.txt").write_bytes(b"a b c d\n" * 5000 + b"\xff")
    corpus = load_text(tmp_path / "a.txt", limit=100)
    assert len(corpus.vocabulary) == FIRST_WORD + 4


def test_facts_hold_the_counts_of_the_text(text):
    corpus = load_text(text, held_out=0.25, min_count=2)
    facts = corpus.facts
    for key in KEYS:
        parts = list(segments(corpus, getattr(corpus, key)))
        unknown = sum(segment.count(None) for segment in parts)
        tokens = sum(len(segment) + 1 for segment in parts)
        assert facts[key] == {
            "tokens": tokens,
            "segments": len(parts),
            "oov_rate": pytest.approx(unknown / tokens),
        }
    words = Counter(chain.from_iterable(segments(corpus, corpus.train)))
    by_id = [words[word] for word in corpus.vocabulary.words]
    assert corpus.counts.tolist() == [0, 0, words[None], 30, *by_id]
    assert facts["vocabulary"] == len(corpus.vocabulary)
    nothing = load_text(text, held_out=0).facts["held_out"]
    assert nothing == {"tokens": 0, "segments": 0, "oov_rate": None}


@pytest.mark.parametrize(("split", "least"), [("stream", 4), ("lines", 8)])
def test_the_text_is_held_once_and_as_four_bytes_a_token_with_its_windows(
    tmp_path, monkeypatch, split, least
):
    """Only segments that are chosen here and there must be copied."""
    monkeypatch.setattr(corpora, "PIECE", 1000)
    path = tmp_path / "a.txt"
    path.write_text("one two three four five six seven eight\n" * 20_000)
    load_text(path, limit=100)  # what is loaded once and for all
    tracemalloc.start()
    try:
        corpus = load_text(path, split=split)
        facts = corpus.facts
        parts = [StreamWindows(ids, 20, 35) for ids in (corpus.train, corpus.held_out)]
        read = [sum(int((y > 0).sum()) for _, y in windows) for windows in parts]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [facts[key]["tokens"] for key in KEYS] == read == [18_000 * 9, 2_000 * 9]
    assert least <= peak / (20_000 * 9) < 1.5 * least


@pytest.mark.parametrize("split", ["lines", "stream"])
def test_the_size_of_the_pieces_read_makes_no_difference(text, monkeypatch, split):
    whole = load_text(text, split=split, min_count=2, held_out=0.3)
    for size in (1, 7, 40):
        monkeypatch.setattr(corpora, "PIECE", size)
        pieces = load_text(text, split=split, min_count=2, held_out=0.3)
        for key in KEYS:
            np.testing.assert_array_equal(getattr(pieces, key), getattr(whole, key))
        assert pieces.vocabulary.words == whole.vocabulary.words
        assert pieces.facts == whole.facts


def test_reading_a_long_text_reports_its_progress(text, monkeypatch):
    monkeypatch.setattr(corpora, "PROGRESS_STEP", 50)
    told = []
    corpus = load_text(text, progress=told.append, held_out=0)
    tokens = len(corpus.train)
    assert [count // 50 for count in told] == list(range(1, tokens // 50 + 1))
    assert all(count % 50 < len(LINES[0].split()) + 1 for count in told)


# The sources with a name


def test_the_embedded_text_is_there_and_says_what_it_is():
    import platform

    corpora = {
        split: load_text(split=split) for split in ("lines", "paragraphs", "stream")
    }
    corpus = corpora["lines"]
    assert corpus.name == f"Python {platform.python_version()} documentation"
    assert corpus.source == "embedded"
    assert "same version" in corpus.note
    assert "\n" not in corpus.note
    assert corpus.vocabulary.tokenizer == "text"
    assert corpus.facts["train"]["tokens"] > 30_000
    assert corpus.facts["train"]["oov_rate"] < 0.05
    np.testing.assert_array_equal(corpus.train, corpora["paragraphs"].train)
    assert not np.any(np.diff(np.flatnonzero(corpora["stream"].train == END)) == 1)


REVIEWS = {
    "aclImdb/train/unsup/2_0.txt": "Third &amp; last",
    "aclImdb/train/unsup/0_0.txt": "First one.<br /><br />It has<br/>three lines",
    "aclImdb/train/unsup/10_0.txt": "After a gap",
    "aclImdb/train/unsup/1_0.txt": "Second one\n",
    "aclImdb/train/pos/1_9.txt": "With a label",
    "aclImdb/train/neg/10_1.txt": "Another",
    "aclImdb/test/neg/0_1.txt": "To be tested on",
}
REVIEW_LINES = [
    *("first one . it has three lines", "with a label", "second one"),
    *("third & last", "another", "after a gap"),
]


@pytest.mark.parametrize(
    ("kind", "file"), [("archive", "aclImdb_v1.tar.gz"), ("folder", "aclImdb")]
)
def test_training_reviews_come_by_number_without_label_and_html(
    tmp_path, monkeypatch, kind, file
):
    monkeypatch.setenv("LSTM_KERAS_DATA", str(tmp_path))
    archive = write_archive(tmp_path / "aclImdb_v1.tar.gz", files=REVIEWS, mode="w:gz")
    if kind == "folder":
        with tarfile.open(archive) as tar:
            tar.extractall(tmp_path, filter="data")
        archive.unlink()

    def lines(**options):
        corpus = load_text("imdb", held_out=0, min_count=1, **options)
        assert corpus.name == f"IMDB training reviews without labels ({kind} {file})"
        return [" ".join(segment) for segment in segments(corpus, corpus.train)]

    for split in ("lines", "paragraphs", "stream"):
        assert lines(split=split) == REVIEW_LINES
    assert lines(limit=9) == [*REVIEW_LINES[:1], "with a"]


@pytest.mark.parametrize("split", ["lines", "stream"])
def test_backwards_the_last_word_comes_first_and_the_end_remains_last(split, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a b\nc d e\nf\n")
    options = {"held_out": 0, "min_count": 1, "split": split}
    ahead, back = (load_text(path, backwards=b, **options) for b in (False, True))
    assert back.vocabulary.words == ahead.vocabulary.words
    assert [*segments(back, back.train)] == [["f"], ["e", "d", "c"], ["b", "a"]]
    assert (ahead.backwards, back.backwards) == (False, True)


def test_an_error_says_where_to_get_missing_reviews(tmp_path, monkeypatch):
    for value in (None, str(tmp_path)):
        if value is None:
            monkeypatch.delenv("LSTM_KERAS_DATA", raising=False)
        else:
            monkeypatch.setenv("LSTM_KERAS_DATA", value)
        with pytest.raises(FileNotFoundError, match=r"ai\.stanford\.edu"):
            load_text("imdb")
    (tmp_path / "aclImdb/train/unsup").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"unsup\} of .*received none"):
        load_text("imdb")


# What is refused


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "expected a text of at least two words"),
        (" \n\n", {"split": "stream"}, "expected a text of at least two words"),
        ("one\n", {}, "expected a text of at least two words"),
        ("one line alone\n", {}, "expected enough segments to hold out .* received 1"),
        ("a b\n", {"split": "stream"}, "expected enough tokens to .*0.1; received 3"),
        ("a b\n" * 4, {"held_out": 0.1}, "expected enough segments .* received 4"),
        ("a b\n" * 4, {"held_out": 0.9}, "expected enough segments .* received 4"),
        ("a b\nc d\ne f\n", {"held_out": 0.3}, "expected words with a count of 2"),
    ],
)
def test_too_little_text_is_refused(text, tmp_path, content, options, message):
    path = tmp_path / "a.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_text(path, **options)
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"in the held-out text; .*a\.txt"):
        load_text(text, held_out_source=path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            ({"held_out": one}, "expected held_out in")
            for one in (1, -0.1, float("nan"), True, "0.1")
        ),
        ({"split": "words"}, "expected a split of"),
        ({"tokenizer": "bpe"}, "expected a tokenizer of"),
        ({"min_count": 0}, "expected min_count"),
        ({"max_vocab": 4}, "expected max_vocab"),
        ({"limit": 1}, "expected limit"),
        ({"seed": -1}, "expected seed"),
    ],
)
def test_bad_options_are_refused_before_anything_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        load_text("none.txt", **options)


# Real text


@pytest.mark.real
def test_wikitext_has_the_vocabulary_that_its_description_tells(data_folder):
    folder = data_folder / "wikitext2"
    corpus = load_text(
        folder / "train.txt",
        held_out_source=folder / "valid.txt",
        split="stream",
        tokenizer="whitespace",
        min_count=1,
    )
    text = (folder / "train.txt").read_text(encoding="utf-8")
    counts = Counter(text.split())
    assert len(counts) == len(corpus.vocabulary) - FIRST_WORD == 13_776
    assert list(corpus.vocabulary.words) == [word for word, _ in counts.most_common()]
    assert corpus.facts["held_out"]["oov_rate"] == 0
    assert len(corpus.train) == sum(counts.values()) + text.count("\n")


@pytest.mark.real
def test_training_reviews_of_the_archive_are_read(data_folder, monkeypatch):
    monkeypatch.setenv("LSTM_KERAS_DATA", str(data_folder))
    corpus = load_text("imdb", limit=100_000)
    words = sum(
        corpus.facts[key]["tokens"] - corpus.facts[key]["segments"] for key in KEYS
    )
    assert words == 100_000
    assert {"movie", "film", "this", "."} <= set(corpus.vocabulary.words[:50])
