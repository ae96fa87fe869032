"""Time learning the next word, and writing text."""

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from experiments import runner


def prefixes(settings) -> dict:
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
    ratios, rows = [], []
    for seed in range(settings.seeds):
        seconds = {}
        for form in LEARNING_RATES:
            result = measure_learning(corpus, form, goal, settings.epochs, seed)
            if result["accuracy"] >= goal:
                seconds[form] = result["training"]
            rows.append({"form": form, "seed": seed, **result})
            print(
                f"{form:10}{seed:5}{result['epochs']:8}{result['training']:12.2f}"
                f"{result['compiling']:13.2f}{result['accuracy']:9.4f}",
                flush=True,
            )
        if len(seconds) == len(LEARNING_RATES):
            ratios.append(seconds["prefixes"] / seconds["passes"])
    notes = comparison(ratios, settings.seeds)
    print("\n".join(notes))
    return {
        "data": {"name": corpus.name, **corpus.facts["train"]},
        "engine": engine("loop"),
        "notes": notes,
        "results": {f"Until {goal:.4f} of the prefixes are right": rows},
    }


def comparison(ratios: Sequence[float], seeds: int) -> list[str]:
    """Return what the ratios of the seeds that reached the accuracy say."""
    lines = []
    if len(ratios) < seeds:
        lines.append(f"{seeds - len(ratios)} seeds did not reach the accuracy")
    if ratios:
        lines.append(
            f"prefixes / passes: {statistics.median(ratios):.1f} (median; "
            f"{min(ratios):.1f} to {max(ratios):.1f})"
        )
    return lines


def engine(name: str) -> dict:
    """Return which layer computed the numbers, and on which path."""
    from lstm_keras import LSTM

    path = LSTM(1, engine=name).explain_engine(training=True).engine
    return {"layer": "lstm_keras.LSTM", "path": path}


def small_text(source: str):
    """Return the small text, every word of it in the vocabulary, nothing held out."""
    from lstm_keras.datasets.corpora import load_text

    limit = None
    if source == "auto":
        faq = Path(os.environ.get("LSTM_KERAS_DATA", "")) / "next_word" / "faq.txt"
        source, limit = (faq, None) if faq.is_file() else ("embedded", 1000)
    return load_text(source, held_out=0, min_count=1, limit=limit)


def best_accuracy(ids) -> float:
    """Return what no model can exceed: equal prefixes may go on in different ways."""
    from collections import Counter, defaultdict

    from lstm_keras.preprocessing.next_word import sentences

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

    from lstm_keras import LSTM
    from lstm_keras.evaluation.language import evaluate_language_model
    from lstm_keras.language_model.model import (
        LanguageModelTrainer,
        build_language_model,
        start_at_unigrams,
    )
    from lstm_keras.language_model.training import PrefixBatches, SentenceBatches, score
    from lstm_keras.preprocessing.next_word import sentences

    keras.utils.set_random_seed(seed)
    size = len(corpus.vocabulary)
    parts = build_language_model(
        size,
        100,
        # The loop compiles nothing anew for a batch of another shape, of which the
        # passes have some after the first epoch.
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
    seconds, accuracies = [], []

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            batches.enter(epoch)
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


def generation(settings) -> dict:
    """Time a new token after prompts of several lengths."""
    print(f"{'prompt':>8}{'ms a new token':>16}")
    times = measure_generation((1, 10, 100, 1000))
    for length, milliseconds in times.items():
        print(f"{length:8}{milliseconds:16.2f}")
    rows = [{"prompt": n, "milliseconds a new token": ms} for n, ms in times.items()]
    return {
        "data": {"name": "a vocabulary of 10,000 words, no text"},
        "engine": engine("auto"),
        "notes": [],
        "results": {"A new token": rows},
    }


def measure_generation(lengths: Sequence[int], tokens: int = 100) -> dict[int, float]:
    """Return the median milliseconds of a step of the default model, 10,000 words."""
    import numpy as np

    from lstm_keras import LSTM
    from lstm_keras.language_model.generation import Stepper
    from lstm_keras.language_model.model import build_language_model

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
