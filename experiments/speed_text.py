"""Time the way from reviews to ids, and how long starting takes."""

import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, cycle, islice, repeat

from experiments import runner

Seconds = tuple[float, float]  # on the clock, and of this process's processor time

STARTS = 5
BATCH = 1024  # texts at once for Keras's layer

IMPORT = """\
import time, keras
start = time.perf_counter()
import lstm_keras
print(time.perf_counter() - start)
"""


def text(settings) -> dict:
    """Time reviews to ids with every tokenizer and with others', and the start."""
    with runner.stage(f"Loading the reviews ({settings.data})"):
        from lstm_keras.datasets.reviews import load_reviews

        reviews = load_reviews(settings.data, tokenizer="words")
    if reviews.note:
        print(reviews.note)
    distinct = [*reviews.train.texts, *reviews.test.texts]
    texts = list(islice(cycle(distinct), settings.reviews))
    print(f"{len(texts):,} texts, {len(distinct):,} of them distinct: {reviews.name}")
    print(f"{'tokenizer':20}{'step':18}{'seconds':>9}{'CPU s':>9}{'reviews/s':>11}")
    rows = []
    for tokenizer, steps in measure_text(texts, settings.maxlen):
        for step, (clock, processor) in steps.items():
            rate = len(texts) / clock
            print(
                f"{tokenizer:20}{step:18}{clock:9.2f}{processor:9.2f}{rate:11,.0f}",
                flush=True,
            )
            row = {"tokenizer": tokenizer, "step": step, "seconds": clock}
            rows.append(row | {"CPU seconds": processor, "reviews/s": round(rate)})
    starts = measure_start()
    for what, seconds in starts.items():
        print(f"{what:60}{seconds:9.3f} s (median of {STARTS})")
    return {
        "data": {"name": reviews.name, "texts": len(texts), "distinct": len(distinct)},
        "engine": {},
        "notes": [reviews.note] if reviews.note else [],
        "results": {
            f"{len(texts):,} texts to ids padded to {settings.maxlen}": rows,
            f"Start, median of {STARTS}": [
                {"what": what, "seconds": seconds} for what, seconds in starts.items()
            ],
        },
    }


def measure_text(
    texts: list[str], maxlen: int
) -> Iterator[tuple[str, dict[str, Seconds]]]:
    """Give each tokenizer's name, and the time of its steps from texts to padded ids.

    Ours first, then scikit-learn's analyser with a dictionary, and Keras's layer.
    """
    from lstm_keras.preprocessing.tokenizers import TOKENIZERS

    for tokenizer in TOKENIZERS:
        yield tokenizer, _ours(texts, maxlen, tokenizer)
    yield "CountVectorizer", _scikit_learn(texts, maxlen)
    yield "TextVectorization", _keras(texts, maxlen)


def _ours(texts: list[str], maxlen: int, tokenizer: str) -> dict[str, Seconds]:
    from lstm_keras.preprocessing.vocabulary import Vocabulary, pad

    building, vocabulary = _timed(lambda: Vocabulary.build(texts, tokenizer=tokenizer))
    encoding, _ = _timed(lambda: pad(vocabulary.encode_all(texts), maxlen))
    return _steps(building, encoding)


def _scikit_learn(texts: list[str], maxlen: int) -> dict[str, Seconds]:
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    from lstm_keras.preprocessing.vocabulary import FIRST_WORD, OOV, pad

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
    import keras
    import numpy as np

    layer = keras.layers.TextVectorization(output_sequence_length=maxlen)
    array = np.array(texts, dtype=object)
    batches = [array[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    building, _ = _timed(lambda: layer.adapt(iter(batches)))
    encoding, _ = _timed(
        lambda: [keras.ops.convert_to_numpy(layer(batch)) for batch in batches]
    )
    return _steps(building, encoding)


def _steps(building: Seconds, encoding: Seconds) -> dict[str, Seconds]:
    return {"build vocabulary": building, "text to ids": encoding}


def _timed(function: Callable) -> tuple[Seconds, object]:
    clock, processor = time.perf_counter(), time.process_time()
    result = function()
    return (time.perf_counter() - clock, time.process_time() - processor), result


def measure_start() -> dict[str, float]:
    """Return the median seconds until `--help` has answered, and of our own import."""
    with runner.stage("Starting a script, and importing"):
        helps, imports = [], []
        for _ in range(STARTS):
            start = time.perf_counter()
            run_python("-m", "experiments.imdb_sentiment", "--help")
            helps.append(time.perf_counter() - start)
            imports.append(float(run_python("-c", IMPORT)))
    return {
        "python -m experiments.imdb_sentiment --help": statistics.median(helps),
        "import lstm_keras beyond import keras": statistics.median(imports),
    }


def run_python(*arguments: str) -> str:
    """Return what Python prints in a process of its own."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
