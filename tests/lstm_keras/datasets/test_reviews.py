"""Sources of reviews, against what each test writes into a small one.

The tests marked `real` compare the IMDB archive with its integer form, and
test_bad_input.py tries the sources that are refused.
"""

import json
import socket
import tarfile
import urllib.error
from pathlib import Path

import keras
import numpy as np
import pytest

from lstm_keras.datasets import reviews as datasets
from lstm_keras.datasets.reviews import load_embedded, load_imdb, load_reviews
from lstm_keras.preprocessing.vocabulary import OOV, START, Vocabulary
from tests.helpers.review_sources import (
    OTHERS,
    REVIEWS,
    special,
    write_archive,
    write_csv,
    write_folder,
)

TRAIN_TEXTS = [
    "A bad film",
    "Dull<br />and bad",
    "A great film. Great!",
    "Good — très bon",
    "I loved it",
]


def assert_holds_the_reviews(reviews, source):
    assert list(reviews.train.texts) == TRAIN_TEXTS
    assert reviews.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert reviews.test.texts == ["Bad", "A great surprise"]
    assert reviews.test.labels.tolist() == [0, 1]
    assert reviews.train.labels.dtype == np.int32
    assert Path(reviews.source).is_relative_to(source)
    assert reviews.real
    assert reviews.note == ""


# The archive and its folder


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *(("tar", "w"), ("tar.gz", "w:gz"), ("tgz", "w:gz")),
        *(("tar.bz2", "w:bz2"), ("tar.xz", "w:xz"), ("TAR.XZ", "w:xz")),
    ],
)
def test_archive_gives_labelled_reviews_in_fixed_order(tmp_path, suffix, mode):
    link = special("aclImdb/train/link", tarfile.SYMTYPE, "/etc/passwd")  # ignored
    path = write_archive(tmp_path / f"aclImdb.{suffix}", link, mode=mode)
    for given in (path, tmp_path):
        reviews = load_imdb(given)
        assert_holds_the_reviews(reviews, given)
    assert load_imdb(path).name == f"IMDB (archive aclImdb.{suffix})"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("prefix", ["./", "download/", "./a/"])
def test_members_may_lie_in_a_folder(tmp_path, prefix):
    files = {prefix + name: text for name, text in {**REVIEWS, **OTHERS}.items()}
    path = write_archive(tmp_path / "aclImdb.tar.xz", files=files)
    assert_holds_the_reviews(load_imdb(path), path)


def test_unpacked_folder_gives_what_the_archive_gives(tmp_path):
    write_folder(tmp_path)
    for path in (tmp_path, tmp_path / "aclImdb"):
        reviews = load_imdb(path)
        assert_holds_the_reviews(reviews, path)
        assert reviews.name == "IMDB (folder aclImdb)"


def test_ids_start_and_come_from_the_training_vocabulary(tmp_path):
    reviews = load_imdb(write_archive(tmp_path / "aclImdb.tar.xz"))
    vocabulary = reviews.vocabulary
    assert vocabulary.words == Vocabulary.build(TRAIN_TEXTS).words
    assert reviews.train.ids[1].tolist() == [
        START,
        *(vocabulary.id_of(word) for word in ("dull", "and", "bad")),
    ]
    assert reviews.test.ids[1].tolist()[-1] == OOV  # "surprise"
    assert all(ids.dtype == np.int32 for ids in reviews.train.ids)
    assert reviews.sizes == {"train": 5, "test": 2, "vocabulary": len(vocabulary)}
    assert len(reviews.train) == 5
    assert "br" not in vocabulary
    reviews = load_imdb(tmp_path / "aclImdb.tar.xz", tokenizer="keras")
    assert reviews.vocabulary.tokenizer == "keras"
    assert "br" in reviews.vocabulary


