"""How fast is it? Reviews to ids, learning the next word, and writing text."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from experiments import runner
from experiments.runner import option

DESCRIPTION = """\
Time the parts of the package, each in one process:

  text        review texts to padded word ids, with each tokenizer: on the clock, and in
              processor time, which a busy machine does not stretch
  prefixes    learning a small text by heart: one pass per sentence against the usual
              tutorial's expansion into prefixes, to the same accuracy; both learn every
              token from the first to the end of the sentence
  generation  a new token after prompts of several lengths
"""

Seconds = tuple[float, float]  # on the clock, and of this process's processor time


@dataclass(frozen=True)
class Settings:
    """The options of the benchmark; `--help` explains them."""

    measure: str = option(
        "text",
        "what to time",
        group="what",
        choices=("text", "prefixes", "generation"),
    )
    data: str = option(
        "auto",
        "auto, embedded, or the path of an IMDB archive, folder or CSV file",
        group="text",
    )
    reviews: int = option(
        50_000,
        "number of texts; the reviews are repeated where there are fewer",
        group="text",
        least=1,
    )
    maxlen: int = option(200, "padded length", group="text", least=1)
    text: str = option(
        "auto",
        "a text file, a sentence a line; auto: next_word/faq.txt under "
        "$LSTM_KERAS_DATA, or else some sentences of the embedded documentation",
        group="prefixes",
    )
    accuracy: float = option(
        0.955,
        "share of the prefixes whose next word the model must know; less is asked if "
        "no model can know so many",
        group="prefixes",
        above=0,
        most=1,
    )
    epochs: int = option(100, "most passes over the text", group="prefixes", least=2)
    seeds: int = option(3, "train so many times", group="prefixes", least=1)


def main(argv: Sequence[str]) -> None:
    """Run the benchmark of the command line and print its table."""
    settings = runner.parse(
        Settings, argv, program="python -m experiments.speed", description=DESCRIPTION
    )
    with runner.readable_errors():
        run(settings)


def run(settings: Settings) -> None:
    """Time what was asked for, and print a row for each result."""
    machine = runner.environment()["machine"]
    print(f"{machine['cpu']}, {machine['cores']} cores")
    {"text": text, "prefixes": prefixes, "generation": generation}[settings.measure](
        settings
    )


def text(settings: Settings) -> None:
    """Time the way of reviews to ids."""
    with runner.stage(f"Loading the reviews ({settings.data})"):
        from lstm_keras.datasets import load_reviews

        reviews = load_reviews(settings.data, tokenizer="words")
    if reviews.note:
        print(reviews.note)
    distinct = [*reviews.train.texts, *reviews.test.texts]
    texts = list(islice(cycle(distinct), settings.reviews))
    print(f"{len(texts):,} texts, {len(distinct):,} of them distinct: {reviews.name}")
    print(f"{'tokenizer':11}{'step':18}{'seconds':>9}{'CPU s':>9}{'reviews/s':>11}")
    for tokenizer, steps in measure_text(texts, settings.maxlen).items():
        for step, (clock, processor) in steps.items():
            rate = len(texts) / clock
            print(f"{tokenizer:11}{step:18}{clock:9.2f}{processor:9.2f}{rate:11,.0f}")


def measure_text(texts: list[str], maxlen: int) -> dict[str, dict[str, Seconds]]:
    """Return the time of each step from texts to padded ids, by tokenizer."""
    from lstm_keras.preprocessing import Vocabulary, pad
    from lstm_keras.tokenizers import TOKENIZERS

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


def prefixes(settings: Settings) -> None:
    """Time two forms of learning the same sentences to the same accuracy."""
    with runner.stage("Loading the text"):
        corpus = small_text(settings.text)
    goal = min(settings.accuracy, best_accuracy(corpus.train))
    print(
        f"{corpus.name}: {corpus.facts['train']['segments']} sentences, "
        f"{len(corpus.train):,} tokens; until {goal:.4f} of the prefixes are right"
    )
    print(
        f"{'form':10}{'seed':>5}{'epochs':>8}{'training s':>12}{'compiling s':>13}"
        f"{'reached':>9}"
    )
    ratios = []
    for seed in range(settings.seeds):
        seconds = {}
        for form in LEARNING_RATES:
            result = measure_learning(corpus, form, goal, settings.epochs, seed)
            if result["accuracy"] >= goal:
                seconds[form] = result["training"]
            print(
                f"{form:10}{seed:5}{result['epochs']:8}{result['training']:12.2f}"
                f"{result['compiling']:13.2f}{result['accuracy']:9.4f}",
                flush=True,
            )
        if len(seconds) == len(LEARNING_RATES):
            ratios.append(seconds["prefixes"] / seconds["passes"])
    if len(ratios) < settings.seeds:
        print(f"{settings.seeds - len(ratios)} seeds did not reach the accuracy")
    if ratios:
        print(
            f"prefixes / passes: {statistics.median(ratios):.1f} (median; "
            f"{min(ratios):.1f} to {max(ratios):.1f})"
        )


def small_text(source: str):
    """Return the small text, every word of it in the vocabulary, nothing held out."""
    from lstm_keras.corpora import load_text

    limit = None
    if source == "auto":
        faq = Path(os.environ.get("LSTM_KERAS_DATA", "")) / "next_word" / "faq.txt"
        source, limit = (faq, None) if faq.is_file() else ("embedded", 1000)
    return load_text(source, held_out=0, min_count=1, limit=limit)


def best_accuracy(ids) -> float:
    """Return what no model can exceed: equal prefixes may go on in different ways."""
    from collections import Counter, defaultdict

    from lstm_keras.next_word import sentences

    nexts = defaultdict(Counter)
    for sentence in sentences(ids):
        words = sentence.tolist()[:-1]
        for end in range(1, len(words)):
            nexts[tuple(words[:end])][words[end]] += 1
    most = sum(max(counts.values()) for counts in nexts.values())
    return most / sum(counts.total() for counts in nexts.values())


# The tutorial's batches for both, and for each the rate of Adam with which it was
# fastest of those tried: 0.003, 0.005, 0.01, 0.02, 0.03; 0.01 to 0.05.
BATCH_SIZE = 32
LEARNING_RATES = {"prefixes": 0.01, "passes": 0.03}


def measure_learning(corpus, form: str, goal: float, epochs: int, seed: int) -> dict:
    """Train the default model until it knows its text, looking after every epoch.

    Looking takes no part in the time. What the first epoch took longer than the others
    is compiling.
    """
    import keras
    import numpy as np

    from experiments.next_word_training import PrefixBatches, SentenceBatches, score
    from lstm_keras import LSTM
    from lstm_keras.language_evaluation import evaluate_language_model
    from lstm_keras.language_model import (
        LanguageModelTrainer,
        build_language_model,
        start_at_unigrams,
    )
    from lstm_keras.next_word import sentences

    keras.utils.set_random_seed(seed)
    size = len(corpus.vocabulary)
    parts = build_language_model(
        size,
        100,
        [LSTM(150, return_sequences=True, return_state=True)],
        mask_padding=form == "prefixes",
    )
    start_at_unigrams(parts.head, np.bincount(corpus.train, minlength=size))
    trainer = LanguageModelTrainer(parts)
    rate = LEARNING_RATES[form]
    trainer.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0))
    batches = {"prefixes": PrefixBatches, "passes": SentenceBatches}[form](
        sentences(corpus.train), BATCH_SIZE, np.random.default_rng(seed)
    )
    seconds, accuracies = [], []

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.start)
            scores = score(parts, corpus.train, stream=False)
            result = evaluate_language_model(scores, name=form)
            accuracies.append(result.prefix_accuracy)
            self.model.stop_training = accuracies[-1] >= goal

    trainer.fit(batches, epochs=epochs, callbacks=[Look()], shuffle=False, verbose=0)
    usual = statistics.median(seconds[1:] or seconds)
    return {
        "epochs": len(seconds),
        "training": usual + sum(seconds[1:]),
        "compiling": seconds[0] - usual,
        "accuracy": accuracies[-1],
    }


def generation(settings: Settings) -> None:
    """Time a new token after prompts of several lengths."""
    print(f"{'prompt':>8}{'ms a new token':>16}")
    for length, milliseconds in measure_generation((1, 10, 100, 1000)).items():
        print(f"{length:8}{milliseconds:16.2f}")


def measure_generation(lengths: Sequence[int], tokens: int = 100) -> dict[int, float]:
    """Return the median milliseconds of a step of the default model, 10,000 words."""
    import numpy as np

    from lstm_keras import LSTM
    from lstm_keras.generation import Stepper
    from lstm_keras.language_model import build_language_model

    lstm = LSTM(150, return_sequences=True, return_state=True)
    stepper = Stepper(build_language_model(10_000, 100, [lstm]).model)
    stepper.feed(np.ones((1, 1), np.int32), stepper.start())  # compiles
    results = {}
    for length in lengths:
        _, states = stepper.feed(np.full((1, length), 4), stepper.start())
        clocks = []
        for _ in range(tokens):
            start = time.perf_counter()
            _, states = stepper.feed(np.full((1, 1), 4), states)
            clocks.append(time.perf_counter() - start)
        results[length] = 1000 * statistics.median(clocks)
    return results


if __name__ == "__main__":
    main(sys.argv[1:])
