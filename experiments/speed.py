"""How fast is it? For now: review texts to padded word ids.

python -m experiments.speed --text auto --reviews 50000
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path

Seconds = tuple[float, float]  # on the clock, and of this process's processor time


def measure_text(texts: list[str], maxlen: int) -> dict[str, dict[str, Seconds]]:
    """Time of each step from `texts` to padded ids, by tokenizer; one process."""
    from lstm_keras.preprocessing import TOKENIZERS, Vocabulary, pad

    results = {}
    for tokenizer in TOKENIZERS:
        build = partial(Vocabulary.build, texts, tokenizer=tokenizer)
        building, vocabulary = _timed(build)
        encoding, _ = _timed(lambda v=vocabulary: pad(v.encode_all(texts), maxlen))
        results[tokenizer] = {"build vocabulary": building, "text to ids": encoding}
    return results


def _timed(function: Callable[[], object]) -> tuple[Seconds, object]:
    clock, processor = time.perf_counter(), time.process_time()
    result = function()
    return (time.perf_counter() - clock, time.process_time() - processor), result


def describe_machine() -> str:
    """Processor, cores and versions, in one line."""
    import numpy as np

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():  # Linux, where platform.processor() is empty
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.split(":")[1].strip() for line in lines if "model name" in line]
        model = names[0] if names else model
    return (
        f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"NumPy {np.__version__}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmark of the command line and prints its table."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.speed",
        description="Times review texts to padded word ids, in one process.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--text",
        default="auto",
        metavar="DATA",
        help='"auto", "embedded", or the path of an IMDB archive, folder or CSV',
    )
    parser.add_argument(
        "--reviews",
        type=int,
        default=50_000,
        help="number of texts; the reviews are repeated where there are fewer",
    )
    parser.add_argument("--maxlen", type=int, default=200, help="padded length")
    options = parser.parse_args(arguments)
    for name in ("reviews", "maxlen"):
        if getattr(options, name) < 1:
            parser.error(f"expected --{name} of at least 1")

    from lstm_keras.datasets import load_reviews

    (seconds, _), data = _timed(lambda: load_reviews(options.text, tokenizer="words"))
    if data.note:
        print(data.note)
    distinct = [*data.train.texts, *data.test.texts]
    texts = list(islice(cycle(distinct), options.reviews))
    print(f"{data.name}: {len(distinct)} reviews loaded in {seconds:.1f} s")
    print(f"{len(texts)} texts, padded to {options.maxlen} ids")
    print(describe_machine())
    print(f"{'tokenizer':11}{'step':18}{'seconds':>9}{'CPU s':>9}{'reviews/s':>11}")
    for tokenizer, steps in measure_text(texts, options.maxlen).items():
        for step, (clock, processor) in steps.items():
            rate = len(texts) / clock
            print(f"{tokenizer:11}{step:18}{clock:9.2f}{processor:9.2f}{rate:11,.0f}")


if __name__ == "__main__":
    main()