def test_limit_keeps_a_balanced_choice_by_seed(tmp_path):
    files = {
        f"aclImdb/{split}/{label}/{number}_1.txt": f"{split} {label} text{number}"
        for split in ("train", "test")
        for label in ("neg", "pos")
        for number in range(50)
    }
    path = write_archive(tmp_path / "aclImdb.tar.xz", files=files)
    first, again, other = (load_imdb(path, limit=11, seed=seed) for seed in (0, 0, 1))
    assert first.train.labels.tolist() == [0] * 5 + [1] * 5
    assert first.test.labels.tolist() == [0] * 5 + [1] * 5
    assert first.train.texts == again.train.texts != other.train.texts
    assert first.vocabulary.words == Vocabulary.build(first.train.texts).words
    assert load_imdb(path, limit=1000).sizes["train"] == 100


# CSV


ROWS = "".join(
    f'"Review {number}, ""quoted""\nsecond line",{sentiment}\n'
    for number, sentiment in enumerate(["positive", "negative"] * 20)
)


def test_csv_is_split_by_seed_with_both_classes_in_each_part(tmp_path):
    path = write_csv(tmp_path / "IMDB Dataset.csv", "review,sentiment\n" + ROWS)
    first, again, other = (
        load_imdb(path, test_fraction=0.25, seed=seed) for seed in (0, 0, 1)
    )
    assert first.train.texts == again.train.texts != other.train.texts
    for split, each in ((first.train, 15), (first.test, 5)):
        assert np.bincount(split.labels).tolist() == [each, each]
        for text, label in zip(split.texts, split.labels, strict=True):
            number = int(text.split()[1].rstrip(","))
            assert text == f'Review {number}, "quoted"\nsecond line'
            assert label == (number % 2 == 0)
    assert len({*first.train.texts, *first.test.texts}) == 40
    assert first.name == "reviews (CSV IMDB Dataset.csv)"
    assert first.note == ""


def test_csv_takes_any_case_a_byte_order_mark_other_columns_and_blank_lines(tmp_path):
    text = (
        "ID, Sentiment ,REVIEW,x\n1,1,good,\n\n2,Neg,bad,\n3, POS ,fine,\n4,0,dull,\n"
    )
    reviews = load_imdb(write_csv(tmp_path / "a.CSV", text, "utf-8-sig"))
    found = {
        text: int(label)
        for split in (reviews.train, reviews.test)
        for text, label in zip(split.texts, split.labels, strict=True)
    }
    assert found == {"good": 1, "bad": 0, "fine": 1, "dull": 0}


def test_repeated_reviews_never_lie_in_both_splits(tmp_path):
    path = write_csv(tmp_path / "a.csv", "review,sentiment\n" + ROWS + ROWS)
    reviews = load_imdb(path)
    assert reviews.sizes["train"] == reviews.sizes["test"] == 20
    assert not {*reviews.train.texts} & {*reviews.test.texts}
    assert reviews.note.startswith("40 rows of")


def test_long_review_of_a_csv_is_read_and_the_usual_limit_kept(tmp_path):
    import csv

    limit = csv.field_size_limit()
    text = f"review,sentiment\n{'a ' * 200_000},1\nb,1\nc,0\nd,0\n"
    assert load_imdb(write_csv(tmp_path / "a.csv", text)).sizes["train"] == 2
    assert csv.field_size_limit() == limit


# keras.datasets.imdb


@pytest.fixture
def keras_files(monkeypatch):
    """Five words; Keras's own loader would shuffle, these stay in order."""
    ranks = {"film": 2, "the": 1, "good": 3, "bad": 4, "rare": 5}
    sequences = [[1, 4, 5, 6], [1, 4, 5, 7], [1, 8], [1, 4]]

    def load_data(num_words=None):
        num_words = num_words or 8  # as Keras: the largest id, which is then lost
        cut = [[i if i < num_words else OOV for i in ids] for ids in sequences]
        arrays = np.empty(4, object)
        arrays[:] = cut
        labels = np.array([1, 0, 1, 0])
        return (arrays, labels), (arrays[:2], labels[:2])

    monkeypatch.setattr(keras.datasets.imdb, "get_word_index", lambda: ranks)
    monkeypatch.setattr(keras.datasets.imdb, "load_data", load_data)


