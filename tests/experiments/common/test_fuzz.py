"""What arbitrary input does to everything that reads text or files.

5,000 examples in the profile `thorough`. Whatever comes in, only documented errors
come out, and what is read is consistent. The header of pytest's output names the seed.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lstm_keras
from lstm_keras.datasets.reviews import load_reviews
from lstm_keras.preprocessing.tokenizers import TOKENIZERS, join_tokens, tokenize
from lstm_keras.preprocessing.vocabulary import FIRST_WORD, START, Vocabulary, pad
from tests.helpers.examples import examples
from tests.helpers.models import write_untrained_run
from tests.helpers.review_sources import REVIEWS, regular, special, write_archive

CASES = 1000  # of each of the five readers
BATCH = 20  # texts that a model reads at once
MAXLEN = 6


# Text

HARD = [
    *"\"'.,;:!?()[]{}/%$@-*#&`_ \n\r\t\0ß½™很㊎",
    *"... -- don't U.S. e.g. x Y 5 3.5 www. :// http://a.b b@c.d ΑΣ @-@ [UNK]".split(),
    *"</a &amp; &#0; &#xd800; good film".split(),
    *("<br />", "not ", "👩\u200d👧", "\ud800", "\u202e", "\u0338", "\u200d"),
    *("İ", "ŉ", "ǅ", "J\u030c", "é", "e\u0301", "\u0130\u0307"),
]
ANY = st.characters()  # lone surrogates among them
TEXTS = st.text(ANY) | st.lists(
    st.sampled_from(HARD) | st.text(ANY, max_size=3), max_size=25
).map("".join)


@examples(CASES)
@given(TEXTS)
def test_every_text_has_tokens_and_ids_that_give_it_back(text):
    for name in TOKENIZERS:
        tokens = tokenize(text, name)
        assert all(tokens)
        if not tokens:
            continue
        vocabulary = Vocabulary.build([text], tokenizer=name)
        ids = vocabulary.encode(text)
        assert len(ids) == len(tokens) + 1 and ids[0] == START
        assert ids[1:].min() >= FIRST_WORD and ids.max() < len(vocabulary)
        assert [vocabulary.words[i - FIRST_WORD] for i in ids[1:]] == tokens
        if name != "whitespace":  # its "@-@" and " ," are joined for good
            again = vocabulary.encode(vocabulary.decode(ids))
            np.testing.assert_array_equal(again, ids)
            assert tokenize(" ".join(tokens), name) == tokens
            assert tokenize(join_tokens(tokens, name), name) == tokens


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of an untrained model."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    words = "good bad film the a not br 5 é 很"
    return lstm_keras.load_run(write_untrained_run(folder, words, MAXLEN))


@examples(CASES // BATCH)
@given(st.lists(TEXTS, min_size=BATCH, max_size=BATCH))
def test_every_text_is_classified_by_ids_of_the_embedding(run, texts):
    predictions = run.predict(texts)
    assert [one.text for one in predictions] == texts
    for text, one in zip(texts, predictions, strict=True):
        words = tokenize(text)
        assert one.words == len(words)
        assert one.unknown == sum(word not in run.vocabulary for word in words)
        assert one.read == min(len(words), MAXLEN)
        assert 0 <= one.probability <= 1
        known = any(word in run.vocabulary for word in words[-MAXLEN:])
        assert (one.label is None) == (not known)
        ids, names = run.read(text)
        np.testing.assert_array_equal(
            ids, pad([run.vocabulary.encode(text)], MAXLEN)[0]
        )
        assert ids.min() >= 0 and ids.max() < len(run.vocabulary)
        assert len(names) == np.count_nonzero(ids)


# Files


PIECES = [b"", b"\0", b"\xff", b'"', b",", b"\r", b"\n", b"[", b"{", b"NaN", b"1e999"]


@st.composite
def mutated(draw, originals):
    """One of some files with up to four pieces cut out, inserted or replaced."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
        same, all_of_it = st.just(len(piece)), st.just(len(data))
        length = draw(same | same | same | st.integers(0, 20) | all_of_it)
        data[start : start + length] = piece
    return bytes(data)


def read_or_refused(read, path):
    """What is read; None if it is refused with the documented error and its name."""
    try:
        return read(path)
    except ValueError as error:
        assert type(error) is ValueError
        assert str(path) in str(error)
        return None


def assert_holds_together(reviews):
    for split in (reviews.train, reviews.test):
        assert len(split.texts) == len(split.ids) == len(split.labels)
        assert set(split.labels.tolist()) == {0, 1}
        for text, ids in zip(split.texts, split.ids, strict=True):
            np.testing.assert_array_equal(ids, reviews.vocabulary.encode(text))
            assert ids.max() < len(reviews.vocabulary)


