"""IMDB sentiment: train, evaluate, report and use an LSTM classifier of reviews."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from experiments import (
    data_parallel,
    recurrent,
    report,
    runner,
    sentiment_report,
    training,
)
from experiments.reproducible import make_deterministic
from experiments.run_folder import RunFolder, begin, run_path
from experiments.runner import configuration
from experiments.sentiment import (
    RECIPES,
    Settings,
    Trained,
    check_data,
    data_facts,
    describe,
    examples,
    split_sizes,
    train_one,
)
from experiments.whole_files import write_csv, write_json

EXPERIMENT = "imdb_sentiment"

DESCRIPTION = """\
Train Embedding -> LSTM -> Dense(1, sigmoid) on film reviews, compare it with two
baselines on the same data, and write a report.

  python -m experiments.imdb_sentiment                     train with the defaults
  python -m experiments.imdb_sentiment --layer builtin     the same with Keras's LSTM
  python -m experiments.imdb_sentiment --resume RUN        go on with a stopped run
  python -m experiments.imdb_sentiment predict RUN "text"  use a trained model
"""

USAGE = "%(prog)s [options]\n       %(prog)s predict RUN TEXT [TEXT ...]"

EPILOG = """\
Everything goes to OUTPUT/imdb_sentiment/NAME: config.json, metrics.json, history.csv,
model.keras, vocabulary.json, figures/*.png and report.html. Ctrl-C or SIGTERM ends the
training after the current step and still writes the report; --resume goes on with it,
also after a kill or a power cut.
"""


def main(argv: Sequence[str]) -> None:
    """Train, or with `predict` as the first word use, a sentiment model."""
    if argv[:1] == ["predict"]:
        predict(argv[1:])
        return
    runner.start(
        run,
        Settings,
        argv,
        experiment=EXPERIMENT,
        description=DESCRIPTION,
        usage=USAGE,
        epilog=EPILOG,
        recipes=RECIPES,
    )


def run(settings: Settings, command: str) -> Path:
    """Load the data, train, evaluate, and write the run folder; return its path."""
    check_data(settings.data)
    path = run_path(settings.output, EXPERIMENT, settings.name)
    with RunFolder(path, settings.overwrite, settings.resume is not None) as folder:
        start = time.perf_counter()
        with runner.stage("Loading Keras"):
            if settings.deterministic:
                make_deterministic()
            import keras

            from lstm_keras.datasets.reviews import load_reviews
        keras.config.set_dtype_policy(settings.dtype)
        devices = data_parallel.devices(settings)
        engine = recurrent.engine(settings)
        print(recurrent.described(engine))
        with runner.stage(f"Loading the reviews ({settings.data})"):
            reviews = load_reviews(settings.data, limit=settings.limit)
        describe(reviews)
        vocabulary = reviews.vocabulary.limit(settings.num_words)
        config, data = configuration(EXPERIMENT, settings), data_facts(reviews)
        environment = runner.environment(devices)
        kept = begin(folder, config, command, environment, data)
        trained, diverged, ending = train_all(settings, reviews, len(vocabulary), kept)
        baselines, baselines_ending = evaluate_baselines(
            settings, reviews, quick=bool(ending)
        )
        ending = ending or baselines_ending
        best = min(trained, key=lambda one: one.validation.log_loss)
        metrics = {
            "experiment": EXPERIMENT,
            "name": settings.name,
            "command": command,
            "interrupted": bool(ending),
            "ending": " ".join([*diverged, *filter(None, [ending])]),
            "data": data | split_sizes(reviews, trained[0].validation.size),
            "engine": engine,
            "environment": environment,
            "seconds": round(time.perf_counter() - start, 1),
            "runs": [one.to_dict() for one in trained],
            "saved_seed": best.seed,
            "summary": summary(trained),
            "baselines": [result.to_dict() for result in baselines],
        }
        with runner.ctrl_c_ignored():
            write_run(folder, config, reviews, vocabulary, trained, best, metrics)
    print(sentiment_report.text(metrics, path))
    return path


def train_all(
    settings: Settings, reviews, input_dim: int, kept: Path
) -> tuple[list[Trained], list[str], str]:
    """Train one model for each seed.

    Args:
        settings: Of the run.
        reviews: The data.
        input_dim: Number of ids.
        kept: The folder where the trainings are kept, and gone on with.

    Returns:
        What was trained, at least one; a sentence for each seed that diverged; and one
        on how it ended early, empty if it did not: an interruption ends the training
        that is running, and leaves out the seeds after it.
    """
    train = examples(reviews.train, settings, input_dim)
    test = examples(reviews.test, settings, input_dim)
    trained, diverged = [], []
    seeds = range(settings.seed, settings.seed + settings.seeds)
    for seed in seeds:
        file = training.Kept(kept / f"seed-{seed}.npz", settings.checkpoint_seconds)
        try:
            trained.append(train_one(settings, train, test, input_dim, seed, file))
        except training.DivergedError as error:
            diverged.append(f"Seed {seed} diverged: {error}; it is left out.")
            if seed == seeds[-1] and not trained:
                raise
            continue
        except KeyboardInterrupt:  # twice, or not while it learns
            if not trained:
                raise
            what = f"Seed {seed} was interrupted; it and any after it are left out."
            return trained, diverged, what
        if trained[-1].fit.interrupted:
            epoch = len(trained[-1].fit.history["loss"])
            what = f"The training of seed {seed} was interrupted in epoch {epoch}"
            rest = "; later seeds are left out" if seed < seeds[-1] else ""
            return trained, diverged, f"{what}{rest}."
    return trained, diverged, ""


def evaluate_baselines(settings: Settings, reviews, quick: bool) -> tuple[list, str]:
    """Evaluate what needs no neural network, on the same training and test reviews.

    Args:
        settings: Of the run.
        reviews: The data.
        quick: Leave out what has to be trained: somebody wants to see the end.

    Returns:
        The results, and a sentence on how they ended early, empty if they did not: an
        interruption leaves out the rest.
    """
    from lstm_keras.evaluation.classification import majority_baseline, tfidf_baseline

    train, test = reviews.train, reviews.test
    results = [majority_baseline(train.labels, test.labels)]
    if quick or not settings.baselines:
        return results, ""
    words, maxlen = settings.num_words, settings.maxlen
    whole = (train.texts, test.texts)
    # What the network sees, too.
    end = [
        [reviews.vocabulary.decode(ids[-maxlen:]) for ids in split.ids]
        for split in (train, test)
    ]
    bigrams = {"max_features": None, "ngram_range": (1, 2), "c": 10.0}
    variants = [
        (f"{words} words", whole, {"max_features": words}),
        (f"{words} words, last {maxlen} only", end, {"max_features": words}),
        ("all 1-2 grams", whole, bigrams),
    ]
    print()
    for name, (train_texts, test_texts), options in variants:
        try:
            with runner.stage(f"TF-IDF baseline, {name}"):
                result = tfidf_baseline(
                    train_texts, train.labels, test_texts, test.labels, **options
                )
        except KeyboardInterrupt:
            return results, "The baselines were interrupted; the rest is left out."
        name = f"TF-IDF + logistic regression, {name}"
        results.append(dataclasses.replace(result, name=name))
    return results, ""


def summary(trained: Sequence[Trained]) -> dict:
    """Return mean and standard deviation of the accuracies over the seeds."""
    return {
        "seeds": len(trained),
        "validation_accuracy": training.spread(
            [one.validation.accuracy for one in trained]
        ),
        "test_accuracy": training.spread([one.test.accuracy for one in trained]),
    }


def write_run(
    folder: Path, config: dict, reviews, vocabulary, trained, best, metrics
) -> None:
    """Write every file of the run into the folder."""
    from lstm_keras.evaluation.classification import confident_mistakes

    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", metrics)
    write_csv(folder / "history.csv", history_rows(trained))
    best.model.save(folder / "model.keras")
    vocabulary.save(folder / "vocabulary.json")
    test, probabilities = reviews.test, best.test_probabilities
    figures = sentiment_report.figures(
        best.fit, best.test, test, probabilities, config["maxlen"]
    )
    pictures = report.save_figures(folder, figures)
    mistakes = confident_mistakes(test.texts, test.labels, probabilities)
    page = sentiment_report.page(metrics, config, pictures, mistakes)
    (folder / "report.html").write_text(page, encoding="utf-8")


def history_rows(trained: Sequence[Trained]) -> list[dict]:
    """Return a row for each seed and epoch."""
    return [
        {"seed": one.seed, **row}
        for one in trained
        for row in training.history_rows(one.fit)
    ]


def predict(argv: Sequence[str]) -> None:
    """Classify texts with the model of a run."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{EXPERIMENT} predict",
        description="Print label and probability of new reviews.",
    )
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument(
        "texts",
        metavar="TEXT",
        nargs="+",
        help="a review; - reads standard input, one review a line",
    )
    arguments = parser.parse_args(argv)
    with runner.readable_errors():
        from lstm_keras import load_run

        run = load_run(arguments.run)
        texts = []
        for text in arguments.texts:
            # Not splitlines(), which also splits at characters inside a review.
            texts += (
                [line.rstrip("\n") for line in sys.stdin] if text == "-" else [text]
            )
        for prediction in run.predict(texts):
            print(prediction_line(prediction))


def prediction_line(prediction) -> str:
    """Return label, probability of that label, and what the model could not know."""
    positive = prediction.label == "positive"
    sure = prediction.probability if positive else 1 - prediction.probability
    remarks = f"{prediction.unknown} of {prediction.words} words unknown"
    if prediction.unknown == prediction.words:
        remarks += ", so this says nothing about the text"
    elif prediction.read < prediction.words:
        remarks += f", the last {prediction.read} read"
    text = " ".join(prediction.text.split())
    shown = text if len(text) <= 60 else text[:59] + "…"
    return f"{prediction.label}  {sure:.3f}  {shown}  ({remarks})"


if __name__ == "__main__":
    main(sys.argv[1:])
