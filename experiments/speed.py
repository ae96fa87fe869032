"""How fast is it? For now: review texts to padded word ids."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from experiments import runner
from experiments.runner import option

DESCRIPTION = """\
Time how long review texts take to become padded word ids, in one process, with each
tokenizer: on the clock, and in processor time, which a busy machine does not stretch.
"""

Seconds = tuple[float, float]  # on the clock, and of this process's processor time


@dataclass(frozen=True)
class Settings:
    """The options of the benchmark; `--help` explains them."""

    data: str = option(
        "auto",
        "auto, embedded, or the path of an IMDB archive, folder or CSV file",
        group="data",
    )
    reviews: int = option(
        50_000,
        "number of texts; the reviews are repeated where there are fewer",
        group="data",
        least=1,
    )
    maxlen: int = option(200, "padded length", group="data", least=1)


def main(argv: Sequence[str]) -> None:
    """Run the benchmark of the command line and print its table."""
    settings = runner.parse(
        Settings, argv, program="python -m experiments.speed", description=DESCRIPTION
    )
    with runner.readable_errors():
        run(settings)


def run(settings: Settings) -> None:
    """Load the texts, time every step, print a row for each."""
    with runner.stage(f"Loading the reviews ({settings.data})"):
        from lstm_keras.datasets import load_reviews

        reviews = load_reviews(settings.data, tokenizer="words")
    if reviews.note:
        print(reviews.note)
    distinct = [*reviews.train.texts, *reviews.test.texts]
    texts = list(islice(cycle(distinct), settings.reviews))
    machine = runner.environment()["machine"]
    print(f"{len(texts):,} texts, {len(distinct):,} of them distinct: {reviews.name}")
    print(f"{machine['cpu']}, {machine['cores']} cores")
    print(f"{'tokenizer':11}{'step':18}{'seconds':>9}{'CPU s':>9}{'reviews/s':>11}")
    for tokenizer, steps in measure_text(texts, settings.maxlen).items():
        for step, (clock, processor) in steps.items():
            rate = len(texts) / clock
            print(f"{tokenizer:11}{step:18}{clock:9.2f}{processor:9.2f}{rate:11,.0f}")


def measure_text(texts: list[str], maxlen: int) -> dict[str, dict[str, Seconds]]:
    """Return the time of each step from texts to padded ids, by tokenizer."""
    from lstm_keras.preprocessing import TOKENIZERS, Vocabulary, pad

    results = {}
    for tokenizer in TOKENIZERS:
        building, vocabulary = _timed(Vocabulary.build, texts, tokenizer=tokenizer)
        encoding, _ = _timed(lambda v=vocabulary: pad(v.encode_all(texts), maxlen))
        results[tokenizer] = {"build vocabulary": building, "text to ids": encoding}
    return results


def _timed(function: Callable, *arguments, **options) -> tuple[Seconds, object]:
    clock, processor = time.perf_counter(), time.process_time()
    result = function(*arguments, **options)
    return (time.perf_counter() - clock, time.process_time() - processor), result


if __name__ == "__main__":
    main(sys.argv[1:])
