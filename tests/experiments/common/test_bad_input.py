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
import re
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


def archive(*members, files=None, suffix="tar", spoil=bytes):
    """Makes an archive of the good reviews, or of `files`, and of other members."""
    return spoiled(
        lambda folder: write_archive(
            folder / f"aclImdb.{suffix}", *members, files=files, mode=COMPRESSED[suffix]
        ),
        spoil,
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


POS, AGAIN = "aclImdb/train/pos/7_7.txt", "aclImdb/train/pos/0_7.txt"
LAST = 1024 * len(REVIEWS)  # each review is a block of header and one of text
LONG = b"a" * (2**20 + 1)
NO_NEGATIVE = {name: text for name, text in REVIEWS.items() if "test/neg" not in name}
CUTS = {
    "after no byte": lambda data: b"",
    "after one byte": lambda data: data[:1],
    "after 20 bytes": lambda data: data[:20],
    "in half": lambda data: data[: len(data) // 2],
    "before its last bytes": lambda data: data[:-3],
}
# Padding follows the end mark of a plain one, which has checksums of headers alone.
DAMAGE = {
    f"a {suffix} cut {where}": (suffix, lambda data, cut=cut: cut(data.rstrip(b"\0")))
    for suffix in COMPRESSED
    for where, cut in CUTS.items()
} | {
    f"a {suffix} with a flipped byte in its {where}": (suffix, flipped(place))
    for suffix in COMPRESSED
    if suffix != "tar"
    for where, place in {"middle": 150, "checksum": -6}.items()
}
NO_TAR = "is not a complete tar archive"
BROKEN = f"{NO_TAR}|damaged or truncated"
OUTSIDE = (f"../{POS}", "aclImdb/../../escaped", f"/{POS}")
KINDS = {
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "device": tarfile.CHRTYPE,
    "pipe": tarfile.FIFOTYPE,
    "folder": tarfile.DIRTYPE,
}

ARCHIVES = lines(
    load_reviews,
    [
        *(
            (what, archive(suffix=suffix, spoil=spoil), BROKEN)
            for what, (suffix, spoil) in DAMAGE.items()
        ),
        *(
            (f"a web page as {suffix}", content(f"a.{suffix}", "<html>" * 300), NO_TAR)
            for suffix in COMPRESSED
        ),
        ("cut after all", archive(spoil=lambda data: data[:LAST]), "no end mark"),
        ("damaged after all", archive(spoil=flipped(LAST)), "no end mark"),
        *(
            (name, archive(regular(name, b"a")), f"{re.escape(repr(name))}.*a name ins")
            for name in OUTSIDE
        ),
        *(
            (what, archive(special(POS, kind, "/x")), f"'{POS}'.*a regular file")
            for what, kind in KINDS.items()
        ),
        ("a long review", archive(regular(POS, LONG)), f"'{POS}'.*at most 1048576 by"),
        ("a review in Latin-1", archive(regular(POS, b"caf\xe9")), f"'{POS}'.*UTF-8"),
        ("a review twice", archive(regular(AGAIN, b"a")), f"'{AGAIN}'.*twice"),
        ("a declared TiB", header(tarfile.REGTYPE, 1 << 40), "at most 2147483648 byt"),
        ("a header of 4 GiB", header(tarfile.XHDTYPE, 1 << 32), "of 4294967296 bytes"),
        ("a chain of headers", content("aclImdb.tar", endless_headers()), NO_TAR),
        ("of negative size", archive(spoil=negative), f"{NO_TAR}|bytes in all"),
        ("one class alone", archive(files=NO_NEGATIVE), "received .*'test/neg': 0"),
        ("an archive without reviews", archive(files=OTHERS), "'train/neg': 0"),
        ("a zip file", content("aclImdb.zip", ""), "expected a folder, a .*archive"),
        ("an empty folder", lambda folder: folder, "'train/neg': 0"),
        ("a folder in Latin-1", review_file(b"\xe9"), r"7_7\.txt: expected UTF-8"),
        ("a long file", review_file(LONG), r"7_7\.txt: expected at most 1048576 bytes"),
    ],
)
ARCHIVES += lines(
    within(load_reviews, review_files, MAX_ARCHIVE_BYTES=1 << 20, MAX_MEMBERS=12),
    [
        (
            "zeros after the end",
            archive(spoil=lambda data: data + bytes(2 << 20)),
            "longer than 1048576 bytes",
        ),
        (
            "2 MiB of zeros in a few kB",
            archive(regular("zeros", bytes(2 << 20)), files={}, suffix="tar.gz"),
            "'zeros': expected at most 1048576 bytes in all",
        ),
        ("too many", archive(regular("more", b"")), "'more': expected at most 12 memb"),
    ],
)


def csv(data):
    return content("broken.csv", data)


HEADER = "review,sentiment\n"
CSVS = lines(
    load_reviews,
    [
        (repr(data)[:40], csv(data), message)
        for data, message in [
            ("", "line 1: expected the columns"),
            ("a,1\n", "line 1: expected the columns"),
            ("review,label\na,1\n", r"columns .*'label'\]"),
            ("sentiment\n1\n", "line 1: expected the columns"),
            ("review,sentiment,review\na,1,b", "distinct columns"),
            (f"{HEADER}a,1\nb,maybe\n", "line 3:.*'maybe'"),
            (f"{HEADER}a,1\nb,2\n", "line 3: .*'2'"),
            (f"{HEADER}a\n", "line 2: expected a review and"),
            ("sentiment,review\n1\n", "line 2: expected a review and"),
            (f"{HEADER}a,1,b", "line 2: .*'b'"),
            (f'{HEADER}a,1\n"b,0\n', "near line 3: unexpec"),
            (f'{HEADER}"a"b,1\n', "near line 2"),
            (f"{HEADER}{'a ' * 600_000},1\n", "near line 2: field larger"),
            (HEADER.encode() + "naïve,1\n".encode() + b"caf\xe9,1\n", "expected UTF-8"),
            (f"{HEADER}a,1\n".encode("utf-16"), "expected UTF-8"),
            (HEADER, "received 0 distinct ones"),
            (f"{HEADER}a,1\nb,1\nc,1\n", "with label 0"),
            (f"{HEADER}a,1\nb,0\n", "both sentiments"),
            (f"{HEADER}.,1\n..,0\n...,1\n....,0\n", "expected words in the reviews"),
        ]
    ],
)


# Texts


def text(data, name="bad.txt"):
    return content(name, data)


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
TEXT = "First line\n\n  Zweite – Zeile\n".encode() * 50
SPOILS = {
    "cut in half": CUTS["in half"],
    "without its last bytes": CUTS["before its last bytes"],
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
        (f"a bomb of {what}", text(gzip.compress(data * 10**7), "a.txt.gz"), message)
        for what, data, message in [
            ("one line", b"a", "line 1: expected at most 1000 characters"),
            ("many lines", b"\n", "line 10000: expected a text of at most 9999"),
        ]
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
        (repr(data)[:50], content("a.json", data), f"is not a vocabulary: {message}")
        for data, message in [
            ("", "Expecting value"),
            (words()[:20], "Unterminated string"),
            (b"\xff\xfe", "'utf-8' codec"),
            ("[]", "expected the format"),
            ("null", "expected the format"),
            ("[" * 100_000, "maximum recursion depth"),
            ("9" * 100_000, "Exceeds the limit"),
            (words(format="other"), "expected the format"),
            (words(version=2), "expected version 1; received 2"),
            (words(version=NAN), "expected version 1; received nan"),
            (words(tokenizer="bpe"), "expected a tokenizer"),
            (words(tokenizer=["text"]), "expected a tokenizer"),
            (words(words="ab"), "expected a list of words"),
            (words(words={"a": 4}), "expected a list of words"),
            (words().replace('words":', 'w":'), "expected a list"),
            (words(words=[]), "expected at least one word"),
            (words(words=["a", 1]), "expected non-empty strings"),
            (words(words=[["b"]]), "expected non-empty strings"),
            (words(words=["a", ""]), "expected non-empty strings"),
            (words(words=["a", "a"]), "expected distinct words"),
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


NEXT_WORD = {"experiment": "next_word", "split": "lines"}
RUNS = {
    "sentiment": (classifier, "good bad film the a not", "words", {"maxlen": MAXLEN}),
    "next_word": (language_model, "a b c .", "text", NEXT_WORD),
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


def another_vocabulary(folder):
    Vocabulary(["a"]).save(folder / "vocabulary.json")


CONFIGS = lines(
    lstm_keras.load_run,
    [
        (f"config {data!r:.40}", run(content("config.json", data), of), message)
        for data, of, message in [
            ("{", "sentiment", r"expected JSON in .*config\.json"),
            (b"\xff", "sentiment", r"expected JSON in .*config\.js"),
            ("[" * 100_000, "sentiment", "expected JSON in"),
            ("[]", "sentiment", r"expected settings in .*config\.json"),
            ("{}", "sentiment", "expected a positive integer maxlen .*None"),
            ('{"maxlen": 0}', "sentiment", "expected a positive integer maxlen"),
            ('{"maxlen": -6}', "sentiment", "expected a positive integer"),
            ('{"maxlen": NaN}', "sentiment", "expected a positive integer maxlen"),
            ('{"maxlen": "6"}', "sentiment", "expected a positive integer"),
            (f'{{"maxlen": {HUGE}}}', "sentiment", rf"inputs \(None, {HUGE}\)"),
            ('{"maxlen": 7}', "sentiment", r"\(None, 7\) .*\(None, 6\)"),
            ('{"experiment": "cooking"}', "sentiment", "a run of .*'cooking'"),
            ('{"experiment": "next_word"}', "next_word", "split as lines, paragra"),
        ]
    ]
    + [
        ("another vocabulary", run(another_vocabulary), r"5 ids, .*of \[10\] ids"),
        (
            "a run whose vocabulary was edited",
            run(content("vocabulary.json", words(words=["a", "a"]))),
            "is not a vocabulary: expected distinct words",
        ),
    ],
)

WEIGHTS, CONFIG = "model.weights.h5", "config.json"
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
                member(WEIGHTS, bytes(1 << 25), method=zipfile.ZIP_DEFLATED),
                "expected at most 16777216 bytes in all; received 3355",
            ),
            (
                "a model without weights",
                members(lambda members: members.pop(WEIGHTS)),
                r"expected the files .*received \['config.json', 'metadata.json'\]",
            ),
            ("a member that climbs out of a model", member("../a", ""), r".*'\.\./a'"),
            ("a model with assets", member("assets/a.txt", ""), ".*'assets/a.txt'"),
            ("weights that are no HDF5", member(WEIGHTS, ""), ".*file"),
            ("a model of broken JSON", member(CONFIG, "{"), "Expecting property"),
            ("a model of endless depth", member(CONFIG, "[" * 9**5), "maximum"),
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
        (f"{build.__name__} {of}", model(build, of), f"expected a model .*{message}")
        for build, of, message in [
            (two_inputs, "sentiment", r"embeddings of \[\] ids"),
            (language_model, "sentiment", r"of \[8\] ids"),
            (classifier, "next_word", r"8 ids, .*outputs \(None, None, 8\); .*of \[10"),
            (lambda: language_model(9), "next_word", r"8 ids, .*of \[9\] ids"),
            (stateless, "next_word", "recurrent layers that return their states"),
        ]
    ],
)


# What is not there


def without(name):
    return run(lambda folder: (folder / name).unlink())


ABSENT = [
    line
    for reader, name, message in [
        (load_reviews, "none.tar", 'expected "keras" or an existing path'),
        (load_text, "none.txt", "expected a text file or a folder"),
        (Vocabulary.load, "none.json", "No such file"),
        (lstm_keras.load_run, "none", "expected a run folder; there is none at"),
    ]
    for line in lines(reader, [(name, absent(name), message)], FileNotFoundError)
] + lines(
    lstm_keras.load_run,
    [
        (f"a run without {name}", without(name), f"expected {name} in the run")
        for name in ("config.json", "vocabulary.json", "model.keras")
    ],
    FileNotFoundError,
)


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
            ({"seed": None}, "seed as a whole number of at least 0; received None"),
            ({"test_fraction": 1}, "test_fraction between 0 and 1; received 1"),
            ({"test_fraction": NAN}, "test_fraction between 0 and 1; received nan"),
            ({"test_fraction": "half"}, "test_fraction between 0 and 1"),
            ({"tokenizer": ["words"]}, r"a tokenizer of .* received \['words'\]"),
        ],
    ),
    *options(
        run(),
        predict,
        [({"batch_size": 0}, "batch_size as a whole number of at least 1")],
    ),
    *options(
        run(of="next_word"),
        generate,
        [
            ({"tokens": 0}, "tokens as a whole number of at least 1; received 0"),
            ({"beam": 0}, "beam as a whole number of at least 1; received 0"),
            ({"beam": 2, "top_k": 3}, "expected beam search alone"),
            ({"top_p": NAN}, r"top_p in \(0, 1\]; received nan"),
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


WHOLE = "expected a whole number of at least"
HALF = archive(spoil=CUTS["in half"])
COMMANDS = [
    pytest.param(
        (lambda folder, options=options: options)
        if isinstance(options, str)
        else lambda folder, options=options: f"{options[0]} {options[1](folder)}",
        command(name),
        SystemExit,
        message,
        id=f"{name} {message}",
    )
    for name, options, message in [
        *(
            ("imdb_sentiment", options, message)
            for options, message in [
                ("--units -1", f"--units: {WHOLE} 1 and at most 65536; received '-1'"),
                (f"--units {HUGE}", f"--units: {WHOLE} 1 and at most 65536; rec"),
                ("--epochs 0", f"--epochs: {WHOLE} 1; received '0'"),
                ("--limit -10", f"--limit: {WHOLE} 10; received '-10'"),
                ("--learning-rate nan", "expected a number of at most 10 and above 0"),
                ("--dropout 1", "--dropout: expected a number of at least 0 and bel"),
                ("--validation-split nan", "expected a number above 0 and below 1"),
                (f"--seed {HUGE}", f"--seed: {WHOLE} 0 and at most"),
                ("--layer lstm", "--layer: expected one of custom, .* received 'lstm'"),
                ("--name ../up", r"a plain folder name as --name; received '\.\./up'"),
                ("--data none.csv", r"expected --data as .*; received 'none\.csv'"),
                (("--data", csv(f"{HEADER}a,maybe")), "^error: .*line 2: .*'maybe'"),
                (("--data", HALF), rf"^error: .*aclImdb\.tar:? ({BROKEN})"),
            ]
        ),
        ("next_word", "--text none.txt", r"expected a text as one of .*'none\.txt'"),
        ("next_word", ("--text", text(b"\xff")), r"^error: .*bad\.txt, line 1: .*UTF"),
    ]
]


def explain(options):
    lstm_keras.LSTM(3, **options).explain_engine()


# GPUs asked for that are not there.
NEEDS_GPU = "cannot run this layer: .*needs a GPU"
GPUS = lines(
    explain,
    [
        (name, lambda folder, name=name, one=one: {name: one}, f"{name}=.* {NEEDS_GPU}")
        for name, one in (("engine", "cudnn"), ("use_cudnn", True))
    ],
) + lines(
    command("imdb_sentiment"),
    [
        (
            "--engine cudnn",
            lambda folder: "--data embedded --engine cudnn",
            f"^error: engine='cudnn' {NEEDS_GPU}",
        )
    ],
    SystemExit,
)


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
    before = everything_under(folder)
    with pytest.raises(error, match=message) as raised:
        reader(given)
    assert type(raised.value) is error
    assert everything_under(folder) == before
    return given, str(raised.value)


def everything_under(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


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
    [*OPTIONS, *COMMANDS, *([] if "cudnn" in ENGINES else GPUS)],
)
def test_a_bad_option_is_refused_and_leaves_nothing(
    make, reader, error, message, tmp_path, monkeypatch
):
    refused(make, reader, error, message, tmp_path, monkeypatch)


@pytest.mark.parametrize("of", RUNS)
def test_a_run_that_is_not_spoiled_is_read(of, tmp_path):
    assert lstm_keras.load_run(run(of=of)(tmp_path))
