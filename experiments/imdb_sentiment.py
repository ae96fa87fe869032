"""IMDB sentiment: train, evaluate, report and use an LSTM classifier of reviews."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import recurrent, report, runner, sentiment_report, training
from experiments.run_folder import RunFolder, run_path, write_csv, write_json
from experiments.runner import option

if TYPE_CHECKING:
    import keras
    import numpy as np

    from lstm_keras.evaluation import ClassificationResult

EXPERIMENT = "imdb_sentiment"

NAMED_DATA = ("auto", "keras", "embedded")

DESCRIPTION = """\
Train Embedding -> LSTM -> Dense(1, sigmoid) on film reviews, compare it with two
baselines on the same data, and write a report.

  python -m experiments.imdb_sentiment                     train with the defaults
  python -m experiments.imdb_sentiment --layer builtin     the same with Keras's LSTM
  python -m experiments.imdb_sentiment predict RUN "text"  use a trained model
"""

USAGE = "%(prog)s [options]\n       %(prog)s predict RUN TEXT [TEXT ...]"

EPILOG = """\
Everything goes to OUTPUT/imdb_sentiment/NAME: config.json, metrics.json, history.csv,
model.keras, vocabulary.json, figures/*.png and report.html. Ctrl-C ends the training
after the current batch and still writes the report.
"""

# What `--recipe` changes among the defaults. `tuned` was chosen on validation data
# alone; README tells how.
RECIPES = {
    "plain": {},
    "embedded": {"epochs": 6, "learning_rate": 0.005},
    "tuned": {
        "mask_padding": True,
        "epochs": 8,
        "learning_rate": 0.002,
        "schedule": "cosine",
        "word_dropout": 0.2,
        "embedding_dropout": 0.3,
        "dropout": 0.3,
    },
}


@dataclass(frozen=True)
class Settings:
    """The options of a training; `--help` explains them."""

    data: str = option(
        "auto",
        "auto: the real IMDB if it lies under $LSTM_KERAS_DATA, is cached or can be "
        "downloaded, else the embedded reviews; keras: keras.datasets.imdb; embedded: "
        "short made-up reviews; or a PATH: aclImdb archive, its folder, or a CSV file "
        "of review,sentiment",
        group="data",
    )
    limit: int | None = option(
        None,
        "use only so many training and so many test reviews",
        group="data",
        least=10,
    )
    num_words: int = option(
        5000, "ids of the embedding: the most frequent words", group="data", least=5
    )
    maxlen: int = option(
        200, "words read of each review, counted from its end", group="data", least=1
    )
    validation_split: float = option(
        0.2,
        "share of the training reviews to validate on",
        group="data",
        above=0,
        below=1,
    )
    layer: str = recurrent.layer_option()
    embedding: int = option(32, "size of a word's vector", group="model", least=1)
    units: int = option(64, "size of the recurrent state", group="model", least=1)
    layers: int = option(1, "recurrent layers on each other", group="model", least=1)
    bidirectional: bool = option(False, "read in both directions", group="model")
    mask_padding: bool = option(
        False, "skip the padding instead of reading it as a word", group="model"
    )
    recipe: str = option(
        "plain",
        "defaults for the options below and --mask-padding; tuned: our best for IMDB; "
        "embedded: for the embedded reviews",
        group="training",
        choices=tuple(RECIPES),
    )
    epochs: int = option(3, "most passes over the data", group="training", least=1)
    batch_size: int = option(64, "reviews per step", group="training", least=1)
    learning_rate: float = option(0.001, "of Adam", group="training", above=0, most=10)
    schedule: str = option(
        "constant",
        "of the learning rate over all epochs",
        group="training",
        choices=("constant", "cosine"),
    )
    word_dropout: float = option(
        0.0,
        "share of the words to blank out",
        group="training",
        least=0,
        below=1,
    )
    embedding_dropout: float = option(
        0.0,
        "share of the word vectors' entries to drop",
        group="training",
        least=0,
        below=1,
    )
    recurrent_dropout: float = option(
        0.0,
        "share of the recurrent state to drop at every step",
        group="training",
        least=0,
        below=1,
    )
    dropout: float = option(
        0.0,
        "share of the last state to drop",
        group="training",
        least=0,
        below=1,
    )
    patience: int | None = option(
        None,
        "stop early after so many epochs without a lower validation loss (without "
        "it: never); the weights of the best epoch are kept in any case",
        group="training",
        least=1,
    )
    seed: int = option(
        0,
        "of split, weights, order and dropout",
        group="training",
        least=0,
        most=2**32 - 1000,
    )
    seeds: int = option(
        1,
        "train so many times, with the seeds from --seed on, and give mean and "
        "standard deviation",
        group="training",
        least=1,
        most=1000,
    )
    output: str = option("runs", "where the run folders go", group="output")
    name: str | None = option(
        None, "name of the run folder (without it: layer and time)", group="output"
    )
    overwrite: bool = option(False, "replace a run of that name", group="output")
    baselines: bool = option(True, "train the TF-IDF baselines, too", group="output")
    engine: str = recurrent.engine_option()
    jit: bool = recurrent.jit_option()
    dtype: str = option(
        "float32",
        "the layers' dtype policy",
        group="speed",
        choices=("float32", "mixed_bfloat16", "mixed_float16", "float64"),
    )


@dataclass(frozen=True)
class Examples:
    """What the model reads: padded ids (n, maxlen) int32 and labels (n,) 0/1."""

    ids: "np.ndarray"
    labels: "np.ndarray"


@dataclass(frozen=True)
class Trained:
    """One trained model and what it achieved."""

    seed: int
    model: "keras.Model"
    fit: training.Fit
    validation: "ClassificationResult"
    test: "ClassificationResult"
    test_probabilities: "np.ndarray"

    def to_dict(self) -> dict:
        """Return the numbers as plain Python values."""
        return {
            "seed": self.seed,
            "epochs": len(self.fit.history["loss"]),
            "best_epoch": self.fit.best_epoch,
            "interrupted": self.fit.interrupted,
            "training_seconds": round(self.fit.seconds, 1),
            "validation": self.validation.to_dict(),
            "test": self.test.to_dict(),
        }


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
    if settings.data not in NAMED_DATA and not Path(settings.data).exists():
        raise FileNotFoundError(
            f"expected --data as one of {NAMED_DATA} or an existing path; "
            f"received {settings.data!r}"
        )
    path = run_path(settings.output, EXPERIMENT, settings.name)
    with RunFolder(path, settings.overwrite) as folder:
        start = time.perf_counter()
        with runner.stage("Loading Keras"):
            import keras

            from lstm_keras.datasets import load_reviews
        keras.config.set_dtype_policy(settings.dtype)
        engine = recurrent.engine(settings)
        print(recurrent.described(engine))
        with runner.stage(f"Loading the reviews ({settings.data})"):
            reviews = load_reviews(settings.data, limit=settings.limit)
        describe(reviews)
        vocabulary = reviews.vocabulary.limit(settings.num_words)
        trained, ending = train_all(settings, reviews, len(vocabulary))
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
            "ending": ending,
            "data": data_facts(reviews, trained[0].validation.size),
            "engine": engine,
            "environment": runner.environment(),
            "seconds": round(time.perf_counter() - start, 1),
            "runs": [one.to_dict() for one in trained],
            "saved_seed": best.seed,
            "summary": summary(trained),
            "baselines": [result.to_dict() for result in baselines],
        }
        with runner.ctrl_c_ignored():
            write_run(folder, settings, reviews, vocabulary, trained, best, metrics)
    print(sentiment_report.text(metrics, path))
    return path


def describe(reviews) -> None:
    """Say which data this is, before anything is computed from it."""
    print(
        f"Data: {reviews.name}: {len(reviews.train):,} reviews to train, "
        f"{len(reviews.test):,} to test, {len(reviews.vocabulary.words):,} words"
    )
    if reviews.note:
        print(reviews.note)


def data_facts(reviews, validation: int) -> dict:
    """Return what `metrics.json` says about the data."""
    return {
        "name": reviews.name,
        "source": reviews.source,
        "real": reviews.real,
        "note": reviews.note,
        "tokenizer": reviews.vocabulary.tokenizer,
        "train": len(reviews.train) - validation,
        "validation": validation,
        "test": len(reviews.test),
        "words": len(reviews.vocabulary.words),
    }


def build_model(settings: Settings, input_dim: int, steps: int):
    """Return the compiled model: ids (batch, maxlen) int32 to probability (batch, 1).

    Args:
        settings: Of the model and the training.
        input_dim: Number of ids.
        steps: Training steps in all, for the learning rate's decay.
    """
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((settings.maxlen,), dtype="int32"),
            layers.Embedding(
                input_dim, settings.embedding, mask_zero=settings.mask_padding
            ),
        ]
    )
    if settings.word_dropout:
        # One draw for a whole word vector.
        shape = (None, settings.maxlen, 1)
        model.add(layers.Dropout(settings.word_dropout, noise_shape=shape))
    if settings.embedding_dropout:
        model.add(layers.Dropout(settings.embedding_dropout))
    make = recurrent.recurrent_layer(settings)
    for depth in range(settings.layers):
        layer = make(
            settings.units,
            return_sequences=depth < settings.layers - 1,
            recurrent_dropout=settings.recurrent_dropout,
        )
        model.add(layers.Bidirectional(layer) if settings.bidirectional else layer)
    if settings.dropout:
        model.add(layers.Dropout(settings.dropout))
    # The probability in full precision, whatever the policy of the other layers.
    model.add(layers.Dense(1, activation="sigmoid", dtype="float32"))

    rate = settings.learning_rate
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        "binary_crossentropy",
        metrics=["accuracy"],
        jit_compile=settings.jit,
    )
    return model


def examples(split, settings: Settings, input_dim: int) -> Examples:
    """Return a split as the model reads it."""
    from lstm_keras.preprocessing import limit_ids, pad

    ids = limit_ids(pad(split.ids, settings.maxlen), input_dim)
    return Examples(ids, split.labels)


def train_all(settings: Settings, reviews, input_dim: int) -> tuple[list[Trained], str]:
    """Train one model for each seed.

    Returns:
        What was trained, at least one, and a sentence on how it ended early, empty if
        it did not: Ctrl-C ends the training that is running, and that or a training
        that diverges leaves out the seeds after it.
    """
    train = examples(reviews.train, settings, input_dim)
    test = examples(reviews.test, settings, input_dim)
    trained = []
    seeds = range(settings.seed, settings.seed + settings.seeds)
    for seed in seeds:
        try:
            trained.append(train_one(settings, train, test, input_dim, seed))
        except (KeyboardInterrupt, training.DivergedError) as error:
            if not trained:
                raise
            what = f"Seed {seed} diverged: {error}"
            if isinstance(error, KeyboardInterrupt):  # twice, or not while it learns
                what = f"Ctrl-C ended seed {seed}"
            return trained, f"{what}; it and any after it are left out."
        if trained[-1].fit.interrupted:
            epoch = len(trained[-1].fit.history["loss"])
            what = f"Ctrl-C ended the training of seed {seed} in epoch {epoch}"
            rest = "; later seeds are left out" if seed < seeds[-1] else ""
            return trained, f"{what}{rest}."
    return trained, ""


def train_one(
    settings: Settings, train: Examples, test: Examples, input_dim: int, seed: int
) -> Trained:
    """Train, keep the weights of the best epoch, and only then look at the test set."""
    import keras
    import numpy as np

    from lstm_keras.evaluation import evaluate_classification

    keras.utils.set_random_seed(seed)
    order = np.random.default_rng(seed).permutation(len(train.ids))
    count = round(settings.validation_split * len(order))
    held_out, used = order[:count], order[count:]
    if not len(held_out) or not len(used):
        raise ValueError(
            "expected a --validation-split that leaves reviews on both sides; received "
            f"{settings.validation_split} of {len(order)} reviews"
        )
    steps = settings.epochs * -(-len(used) // settings.batch_size)
    model = build_model(settings, input_dim, steps)
    print(f"\nTraining {recurrent.layer_name(settings)} with seed {seed}:")
    if seed == settings.seed:
        model.summary(print_fn=print)
    fitted = training.fit(
        model,
        (train.ids[used], train.labels[used]),
        (train.ids[held_out], train.labels[held_out]),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        patience=settings.patience,
    )
    held_out_probabilities = model.predict(train.ids[held_out], verbose=0)
    test_probabilities = model.predict(test.ids, verbose=0)[:, 0]
    name = f"{recurrent.layer_name(settings)}, seed {seed}"
    return Trained(
        seed=seed,
        model=model,
        fit=fitted,
        validation=evaluate_classification(
            train.labels[held_out], held_out_probabilities, name=name
        ),
        test=evaluate_classification(test.labels, test_probabilities, name=name),
        test_probabilities=test_probabilities,
    )


def evaluate_baselines(settings: Settings, reviews, quick: bool) -> tuple[list, str]:
    """Evaluate what needs no neural network, on the same training and test reviews.

    Args:
        settings: Of the run.
        reviews: The data.
        quick: Leave out what has to be trained: somebody wants to see the end.

    Returns:
        The results, and a sentence on how they ended early, empty if they did not:
        Ctrl-C leaves out the rest.
    """
    from lstm_keras.evaluation import majority_baseline, tfidf_baseline

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
            return results, "Ctrl-C ended the baselines; the rest of them is left out."
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
    folder: Path, settings: Settings, reviews, vocabulary, trained, best, metrics
) -> None:
    """Write every file of the run into the folder."""
    from lstm_keras.evaluation import confident_mistakes

    config = {"experiment": EXPERIMENT, **dataclasses.asdict(settings)}
    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", metrics)
    write_csv(folder / "history.csv", history_rows(trained))
    best.model.save(folder / "model.keras")
    vocabulary.save(folder / "vocabulary.json")
    test, probabilities = reviews.test, best.test_probabilities
    figures = sentiment_report.figures(
        best.fit, best.test, test, probabilities, settings.maxlen
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
