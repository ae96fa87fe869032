"""Time the training of a next-word model, and text generation."""

import os
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from itertools import product
from pathlib import Path

import keras
import numpy as np

from experiments.common.terminal import stage
from experiments.speed.agenda import Agenda
from experiments.speed.metrics import TableMetrics
from experiments.speed.settings import Settings
from lstm_keras import LSTM
from lstm_keras.datasets import Corpus, load_text
from lstm_keras.evaluation import evaluate_language_model
from lstm_keras.language_model import (
    LanguageModel,
    LanguageModelTrainer,
    Stepper,
    build_language_model,
    score,
    start_at_unigrams,
)
from lstm_keras.preprocessing import PrefixBatches, SentenceBatches, sentences

# The tutorial's batch size for both forms, and for each the fastest learning rate of
# Adam among 0.003, 0.005, 0.01, 0.02, 0.03 (prefixes) and from 0.01 to 0.05 (passes).
BATCH_SIZE = 32
LEARNING_RATES = {"prefixes": 0.01, "passes": 0.03}

PROMPTS = (1, 10, 100, 1000)  # their lengths
NEW_TOKENS = 100  # timed after each


def prefixes(settings: Settings, agenda: Agenda) -> TableMetrics:
    """Time two forms of training on the same sentences to the same accuracy."""
    with stage("Loading the text"):
        corpus = small_text(settings.text)
    goal = min(settings.accuracy, best_accuracy(corpus.train))
    print(
        f"{corpus.name}: {corpus.facts['train']['segments']} sentences, "
        f"{len(corpus.train):,} tokens; until {goal:.4f} of the prefixes are right"
    )
    rows, jobs = [], product(range(settings.seeds), LEARNING_RATES)
    names = {f"learning by {form}, seed {seed}": (form, seed) for seed, form in jobs}
    agenda.plan(names)
    with agenda:
        for name, (form, seed) in names.items():
            with agenda.measurement(name):
                result = measure_learning(corpus, form, goal, settings.epochs, seed)
            rows.append({"form": form, "seed": seed, **result})
    failed = {row["seed"] for row in rows if row["accuracy"] < goal}
    return TableMetrics(
        measure="prefixes",
        finding=comparison(rows, failed),
        data={"name": corpus.name, **corpus.facts["train"]},
        engine=engine("loop"),
        notes=[f"Seeds that did not reach the accuracy: {len(failed)}"]
        if failed
        else [],
        results={f"Until {goal:.4f} of the prefixes are right": rows},
    )


def comparison(rows: Sequence[dict], failed: Collection[int]) -> str:
    """Compare the forms by the seeds that reached the accuracy, in a sentence."""
    seconds = {(row["form"], row["seed"]): row["training"] for row in rows}
    ratios = [
        seconds["prefixes", seed] / value
        for (form, seed), value in seconds.items()
        if form == "passes" and seed not in failed
    ]
    if not ratios:
        return ""
    return (
        f"One pass per sentence learns the text {statistics.median(ratios):.1f} times "
        f"as fast as prefixes written out (median of {len(ratios)} seeds; "
        f"{min(ratios):.1f} to {max(ratios):.1f})."
    )


def engine(name: str) -> dict:
    """Return layer and engine."""
    path = LSTM(1, engine=name).explain_engine(training=True).engine
    return {"layer": "lstm_keras.LSTM", "path": path}


def small_text(source: str) -> Corpus:
    """Return the small text, with all its words in the vocabulary."""
    limit = None
    if source == "auto":
        faq = Path(os.environ.get("LSTM_KERAS_DATA", "")) / "next_word" / "faq.txt"
        source, limit = (faq, None) if faq.is_file() else ("embedded", 1000)
    return load_text(source, held_out=0, min_count=1, limit=limit)


def best_accuracy(ids: np.ndarray) -> float:
    """Return the best possible accuracy; equal prefixes may continue differently."""
    nexts = defaultdict(Counter)
    for sentence in sentences(ids):
        words = sentence.tolist()[:-1]
        for end in range(1, len(words)):
            nexts[tuple(words[:end])][words[end]] += 1
    most = sum(max(counts.values()) for counts in nexts.values())
    return most / sum(counts.total() for counts in nexts.values())