def all_texts(reviews):
    """Label by text."""
    return {
        text: label
        for split in (reviews.train, reviews.test)
        for text, label in zip(split.texts, split.labels.tolist(), strict=True)
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


VOCABULARY = {
    "format": "lstm_keras.vocabulary",
    "version": 1,
    "tokenizer": "words",
    "words": ["the", "naïve", "😀", 'a"', "film"],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(ANY, max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
EDITED = st.tuples(st.sampled_from([*VOCABULARY]), JSON).map(
    lambda edit: json.dumps({**VOCABULARY, edit[0]: edit[1]}).encode()
)
REWORDED = st.lists(st.text(ANY, max_size=3), max_size=5).map(
    lambda words: json.dumps({**VOCABULARY, "words": words}).encode()
)


@examples(CASES)
@given(mutated([json.dumps(VOCABULARY).encode()]) | EDITED | REWORDED | st.binary())
def test_a_vocabulary_file_is_read_or_refused(folder, content):
    path = folder / "vocabulary.json"
    path.write_bytes(content)
    vocabulary = read_or_refused(Vocabulary.load, path)
    if vocabulary is None:
        return
    assert vocabulary.words and all(vocabulary.words)
    ids = [vocabulary.id_of(word) for word in vocabulary.words]
    assert ids == list(range(FIRST_WORD, len(vocabulary)))
    assert vocabulary.encode(" ".join(vocabulary.words)).max() < len(vocabulary)
    vocabulary.save(path)
    assert Vocabulary.load(path).words == vocabulary.words


CSVS = [
    'review,sentiment\n"A ""good"" film",positive\nBad,negative\n\nFine,1\n"a\nb",0\n',
    "\ufeffid,Sentiment,REVIEW\r\n1,pos,good\r\n2,neg,bad\r\n3,POS,great\r\n4,0,ill\r\n",
]
CSV_PIECES = ["word", *' ",\n\r\0\u2028', *4 * [",1\n", ",neg\n"]]
ROWS = st.lists(st.sampled_from(CSV_PIECES) | st.text(max_size=2), max_size=25).map(
    lambda pieces: ("review,sentiment\n" + "".join(pieces)).encode()
)


@examples(CASES // 2)
@given(mutated([text.encode() for text in CSVS]) | ROWS | ROWS | st.binary())
def test_a_csv_is_read_or_refused(folder, content):
    path = folder / "reviews.csv"
    path.write_bytes(content)
    reviews = read_or_refused(load_reviews, path)
    if reviews is not None:
        assert_holds_together(reviews)
        assert not {*reviews.train.texts} & {*reviews.test.texts}


@examples(CASES // 2)
@given(st.lists(st.tuples(st.text(), st.integers(0, 1)), min_size=4, max_size=12))
def test_a_csv_gives_the_reviews_that_were_written(folder, rows):
    rows = [(f"word {text}", label) for text, label in rows]
    path = folder / "written.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("review", "sentiment"), *rows])
    reviews = read_or_refused(load_reviews, path)
    expected = dict(reversed(rows))  # of a repeated review the first label
    enough = min(list(expected.values()).count(label) for label in (0, 1)) >= 2
    assert (reviews is not None) == enough
    if enough:
        assert all_texts(reviews) == expected


LONG = f"aclImdb/train/pos/{'0' * 8}1_{'0' * 150}1.txt"


def archive(kind):
    """The bytes of a small archive, with extended headers where its kind has them."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=kind) as tar:
        for name, text in {**REVIEWS, "é" * 20: "", LONG: "A long name"}.items():
            member, content = regular(name, text.encode())
            member.mtime = 1.5
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue().rstrip(b"\0") + bytes(1024)


TARS = [archive(kind) for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
COMPRESS = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


def with_checksums(data):
    """An archive whose headers are made up, not damaged."""
    data = bytearray(data)
    for start in range(0, len(data) - 511, 512):
        if data[start + 257 : start + 262] == b"ustar":
            data[start + 148 : start + 156] = b" " * 8
            total = sum(data[start : start + 512])
            data[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(data)


@st.composite
def archives(draw):
    """A suffix and the bytes of a mutated archive, or of one of mutated members."""
    suffix = draw(st.sampled_from([*COMPRESS]))
    what = draw(st.sampled_from(["compressed", "plain", "checked", "checked"]))
    if what == "compressed":
        return suffix, draw(mutated([COMPRESS[suffix](tar) for tar in TARS]))
    data = draw(mutated(TARS))
    return suffix, COMPRESS[suffix](with_checksums(data) if what == "checked" else data)


@examples(CASES // 2)
@given(archives())
def test_an_archive_is_read_or_refused(folder, archive):
    suffix, content = archive
    path = folder / f"aclImdb.{suffix}"
    path.write_bytes(content)
    reviews = read_or_refused(load_reviews, path)
    if reviews is not None:
        assert_holds_together(reviews)


PARTS = "aclImdb train test pos neg unsup . .. ... ~ 0_1.txt 1_10.txt 007_7.txt".split()
NAMES = st.lists(
    st.sampled_from([*PARTS, "", "\n", "aclImdb/train/pos/8_8.txt"])
    | st.text(min_size=1, max_size=3),
    min_size=1,
    max_size=5,
).map("/".join)
KINDS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
KINDS += [tarfile.FIFOTYPE, tarfile.CONTTYPE, b"?"]
REGULAR = st.builds(regular, NAMES, st.binary() | st.text().map(str.encode))
SPECIAL = st.builds(special, NAMES, st.sampled_from(KINDS), NAMES)


@examples(CASES // 2)
@given(st.lists(REGULAR | SPECIAL, max_size=4))
def test_nothing_comes_from_an_archive_but_what_regular_members_hold(folder, members):
    path = write_archive(folder / "members.tar", *members, files=REVIEWS, mode="w")
    reviews = read_or_refused(load_reviews, path)
    if reviews is None:
        return
    assert_holds_together(reviews)
    written = {*REVIEWS.values()}
    held = {data.decode("utf-8", "replace") for one, data in members if one.isreg()}
    assert written <= {*all_texts(reviews)} <= written | held
