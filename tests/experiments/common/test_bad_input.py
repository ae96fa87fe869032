"""A catalogue of bad input: each ends in the exact error, and nothing is written.

A line says what is wrong, how it is made in a folder, and a part of the error's
message; each group names the function that receives the input.
"""

import bz2
import contextlib
import functools
import gzip
import io
import json
import lzma
import math
import tarfile
import tempfile
import zipfile
from pathlib import Path
from unittest import mock

import keras
import pytest

import lstm_keras
from lstm_keras.datasets import review_files, text_files
from lstm_keras.datasets.corpora import load_text
from lstm_keras.datasets.reviews import load_reviews
from lstm_keras.language_model.model import build_language_model
from lstm_keras.preprocessing.vocabulary import Vocabulary
from tests.helpers import runs
from tests.helpers.equality import ENGINES
from tests.helpers.review_sources import (
    COMPRESSED,
    OTHERS,
    REVIEWS,
    regular,
    special,
    write_archive,
    write_folder,
)

HUGE, NAN = 10**30, math.nan


def lines(reader, table, error=ValueError):
    return [
        pytest.param(make, reader, error, message, id=what)
        for what, make, message in table
    ]


def content(name, data):
    """Makes a file of these bytes, or of this text."""

    def make(folder):
        path = folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return make


def spoiled(make, spoil):
    """Makes a file of which `spoil` makes other bytes."""

    def make_and_spoil(folder):
        path = make(folder)
        path.write_bytes(spoil(path.read_bytes()))
        return path

    return make_and_spoil


def flipped(place):
    def flip(data):
        data = bytearray(data)
        data[place] ^= 0xFF
        return bytes(data)

    return flip


def absent(name):
    return lambda folder: folder / name


def within(reader, module, **limits):
    """A reader with lower limits, so that little is too much."""

    def enter(given):
        with mock.patch.multiple(module, **limits):
            reader(given)

    return enter


# Reviews


def archive(*members, files=None, suffix="tar"):
    """Makes an archive of the good reviews, or of `files`, and of other members."""
    return lambda folder: write_archive(
        folder / f"aclImdb.{suffix}", *members, files=files, mode=COMPRESSED[suffix]
    )


def header(kind, size):
    """Makes an archive that begins with a header, whatever it declares."""
    member = tarfile.TarInfo("aclImdb/README")
    member.type, member.size = kind, size
    return content("aclImdb.tar", member.tobuf(tarfile.GNU_FORMAT) + bytes(10240))


def negative(data):
    """An archive whose first member has -256 bytes, in base 256."""
    first = bytearray(data[:512])
    first[124:136] = b"\xff" * 11 + b"\x00"
    first[148:156] = b" " * 8
    first[148:156] = b"%06o\0 " % sum(first)
    return bytes(first) + data[512:]


def endless_headers():
    member = tarfile.TarInfo("pax")
    member.type, member.size = tarfile.XHDTYPE, 10
    return (member.tobuf() + b"10 a=bcde\n".ljust(512, b"\0")) * 5000


def review_file(data):
    """Makes a folder of reviews of which one is these bytes."""

    def make(folder):
        (write_folder(folder) / POS).write_bytes(data)
        return folder

    return make