class AccuracyGoal(keras.callbacks.Callback):
    """Stops the training once the accuracy on the prefixes is high enough.

    The time of evaluation after each epoch does not count.

    Args:
        parts: The model.
        ids: Its text.
        goal: The accuracy to reach.

    Attributes:
        seconds: The duration of each epoch.
        accuracy: After the last epoch.
    """

    def __init__(self, parts: LanguageModel, ids: np.ndarray, goal: float):
        super().__init__()
        self.parts, self.ids, self.goal = parts, ids, goal
        self.seconds: list[float] = []
        self.accuracy = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Stop the clock, and evaluate."""
        self.seconds.append(time.perf_counter() - self._start)
        scores = score(self.parts, self.ids, stream=False)
        self.accuracy = evaluate_language_model(scores, name="").prefix_accuracy
        self.model.stop_training = self.accuracy >= self.goal


def measure_learning(
    corpus: Corpus, form: str, goal: float, epochs: int, seed: int
) -> dict:
    """Train the default model until it predicts its text to an accuracy of `goal`.

    The time by which the first epoch is longer than the others is compilation.
    """
    keras.utils.set_random_seed(seed)
    parts = build_language_model(
        len(corpus.vocabulary),
        100,
        # The loop does not compile again for batches of new shapes, which the passes
        # have after the first epoch, too.
        [LSTM(150, return_sequences=True, return_state=True, engine="loop")],
        mask_padding=form == "prefixes",
    )
    start_at_unigrams(parts.head, corpus.counts)
    trainer = LanguageModelTrainer(parts)
    rate = LEARNING_RATES[form]
    trainer.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0))
    batches = {"prefixes": PrefixBatches, "passes": SentenceBatches}[form](
        sentences(corpus.train), BATCH_SIZE, seed
    )
    clock = AccuracyGoal(parts, corpus.train, goal)
    entering = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: batches.enter(epoch)
    )
    trainer.fit(
        batches, epochs=epochs, callbacks=[entering, clock], shuffle=False, verbose=0
    )
    seconds = clock.seconds
    usual = statistics.median(seconds[1:] or seconds)
    return {
        "epochs": len(seconds),
        "training": usual + sum(seconds[1:]),
        "compiling": seconds[0] - usual,
        "accuracy": clock.accuracy,
    }


def generation(settings: Settings, agenda: Agenda) -> TableMetrics:
    """Time a new token after prompts of several lengths."""
    with stage("Building the model"):
        lstm = LSTM(150, return_sequences=True, return_state=True)
        stepper = Stepper(build_language_model(10_000, 100, [lstm]).model)
        stepper.feed(np.ones((1, 1), np.int32), stepper.start())  # compiles
    times = {}
    names = {f"after a prompt of {length:,} tokens": length for length in PROMPTS}
    agenda.plan(names)
    with agenda:
        for name, length in names.items():
            with agenda.measurement(name):
                times[length] = milliseconds_a_token(stepper, length)
    values = [f"{value:.2f} ms" for value in times.values()]
    return TableMetrics(
        measure="generation",
        finding=f"A new word takes {', '.join(values)} after prompts of "
        f"{', '.join(f'{length:,}' for length in times)} words.",
        data={"name": "a vocabulary of 10,000 words, no text"},
        engine=engine("auto"),
        notes=[],
        results={
            "A new token": [
                {"prompt": length, "milliseconds a new token": value}
                for length, value in times.items()
            ]
        },
    )


def milliseconds_a_token(stepper: Stepper, length: int) -> float:
    """Return the median time of a step of a model after a prompt."""
    _, states = stepper.feed(np.full((1, length), 4), stepper.start())
    clocks = []
    for _ in range(NEW_TOKENS):
        start = time.perf_counter()
        _, states = stepper.feed(np.full((1, 1), 4), states)
        clocks.append(time.perf_counter() - start)
    return 1000 * statistics.median(clocks)