def test_keras_reviews_come_as_ids_and_as_texts_decoded_on_demand(keras_files):
    reviews = load_imdb("keras")
    assert reviews.vocabulary.words == ("the", "film", "good", "bad", "rare")
    assert reviews.vocabulary.tokenizer == "keras"
    assert [ids.tolist() for ids in reviews.train.ids] == [
        *([1, 4, 5, 6], [1, 4, 5, 7], [1, 8], [1, 4])
    ]
    assert all(ids.dtype == np.int32 for ids in reviews.train.ids)
    assert list(reviews.train.texts) == ["the film good", "the film bad", "rare", "the"]
    assert list(reviews.train.texts[1:3]) == ["the film bad", "rare"]
    assert reviews.train.texts[-1] == "the"
    assert reviews.train.labels.tolist() == [1, 0, 1, 0]
    assert reviews.train.labels.dtype == np.int32
    assert (reviews.name, reviews.source, reviews.real) == (
        *("IMDB (keras.datasets.imdb)", "keras.datasets.imdb", True),
    )
    assert load_reviews("keras", limit=2).sizes["train"] == 2
    assert load_imdb("keras", tokenizer="keras").sizes["train"] == 4
    with pytest.raises(ValueError, match="tokenized already"):
        load_imdb("keras", tokenizer="words")


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


DOWNLOAD_ERRORS = [
    Exception("URL fetch failure on https://…: None -- Name or service not known"),
    ValueError("Incomplete or corrupted file detected."),
    urllib.error.ContentTooShortError("retrieval incomplete", b""),
    TimeoutError("timed out"),
    PermissionError("cache"),
]


@pytest.mark.parametrize("error", DOWNLOAD_ERRORS)
def test_failed_download_is_a_connection_error(monkeypatch, error):
    monkeypatch.setattr(keras.datasets.imdb, "get_word_index", failing(error))
    usual = socket.getdefaulttimeout()
    with pytest.raises(ConnectionError, match=r"keras\.datasets\.imdb") as raised:
        load_imdb("keras")
    assert raised.value.__cause__ is error
    assert socket.getdefaulttimeout() == usual