POS = "aclImdb/train/pos/7_7.txt"
LAST = 1024 * len(REVIEWS)  # each review is a block of header and one of text
LONG = b"a" * (2**20 + 1)
NO_NEGATIVE = {name: text for name, text in REVIEWS.items() if "test/neg" not in name}
CUTS = {
    "after no byte": lambda data: b"",
    "after one byte": lambda data: data[:1],
    "after 20 bytes": lambda data: data[:20],
    "after a third": lambda data: data[: len(data) // 3],
    "in half": lambda data: data[: len(data) // 2],
    "before its last bytes": lambda data: data[:-3],
}
BROKEN = "is not a complete tar archive|damaged or truncated"

ARCHIVES = lines(
    load_reviews,
    [
        *(
            (
                f"a {suffix} cut {where}",
                spoiled(
                    archive(suffix=suffix),
                    # Padding follows the end mark of a plain one.
                    lambda data, cut=cut: cut(data.rstrip(b"\0")),
                ),
                BROKEN,
            )
            for suffix in COMPRESSED
            for where, cut in CUTS.items()
        ),
        *(
            (
                f"a {suffix} with a flipped byte in its {where}",
                spoiled(archive(suffix=suffix), flipped(place)),
                BROKEN,
            )
            for suffix in COMPRESSED
            if suffix != "tar"  # it has checksums of headers alone
            for where, place in {"middle": 150, "checksum": -6}.items()
        ),
        *(
            (
                f"a {suffix} that is a web page",
                content(f"aclImdb.{suffix}", "<html>Not found</html>" * 100),
                "is not a complete tar archive",
            )
            for suffix in COMPRESSED
        ),
        (
            "an archive cut between two members, after all reviews",
            spoiled(archive(), lambda data: data[:LAST]),
            "no end mark",
        ),
        (
            "an archive with a damaged header after all reviews",
            spoiled(archive(), flipped(LAST)),
            "no end mark",
        ),
        (
            "a member that climbs out",
            archive(regular(f"../{POS}", b"a")),
            rf"'\.\./{POS}'.*a name inside the archive",
        ),
        (
            "a member that climbs out on a detour",
            archive(regular("aclImdb/../../escaped", b"a")),
            r"'aclImdb/\.\./\.\./escaped'.*a name inside the archive",
        ),
        (
            "a member with an absolute path",
            archive(regular(f"/{POS}", b"a")),
            f"'/{POS}'.*a name inside the archive",
        ),
        *(
            (
                f"a {what} as a review",
                archive(special(POS, kind, "/etc/passwd")),
                f"'{POS}'.*a regular file",
            )
            for what, kind in {
                "symbolic link": tarfile.SYMTYPE,
                "hard link": tarfile.LNKTYPE,
                "device": tarfile.CHRTYPE,
                "pipe": tarfile.FIFOTYPE,
                "folder": tarfile.DIRTYPE,
            }.items()
        ),
        (
            "a review of more than a MiB",
            archive(regular(POS, LONG), suffix="tar.xz"),
            f"'{POS}'.*at most 1048576 bytes",
        ),
        ("a review in Latin-1", archive(regular(POS, b"caf\xe9")), f"'{POS}'.*UTF-8"),
        (
            "a review twice",
            archive(regular("aclImdb/train/pos/0_7.txt", b"again")),
            "'aclImdb/train/pos/0_7.txt'.*twice",
        ),
        (
            "a bomb: a member of a declared TiB",
            header(tarfile.REGTYPE, 1 << 40),
            "at most 2147483648 bytes in all",
        ),
        (
            "a bomb: an extended header of declared 4 GiB",
            header(tarfile.XHDTYPE, 1 << 32),
            "a block of 4294967296 bytes",
        ),
        (
            "a chain of extended headers",
            content("aclImdb.tar", endless_headers()),
            "is not a complete tar archive",
        ),
        (
            "a member of negative size",
            spoiled(archive(), negative),
            "is not a complete tar archive|bytes in all",
        ),
        (
            "an archive without one of the classes",
            archive(files=NO_NEGATIVE),
            "received .*'test/neg': 0",
        ),
        ("an archive without reviews", archive(files=OTHERS), "'train/neg': 0"),
        ("an archive without members", archive(files={}), "'train/neg': 0"),
        (
            "a zip file instead of an archive",
            content("aclImdb.zip", ""),
            r"expected a folder, a \.csv file or a tar archive",
        ),
        ("an empty folder", lambda folder: folder, "'train/neg': 0"),
        (
            "a folder with a review in Latin-1",
            review_file(b"caf\xe9"),
            r"7_7\.txt: expected UTF-8",
        ),
        (
            "a folder with a review of more than a MiB",
            review_file(LONG),
            r"7_7\.txt: expected at most 1048576 bytes",
        ),
    ],
)
ARCHIVES += lines(
    within(load_reviews, review_files, MAX_ARCHIVE_BYTES=1 << 20, MAX_MEMBERS=12),
    [
        (
            "a bomb: zeros after the end",
            spoiled(archive(), lambda data: data + bytes(2 << 20)),
            "longer than 1048576 bytes",
        ),
        (
            "a bomb: 2 MiB of zeros in a few kB",
            archive(regular("zeros", bytes(2 << 20)), files={}, suffix="tar.gz"),
            "'zeros': expected at most 1048576 bytes in all",
        ),
        (
            "too many members",
            archive(regular("one more", b"")),
            "'one more': expected at most 12 members",
        ),
    ],
)


def csv(data):
    return content("broken.csv", data)


CSVS = lines(
    load_reviews,
    [
        ("an empty CSV", csv(""), "line 1: expected the columns"),
        ("a CSV without a header", csv("a,1\n"), "line 1: expected the columns"),
        ("a wrong column", csv("review,label\na,1\n"), r"columns .*'label'\]"),
        ("a missing column", csv("sentiment\n1\n"), "line 1: expected the columns"),
        ("a column twice", csv("review,sentiment,review\na,1,b"), "distinct columns"),
        ("another label", csv("review,sentiment\na,1\nb,maybe\n"), "line 3:.*'maybe'"),
        ("a label of 2", csv("review,sentiment\na,1\nb,2\n"), "line 3: .*'2'"),
        ("no label", csv("review,sentiment\na\n"), "line 2: expected a review and"),
        ("no review", csv("sentiment,review\n1\n"), "line 2: expected a review and"),
        ("a field too many", csv("review,sentiment\na,1,b"), "line 2: .*'b'"),
        ("an open quote", csv('review,sentiment\na,1\n"b,0\n'), "near line 3: unexpec"),
        ("text after a quote", csv('review,sentiment\n"a"b,1\n'), "near line 2"),
        (
            "a field of more than a MiB",
            csv(f"review,sentiment\n{'a ' * 600_000},1\n"),
            "near line 2: field larger",
        ),
        (
            "a line in Latin-1 among lines in UTF-8",
            csv("review,sentiment\nnaïve,1\n".encode() + b"caf\xe9,1\n"),
            "expected UTF-8",
        ),
        ("UTF-16", csv("review,sentiment\na,1\n".encode("utf-16")), "expected UTF-8"),
        ("a header alone", csv("review,sentiment\n"), "received 0 distinct ones"),
        ("one sentiment", csv("review,sentiment\na,1\nb,1\nc,1\n"), "with label 0"),
        ("too few to test", csv("review,sentiment\na,1\nb,0\n"), "both sentiments"),
        (
            "reviews without a word",
            csv("review,sentiment\n.,1\n..,0\n...,1\n....,0\n"),
            "expected words in the reviews",
        ),
    ],
)


# Texts


def text(data, name="bad.txt"):
    return content(name, data)


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
TEXT = "First line\n\n  Zweite – Zeile\n".encode() * 50
SPOILS = {
    "cut in half": lambda data: data[: len(data) // 2],
    "without its last bytes": lambda data: data[:-3],
    "with a wrong checksum": flipped(-6),
    "that is not compressed": lambda data: TEXT,
}

TEXTS = lines(
    load_text,
    [
        ("Latin-1", text(b"one\ntwo caf\xe9"), "line 2: .*byte 0xe9 after 7 char"),
        ("a stray byte", text(b"one\n" * 9999 + b"\x80"), "line 10000: .*0x80 after 0"),
        ("a surrogate", text(b"\xed\xa0\x80"), "line 1: .*byte 0xed"),
        ("a text in UTF-16", text("é\n".encode("utf-16")), "line 1: .*byte 0xff"),
        ("a program", text(b"\x7fELF\0\n"), "line 1: .*byte 0x00 after 4"),
        *(
            (
                f"a {suffix} {what}",
                text(spoil(compress(TEXT)), f"a.txt{suffix}"),
                f"is not a complete {suffix} file",
            )
            for suffix, compress in COMPRESS.items()
            for what, spoil in SPOILS.items()
        ),
        (
            "a folder without a text",
            lambda folder: text("", "a.md")(folder).parent,
            r"expected files \*\.txt.*received \['a\.md'",
        ),
    ],
)
TEXTS += lines(
    within(load_text, text_files, MAX_LINE=1000, MAX_TEXT=9999),
    [
        (
            "a bomb of one line",
            text(gzip.compress(b"a" * 10**7), "a.txt.gz"),
            "line 1: expected at most 1000 characters",
        ),
        (
            "a bomb of many lines",
            text(gzip.compress(b"\n" * 10**7), "a.txt.gz"),
            "line 10000: expected a text of at most 9999",
        ),
    ],
)


# Vocabularies


def words(**changes):
    """The content of a vocabulary's file, edited."""
    content = {"format": "lstm_keras.vocabulary", "version": 1, "tokenizer": "words"}
    return json.dumps({**content, "words": ["a", "b"], **changes})


VOCABULARIES = lines(
    Vocabulary.load,
    [
        (what, content("words.json", data), f"is not a vocabulary: {message}")
        for what, data, message in [
            ("an empty vocabulary", "", "Expecting value"),
            ("half a vocabulary", words()[:20], "Unterminated string"),
            ("a vocabulary in no encoding", b"\xff\xfe", "'utf-8' codec"),
            ("a list as a vocabulary", "[]", "expected the format"),
            ("null as a vocabulary", "null", "expected the format"),
            ("JSON of endless depth", "[" * 100_000, "maximum recursion depth"),
            ("a number of endless length", "9" * 100_000, "Exceeds the limit"),
            ("another format", words(format="other"), "expected the format"),
            ("a later version", words(version=2), "expected version 1; received 2"),
            ("version NaN", words(version=NAN), "expected version 1; received nan"),
            ("another tokenizer", words(tokenizer="bpe"), "expected a tokenizer"),
            ("two tokenizers", words(tokenizer=["text"]), "expected a tokenizer"),
            ("one string as words", words(words="ab"), "expected a list of words"),
            ("words by id", words(words={"a": 4}), "expected a list of words"),
            ("no list of words", words().replace('words":', 'w":'), "expected a list"),
            ("no words", words(words=[]), "expected at least one word"),
            ("a number as a word", words(words=["a", 1]), "expected non-empty strings"),
            ("a list as a word", words(words=[["b"]]), "expected non-empty strings"),
            ("an empty word", words(words=["a", ""]), "expected non-empty strings"),
            ("a word twice", words(words=["a", "a"]), "expected distinct words"),
        ]
    ],
)


# Runs

MAXLEN = 6


def classifier(*layers):
    return keras.Sequential(
        [
            keras.Input((MAXLEN,), dtype="int32"),
            keras.layers.Embedding(10, 4),
            lstm_keras.LSTM(3),
            *layers,
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def language_model(ids=8):
    lstm = lstm_keras.LSTM(4, return_sequences=True, return_state=True)
    return build_language_model(ids, 4, [lstm]).model


def stateless():
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(8, 4),
            lstm_keras.LSTM(4, return_sequences=True),
            keras.layers.Dense(8),
        ]
    )


def two_inputs():
    inputs = [keras.Input((MAXLEN,)), keras.Input((MAXLEN,))]
    return keras.Model(inputs, keras.layers.Add()(inputs))


def with_code():
    """A classifier with code that leaves a file where it runs."""
    code = keras.layers.Lambda(lambda x: __import__("pathlib").Path("ran").touch() or x)
    model = classifier(code)
    Path("ran").unlink()
    return model


RUNS = {
    "sentiment": (classifier, "good bad film the a not", "words", {"maxlen": MAXLEN}),
    "next_word": (
        language_model,
        "a b c .",
        "text",
        {"experiment": "next_word", "split": "lines"},
    ),
}


@functools.cache
def run_files(name):
    """The bytes of each file of a good run."""
    build, words, tokenizer, config = RUNS[name]
    with tempfile.TemporaryDirectory() as folder:
        build().save(Path(folder, "model.keras"))
        Vocabulary(words.split(), tokenizer).save(Path(folder, "vocabulary.json"))
        Path(folder, "config.json").write_text(json.dumps(config))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def run(spoil=lambda folder: None, of="sentiment"):
    """Makes a run of which `spoil` spoils the folder."""

    def make(folder):
        for name, data in run_files(of).items():
            (folder / name).write_bytes(data)
        spoil(folder)
        return folder

    return make


def config(data, of="sentiment"):
    return run(content("config.json", data), of)


def model(build, of="sentiment"):
    return run(lambda folder: build().save(folder / "model.keras"), of)


def model_file(spoil):
    return run(spoiled(lambda folder: folder / "model.keras", spoil))


def members(change, method=zipfile.ZIP_STORED):
    """Makes a run after `change` has had its `.keras` file's members by name."""

    def spoil(data):
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            members = {name: old.read(name) for name in old.namelist()}
        change(members)
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", method) as new:
            for name, content in members.items():
                new.writestr(name, content)
        return data.getvalue()

    return model_file(spoil)


def member(name, data, **options):
    return members(lambda members: members.update({name: data}), **options)


def layer_alone(members):
    layers = json.loads(members["config.json"])["config"]["layers"]
    members["config.json"] = json.dumps(layers[0])


def unknown_layer(members):
    members["config.json"] = members["config.json"].replace(b"LSTM", b"Unknown")


def declared(data):
    """A zip file whose directory gives its first member 4 GiB."""
    size = data.index(b"PK\x01\x02") + 24
    return data[:size] + b"\xff" * 4 + data[size + 4 :]


CONFIGS = lines(
    lstm_keras.load_run,
    [
        ("half a config", config("{"), r"expected JSON in .*config\.json"),
        ("a config in no encoding", config(b"\xff"), r"expected JSON in .*config\.js"),
        ("a config of endless depth", config("[" * 100_000), "expected JSON in"),
        ("a list as a config", config("[]"), r"expected settings in .*config\.json"),
        ("an empty config", config("{}"), "expected a positive integer maxlen .*None"),
        ("length 0", config('{"maxlen": 0}'), "expected a positive integer maxlen"),
        ("a negative length", config('{"maxlen": -6}'), "expected a positive integer"),
        ("length NaN", config('{"maxlen": NaN}'), "expected a positive integer maxlen"),
        ("a text as length", config('{"maxlen": "6"}'), "expected a positive integer"),
        ("a huge length", config(f'{{"maxlen": {HUGE}}}'), rf"inputs \(None, {HUGE}\)"),
        ("another length", config('{"maxlen": 7}'), r"\(None, 7\) .*\(None, 6\)"),
        (
            "another experiment",
            config('{"experiment": "cooking"}'),
            "expected a run of imdb_sentiment or next_word .*'cooking'",
        ),
        (
            "a run of next_word without a split",
            config('{"experiment": "next_word"}', "next_word"),
            "expected split as lines, paragraphs or stream",
        ),
        (
            "a run with another's vocabulary",
            run(lambda folder: Vocabulary(["a"]).save(folder / "vocabulary.json")),
            r"5 ids, .*received embeddings of \[10\] ids",
        ),
        (
            "a run whose vocabulary was edited",
            run(content("vocabulary.json", words(words=["a", "a"]))),
            "is not a vocabulary: expected distinct words",
        ),
    ],
)

MODELS = lines(
    lstm_keras.load_run,
    [
        (what, make, rf"(?s)expected a (built )?Keras model in .*; {message}")
        for what, make, message in [
            ("half a model", model_file(CUTS["in half"]), "File is not a zip file"),
            ("a model that is no zip", model_file(lambda data: b"no"), "File is not a"),
            ("a model with a flipped byte", model_file(flipped(900)), ".*CRC"),
            ("a bomb that is declared only", model_file(declared), "expected at most"),
            (
                "a bomb of 32 MiB",
                member("model.weights.h5", bytes(1 << 25), method=zipfile.ZIP_DEFLATED),
                "expected at most 16777216 bytes in all; received 3355",
            ),
            (
                "a model without weights",
                members(lambda members: members.pop("model.weights.h5")),
                r"expected the files .*received \['config.json', 'metadata.json'\]",
            ),
            ("a member that climbs out of a model", member("../a", ""), r".*'\.\./a'"),
            ("a model with assets", member("assets/a.txt", ""), ".*'assets/a.txt'"),
            ("weights that are no HDF5", member("model.weights.h5", ""), ".*file"),
            (
                "a model of broken JSON",
                member("config.json", "{"),
                "Expecting property",
            ),
            ("a model of endless depth", member("config.json", "[" * 9**5), "maximum"),
            ("a layer instead of a model", members(layer_alone), "received <Input"),
            ("a model of an unknown layer", members(unknown_layer), ".*'Unknown'"),
            (
                "a model that was never built",
                model(lambda: keras.Sequential([keras.layers.Dense(1)])),
                "received <Sequential",
            ),
            ("a model that carries code", model(with_code), ".*safe_mode"),
        ]
    ],
)
MODELS += lines(
    lstm_keras.load_run,
    [
        (what, make, f"expected a model (in|of) .*{message}")
        for what, make, message in [
            ("a model of two inputs", model(two_inputs), r"embeddings of \[\] ids"),
            ("a language model as classifier", model(language_model), r"of \[8\] ids"),
            (
                "a classifier as language model",
                model(classifier, "next_word"),
                r"8 ids, .*outputs \(None, None, 8\); .*of \[10\] ids",
            ),
            (
                "a language model of other words",
                model(lambda: language_model(9), "next_word"),
                r"8 ids, .*of \[9\] ids",
            ),
            (
                "a language model that keeps its states",
                model(stateless, "next_word"),
                "recurrent layers that return their states",
            ),
        ]
    ],
)


# What is not there


def without(name):
    return run(lambda folder: (folder / name).unlink())


ABSENT = [
    *lines(
        load_reviews,
        [("no archive", absent("none.tar"), 'expected "keras" or an existing path')],
        FileNotFoundError,
    ),
    *lines(
        load_text,
        [("no text", absent("none.txt"), "expected a text file or a folder")],
        FileNotFoundError,
    ),
    *lines(
        Vocabulary.load,
        [("no vocabulary", absent("none.json"), "No such file")],
        FileNotFoundError,
    ),
    *lines(
        lstm_keras.load_run,
        [
            ("no run", absent("none"), "expected a run folder; there is none at"),
            *(
                (f"a run without {name}", without(name), f"expected {name} in the run")
                for name in ("config.json", "vocabulary.json", "model.keras")
            ),
        ],
        FileNotFoundError,
    ),
]


# Options


def options(make, call, table):
    return [
        line
        for given, message in table
        for line in lines(
            lambda path, given=given: call(path, **given),
            [(f"{call.__name__} with {given}", make, message)],
        )
    ]


def predict(path, **options):
    lstm_keras.load_run(path).predict(["good"], **options)


def generate(path, **options):
    lstm_keras.load_run(path).generate("a", **options)


OPTIONS = [
    *options(
        absent("none.csv"),  # nothing is read before
        load_reviews,
        [
            ({"limit": -5}, "limit as a whole number of at least 2; received -5"),
            ({"limit": NAN}, "limit as a whole number of at least 2; received nan"),
            ({"limit": 10.0}, "limit as a whole number of at least 2; received 10.0"),
            ({"seed": -1}, "seed as a whole number of at least 0; received -1"),
            ({"seed": NAN}, "seed as a whole number of at least 0; received nan"),
            ({"seed": None}, "seed as a whole number of at least 0; received None"),
            ({"test_fraction": 0.0}, "test_fraction between 0 and 1; received 0.0"),
            ({"test_fraction": 1}, "test_fraction between 0 and 1; received 1"),
            ({"test_fraction": NAN}, "test_fraction between 0 and 1; received nan"),
            ({"test_fraction": "half"}, "test_fraction between 0 and 1"),
            ({"tokenizer": "bpe"}, "a tokenizer of .* received 'bpe'"),
            ({"tokenizer": ["words"]}, r"a tokenizer of .* received \['words'\]"),
        ],
    ),
    *options(
        run(),
        predict,
        [
            ({"batch_size": 0}, "batch_size as a whole number of at least 1"),
            ({"batch_size": -1}, "batch_size as a whole number of at least 1"),
            ({"batch_size": NAN}, "batch_size as a whole number of at least 1"),
        ],
    ),
    *options(
        run(of="next_word"),
        generate,
        [
            ({"tokens": 0}, "tokens as a whole number of at least 1; received 0"),
            ({"tokens": NAN}, "tokens as a whole number of at least 1; received nan"),
            ({"beam": 0}, "beam as a whole number of at least 1; received 0"),
            ({"beam": 2, "top_k": 3}, "expected beam search alone"),
            ({"top_k": NAN}, "top_k as a whole number of at least 1; received nan"),
            ({"top_p": 2.0}, r"top_p in \(0, 1\]; received 2.0"),
            ({"top_p": NAN}, r"top_p in \(0, 1\]; received nan"),
            ({"temperature": -1.0}, "temperature of at least 0; received -1.0"),
            ({"temperature": NAN}, "temperature of at least 0; received nan"),
            ({"temperature": math.inf}, "temperature of at least 0; received inf"),
            ({"seed": 3}, "expected a seed with a temperature"),
            ({"seed": -3, "top_k": 2}, "seed as a whole number of at least 0"),
        ],
    ),
]


# Command lines


def command(name):
    """Run an experiment; what it prints is part of the message."""

    def enter(arguments):
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                runs.main(name, "--output=runs", "--name=one", *arguments.split())
        except SystemExit as end:
            raise SystemExit(f"{end.code} {said.getvalue()}") from end

    return enter


def given(option, make):
    """The arguments that name what `make` makes."""
    return lambda folder: f"{option} {make(folder)}"


WHOLE = "expected a whole number at least"

COMMANDS = [
    *lines(
        command("imdb_sentiment"),
        [
            (arguments, lambda folder, arguments=arguments: arguments, message)
            for arguments, message in [
                ("--units -1", f"--units: {WHOLE} 1 and at most 65536; received '-1'"),
                (f"--units {HUGE}", f"--units: {WHOLE} 1 and at most 65536; rec"),
                ("--units nan", f"--units: {WHOLE} 1 and at most 65536; .*nan"),
                ("--units 1e9", f"--units: {WHOLE} 1 and at most 65536; .*1e9"),
                ("--epochs 0", f"--epochs: {WHOLE} 1; received '0'"),
                ("--limit -10", f"--limit: {WHOLE} 10; received '-10'"),
                ("--learning-rate nan", "expected a number at most 10 and above 0"),
                ("--learning-rate inf", "expected a number at most 10 and above 0"),
                ("--dropout 1", "--dropout: expected a number at least 0 and below 1"),
                ("--dropout=-inf", "expected a number at least 0 and below 1"),
                ("--validation-split nan", "expected a number above 0 and below 1"),
                ("--seed -1", f"--seed: {WHOLE} 0 and at most .*; received '-1'"),
                (f"--seed {HUGE}", f"--seed: {WHOLE} 0 and at most"),
                ("--layer lstm", "--layer: invalid choice: 'lstm'"),
                ("--name ../up", r"a plain folder name as --name; received '\.\./up'"),
                ("--data none.csv", r"expected --data as .*; received 'none\.csv'"),
            ]
        ]
        + [
            (
                "--data of another label",
                given("--data", csv("review,sentiment\na,maybe")),
                r"^error: .*broken\.csv, line 2: .*'maybe'",
            ),
            (
                "--data that is cut",
                given("--data", spoiled(archive(), CUTS["in half"])),
                rf"^error: .*aclImdb\.tar:? ({BROKEN})",
            ),
        ],
        SystemExit,
    ),
    *lines(
        command("next_word"),
        [
            (
                "--text in UTF-16",
                given("--text", text("é\n".encode("utf-16"))),
                r"^error: .*bad\.txt, line 1: expected UTF-8 text",
            ),
            (
                "--text none.txt",
                lambda folder: "--text none.txt",
                r"expected a text as one of .*'none\.txt'",
            ),
        ],
        SystemExit,
    ),
]


def explain(options):
    lstm_keras.LSTM(3, **options).explain_engine()


# GPUs asked for that are not there.
GPUS = [
    *lines(
        explain,
        [
            (
                str(options),
                lambda folder, options=options: options,
                f"{name}={options[name]!r} cannot run this layer: .*needs a GPU",
            )
            for options in ({"engine": "cudnn"}, {"use_cudnn": True})
            for name in options
        ],
    ),
    *lines(
        command("imdb_sentiment"),
        [
            (
                "--engine cudnn",
                lambda folder: "--data embedded --engine cudnn",
                "^error: engine='cudnn' cannot run this layer: .*needs a GPU",
            )
        ],
        SystemExit,
    ),
]


# The tests


def refused(make, reader, error, message, folder, monkeypatch):
    """Returns the input and the message, after everything else is checked.

    The input is made in one folder; all that code may think of to write to is there or
    beside it.
    """
    for name in ("input", "temporary"):
        (folder / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "temporary"))
    monkeypatch.chdir(folder / "input")
    given = make(folder / "input")
    before = files_under(folder)
    with pytest.raises(error, match=message) as raised:
        reader(given)
    assert type(raised.value) is error
    assert files_under(folder) == before
    assert not list(folder.glob("input/runs/*/*"))  # only the folder of an experiment
    return given, str(raised.value)


def files_under(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("make", "reader", "error", "message"),
    [*ARCHIVES, *CSVS, *TEXTS, *VOCABULARIES, *CONFIGS, *MODELS, *ABSENT],
)
def test_a_bad_file_is_refused_by_name_and_leaves_nothing(
    make, reader, error, message, tmp_path, monkeypatch
):
    path, said = refused(make, reader, error, message, tmp_path, monkeypatch)
    assert str(path) in said


@pytest.mark.parametrize(
    ("make", "reader", "error", "message"),
    [
        *OPTIONS,
        *COMMANDS,
        *([] if "cudnn" in ENGINES else GPUS),
    ],
)
def test_a_bad_option_is_refused_and_leaves_nothing(
    make, reader, error, message, tmp_path, monkeypatch
):
    refused(make, reader, error, message, tmp_path, monkeypatch)


@pytest.mark.parametrize("of", RUNS)
def test_a_run_that_is_not_spoiled_is_read(of, tmp_path):
    assert lstm_keras.load_run(run(of=of)(tmp_path))
