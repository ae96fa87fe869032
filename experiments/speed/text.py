"""Time the processing of review texts, and the start-up."""

import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, cycle, islice, repeat

import keras
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from experiments.common.terminal import stage
from experiments.speed.agenda import Agenda
from experiments.speed.metrics import TableMetrics
from experiments.speed.settings import Settings
from lstm_keras.datasets import load_reviews
from lstm_keras.preprocessing import FIRST_WORD, OOV, TOKENIZERS, Vocabulary, pad

Seconds = tuple[float, float]  # wall-clock time, and processor time of this process

STARTS = 5
ENCODE = "text to ids"
BATCH = 1024  # texts at once for Keras's layer

IMPORT = """\
import time, keras
start = time.perf_counter()
import lstm_keras
print(time.perf_counter() - start)
"""


def text(settings: Settings, agenda: Agenda) -> TableMetrics:
    """Time texts to ids with our tokenizers and others, and the start-up."""
    with stage(f"Loading the reviews ({settings.data})"):
        reviews = load_reviews(settings.data, tokenizer="words")
    distinct = [*reviews.train.texts, *reviews.test.texts]
    texts = list(islice(cycle(distinct), settings.reviews))
    print(f"{len(texts):,} texts, {len(distinct):,} of them distinct: {reviews.name}")
    rows, starts = [], []
    names = [f"start-up {number} of {STARTS}" for number in range(1, STARTS + 1)]
    agenda.plan([*PROCESSES, *names])
    with agenda:
        for name, process in PROCESSES.items():
            with agenda.measurement(name):
                steps = process(texts, settings.maxlen)
            rows += [
                {
                    "tokenizer": name,
                    "step": step,
                    "seconds": clock,
                    "CPU seconds": processor,
                    "reviews/s": round(len(texts) / clock),
                }
                for step, (clock, processor) in steps.items()
            ]
        for name in names:
            with agenda.measurement(name):
                starts.append(measure_start())
    return TableMetrics(
        measure="text",
        finding=summary(rows, len(texts)),
        data={"name": reviews.name, "texts": len(texts), "distinct": len(distinct)},
        notes=[reviews.note] if reviews.note else [],
        results={
            f"{len(texts):,} texts to ids padded to {settings.maxlen}": rows,
            f"Start-up, median of {len(starts)}": [
                {"what": what, "seconds": statistics.median(s[what] for s in starts)}
                for what in (starts[0] if starts else ())
            ],
        },
    )


def summary(rows: Sequence[dict], texts: int) -> str:
    """Return in a sentence how long each tokenizer takes, the fastest first."""
    seconds = {
        row["tokenizer"]: row["seconds"] for row in rows if row["step"] == ENCODE
    }
    if not seconds:
        return ""
    ranked = sorted(seconds, key=seconds.get)
    times = ", ".join(f"{name} {seconds[name]:.1f} s" for name in ranked)
    return f"From {texts:,} texts to padded ids: {times}."


def _ours(texts: list[str], maxlen: int, tokenizer: str) -> dict[str, Seconds]:
    building, vocabulary = _timed(lambda: Vocabulary.build(texts, tokenizer=tokenizer))
    encoding, _ = _timed(lambda: pad(vocabulary.encode_all(texts), maxlen))
    return _steps(building, encoding)


def _scikit_learn(texts: list[str], maxlen: int) -> dict[str, Seconds]:
    analyze = CountVectorizer().build_analyzer()

    def build() -> dict[str, int]:
        counts = Counter(chain.from_iterable(map(analyze, texts)))
        words = enumerate(counts.most_common(), FIRST_WORD)
        return {word: rank for rank, (word, _) in words}

    def encode(text: str) -> np.ndarray:
        return np.fromiter(map(ids.get, analyze(text), repeat(OOV)), np.int32)

    building, ids = _timed(build)
    encoding, _ = _timed(lambda: pad([*map(encode, texts)], maxlen))
    return _steps(building, encoding)


def _keras(texts: list[str], maxlen: int) -> dict[str, Seconds]:
    layer = keras.layers.TextVectorization(output_sequence_length=maxlen)
    array = np.array(texts, dtype=object)
    batches = [array[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    building, _ = _timed(lambda: layer.adapt(iter(batches)))
    encoding, _ = _timed(
        lambda: [keras.ops.convert_to_numpy(layer(batch)) for batch in batches]
    )
    return _steps(building, encoding)


def _steps(building: Seconds, encoding: Seconds) -> dict[str, Seconds]:
    return {"build vocabulary": building, ENCODE: encoding}


# By tokenizer the function that returns the times of its steps from texts to ids padded
# to a length: ours, scikit-learn's analyser with a dictionary, and Keras's layer.
PROCESSES = {name: partial(_ours, tokenizer=name) for name in TOKENIZERS} | {
    "CountVectorizer": _scikit_learn,
    "TextVectorization": _keras,
}


def _timed(function: Callable) -> tuple[Seconds, object]:
    clock, processor = time.perf_counter(), time.process_time()
    result = function()
    return (time.perf_counter() - clock, time.process_time() - processor), result


def measure_start() -> dict[str, float]:
    """Return the seconds of `--help` and of our own import."""
    start = time.perf_counter()
    run_python("-m", "experiments.imdb_sentiment", "--help")
    return {
        "python -m experiments.imdb_sentiment --help": time.perf_counter() - start,
        "import lstm_keras beyond import keras": float(run_python("-c", IMPORT)),
    }


def run_python(*arguments: str) -> str:
    """Return the output of Python in a process of its own."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