def test_real_download_without_a_network_is_a_connection_error(monkeypatch, tmp_path):
    """What Keras itself raises, not what we believe that it raises."""

    def refuse(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    real_get_file = keras.utils.get_file
    with pytest.raises(Exception, match="URL fetch failure") as raised:
        real_get_file("a", "https://example.invalid/a", cache_dir=str(tmp_path))
    monkeypatch.setattr(keras.datasets.imdb, "get_word_index", failing(raised.value))
    with pytest.raises(ConnectionError):
        load_imdb("keras")


# The choice of the source


def test_auto_prefers_what_lies_under_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTM_KERAS_DATA", str(tmp_path))
    write_csv(tmp_path / "A prices.csv", "day,price\nmonday,3\n")  # something else
    header = '"Review", sentiment\n'
    csv = write_csv(tmp_path / "IMDB Dataset.CSV", header + ROWS)
    assert load_reviews().source == str(csv)
    (tmp_path / "imdb").mkdir()
    archive = write_archive(tmp_path / "imdb" / "aclImdb_v1.tar.gz", mode="w:gz")
    assert load_reviews().source == str(archive)
    write_folder(tmp_path / "imdb")
    reviews = load_reviews(limit=4, tokenizer="keras")
    assert reviews.source == str(tmp_path / "imdb" / "aclImdb")
    assert reviews.sizes["train"] == 4
    assert reviews.vocabulary.tokenizer == "keras"
    monkeypatch.setenv("LSTM_KERAS_DATA", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"in LSTM_KERAS_DATA; received .*none"):
        load_reviews()


def test_auto_takes_keras_where_no_folder_holds_reviews_but_not_for_other_tokenizers(
    tmp_path, monkeypatch, keras_files
):
    monkeypatch.setenv("LSTM_KERAS_DATA", str(tmp_path))
    assert load_reviews().source == "keras.datasets.imdb"
    monkeypatch.delenv("LSTM_KERAS_DATA")
    assert load_reviews().source == "keras.datasets.imdb"
    reviews = load_reviews(tokenizer="words", limit=20)
    assert reviews.source == "embedded"
    assert "ids, not text" in reviews.note


def test_auto_ends_at_the_embedded_reviews_and_says_why(monkeypatch):
    monkeypatch.delenv("LSTM_KERAS_DATA", raising=False)
    monkeypatch.setattr(
        keras.datasets.imdb, "get_word_index", failing(DOWNLOAD_ERRORS[0])
    )
    reviews = load_reviews(limit=20)
    assert not reviews.real
    assert reviews.source == "embedded"
    assert "\n" not in reviews.note
    for part in ("embedded reviews, not IMDB", "URL fetch failure", "LSTM_KERAS_DATA"):
        assert part in reviews.note
    monkeypatch.setattr(keras.datasets.imdb, "get_word_index", failing(KeyError("x")))
    with pytest.raises(KeyError):  # is no failed download
        load_reviews()


def test_embedded_reviews_are_labelled_as_such(monkeypatch):
    def generate(split, size, seed):
        texts = [f"{split} {seed} {number}" for number in range(size)]
        return texts, np.arange(size, dtype=np.int32) % 2

    monkeypatch.setattr(datasets, "generate_reviews", generate)
    reviews = load_embedded(seed=3, train_size=10, test_size=6)
    assert reviews.train.texts[0] == "train 3 0"
    assert reviews.test.texts[0] == "test 3 0"
    assert reviews.train.labels.tolist() == [0, 1] * 5
    assert (reviews.sizes["train"], reviews.sizes["test"]) == (10, 6)
    assert not reviews.real
    assert "not IMDB" in reviews.name
    assert reviews.note == load_reviews("embedded", limit=4).note == ""
    assert reviews.vocabulary.words == Vocabulary.build(reviews.train.texts).words


# The real reviews


@pytest.mark.real
def test_archive_reproduces_the_integer_form_of_the_reviews(data_folder):
    """Words, ranks (ties included) and each training review, id for id."""
    reviews = load_imdb(data_folder / "imdb" / "aclImdb.tar.xz", tokenizer="keras")
    index = json.loads((data_folder / "imdb" / "imdb_word_index.json").read_text())
    assert reviews.vocabulary.words == tuple(sorted(index, key=index.get))
    assert reviews.sizes == {"train": 25_000, "test": 12_500, "vocabulary": 88_587}

    # The file is our own; the library itself reads no pickles.
    with np.load(data_folder / "imdb" / "imdb.npz", allow_pickle=True) as arrays:
        for split, part in ((reviews.train, "train"), (reviews.test, "test")):
            # Keras leaves out the test words that no training review has.
            ours = sorted(
                (label, (ids[(ids != START) & (ids != OOV)] - 3).tolist())
                for ids, label in zip(split.ids, split.labels.tolist(), strict=True)
            )
            labels = arrays[f"y_{part}"].tolist()
            theirs = sorted(zip(labels, arrays[f"x_{part}"], strict=True))
            assert ours == theirs


@pytest.mark.real
def test_keras_source_holds_the_reviews_of_the_integer_form(data_folder, monkeypatch):
    """Keras's own loading code on the shared files, in place of its download."""
    folder = data_folder / "imdb"
    index = json.loads((folder / "imdb_word_index.json").read_text())
    load_data = keras.datasets.imdb.load_data
    monkeypatch.setitem(
        load_data.__globals__, "get_file", lambda fname, **_: str(folder / fname)
    )
    monkeypatch.setattr(keras.datasets.imdb, "get_word_index", lambda: index)
    reviews = load_imdb("keras")
    assert reviews.sizes == {"train": 25_000, "test": 12_500, "vocabulary": 88_587}
    with np.load(folder / "imdb.npz", allow_pickle=True) as arrays:
        order = np.arange(25_000)
        np.random.RandomState(113).shuffle(order)  # Keras's
        for place in (0, 1, 24_999):
            expected = [START, *(rank + 3 for rank in arrays["x_train"][order[place]])]
            assert reviews.train.ids[place].tolist() == expected
            assert reviews.train.labels[place] == arrays["y_train"][order[place]]
    assert max(ids.max() for ids in reviews.train.ids) == 88_586  # the rarest word too
    text = reviews.train.texts[0]
    np.testing.assert_array_equal(reviews.vocabulary.encode(text), reviews.train.ids[0])
