"""Train sentiment models, one for each seed, and compare them with baselines."""

import dataclasses
from collections.abc import Sequence

from experiments.common import data_parallel
from experiments.common.errors import DivergedError
from experiments.common.fit import Checkpoint
from experiments.common.layers import described, engine_facts
from experiments.common.lifecycle import Context
from experiments.common.result import Result, RunMetrics, Spread, metrics
from experiments.common.signals import INTERRUPTED
from experiments.common.terminal import stage
from experiments.imdb_sentiment import report
from experiments.imdb_sentiment.pretraining import opened, with_language_models
from experiments.imdb_sentiment.settings import Settings, vocabulary_note
from experiments.imdb_sentiment.train import (
    Trained,
    TrainedMetrics,
    data_facts,
    describe,
    examples,
    split_sizes,
    train_one,
)
from lstm_keras.datasets import Reviews, load_reviews
from lstm_keras.evaluation import (
    ClassificationResult,
    majority_baseline,
    spread,
    tfidf_baseline,
)
from lstm_keras.runs import NextWordRun


@metrics
class Summary:
    """All seeds together."""

    seeds: int
    """Number of seeds."""
    validation_accuracy: Spread
    """Accuracy on the validation reviews."""
    test_accuracy: Spread
    """Accuracy on the test reviews."""


@metrics
class Metrics(RunMetrics):
    """The results of a sentiment run."""

    runs: list[TrainedMetrics]
    """The training run of each seed."""
    saved_seed: int
    """Seed of the saved model, which has the lowest validation log loss."""
    summary: Summary
    """All seeds together."""
    baselines: list[ClassificationResult]
    """Results of the baselines on the same test reviews."""


@dataclasses.dataclass
class Ending:
    """The exit status, and a sentence on each failure or interruption."""

    status: int = 0
    sentences: list[str] = dataclasses.field(default_factory=list)

    def add(self, sentence: str, status: int) -> None:
        """Record a failure, or an interruption, which outweighs it."""
        self.sentences.append(sentence)
        self.status = max(self.status, status)

    @property
    def interrupted(self) -> bool:
        """Whether to leave out the rest."""
        return self.status == INTERRUPTED


def run(settings: Settings, context: Context) -> Result[Metrics]:
    """Load the data, train, evaluate, and return the result."""
    devices = data_parallel.devices(settings)
    engine = engine_facts(
        settings.layer, settings.engine, settings.jit, settings.recurrent_dropout
    )
    print(described(engine))
    settings = with_language_models(settings)
    pretrained = opened(settings)
    reviews = load(settings, pretrained)
    data = data_facts(reviews) | {report.BEGINNINGS: [*map(repr, pretrained)]}
    context.begin(data, devices)
    vocabulary = reviews.vocabulary
    if not pretrained:
        vocabulary = vocabulary.limit(settings.num_words)
    ending = Ending()
    trained = train_all(settings, reviews, len(vocabulary), pretrained, context, ending)
    baselines = evaluate_baselines(settings, reviews, ending)
    best = min(trained, key=lambda one: one.validation.log_loss)
    notes = [*ending.sentences, vocabulary_note(len(vocabulary.words))]
    found = Metrics(
        data=data | split_sizes(reviews, trained[0].validation.size),
        engine=engine,
        runs=[one.metrics() for one in trained],
        saved_seed=best.seed,
        summary=summary(trained),
        baselines=baselines,
    )
    return Result(
        title=f"IMDB sentiment: {settings.name}",
        metrics=found,
        finding=report.finding(found),
        sections=report.sections(found, settings, best, reviews.test, notes),
        status=ending.status,
        ending=" ".join(ending.sentences),
        tables={"history.csv": history_rows(trained)},
        files={"model.keras": best.model.save, "vocabulary.json": vocabulary.save},
    )


def load(settings: Settings, pretrained: Sequence[NextWordRun]) -> Reviews:
    """Load the reviews, as the language models read them, and print which they are."""
    with stage(f"Loading the reviews ({settings.data})"):
        reviews = load_reviews(settings.data, limit=settings.limit)
        if pretrained:
            reviews = reviews.read_with(pretrained[0].vocabulary)
        if settings.labelled:
            reviews = reviews.with_labels(settings.labelled, settings.seed)
    describe(reviews)
    return reviews


def train_all(
    settings: Settings,
    reviews: Reviews,
    input_dim: int,
    pretrained: Sequence[NextWordRun],
    context: Context,
    ending: Ending,
) -> list[Trained]:
    """Train a model for each seed.

    An interruption ends the current training run and leaves out later seeds; a seed
    that diverges is left out. Both are recorded in `ending`.
    """
    train = examples(reviews.train, input_dim)
    test = examples(reviews.test, input_dim)
    trained = []
    seeds = range(settings.seed, settings.seed + settings.seeds)
    for seed in seeds:
        path = context.checkpoints / f"seed-{seed}.npz"
        checkpoint = Checkpoint(path, settings.checkpoint_seconds)
        try:
            one = train_one(
                settings, train, test, input_dim, seed, checkpoint, pretrained
            )
        except DivergedError as error:
            if seed == seeds[-1] and not trained:
                raise
            ending.add(f"Seed {seed} diverged: {error}; it is left out.", 1)
            continue
        except KeyboardInterrupt:  # twice, or before the training began
            if not trained:
                raise
            what = f"Seed {seed} was interrupted; it and later ones are left out."
            ending.add(what, INTERRUPTED)
            break
        trained.append(one)
        if one.fit.interrupted:
            epoch = len(one.fit.history["loss"])
            what = f"The training of seed {seed} was interrupted in epoch {epoch}"
            rest = "; later seeds are left out" if seed < seeds[-1] else ""
            ending.add(f"{what}{rest}.", INTERRUPTED)
            break
    return trained


def evaluate_baselines(
    settings: Settings, reviews: Reviews, ending: Ending
) -> list[ClassificationResult]:
    """Evaluate the baselines on the same reviews.

    After an interruption only the one that needs no training.
    """
    train, test = reviews.train, reviews.test
    results = [majority_baseline(train.labels, test.labels)]
    if ending.interrupted or not settings.baselines:
        return results
    words, maxlen = settings.num_words, settings.maxlen
    whole = (train.texts, test.texts)
    # The part of each review that the network reads.
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
            with stage(f"TF-IDF baseline, {name}"):
                result = tfidf_baseline(
                    train_texts, train.labels, test_texts, test.labels, **options
                )
        except KeyboardInterrupt:
            what = "The baselines were interrupted; the rest is left out."
            ending.add(what, INTERRUPTED)
            break
        name = f"TF-IDF + logistic regression, {name}"
        results.append(dataclasses.replace(result, name=name))
    return results


def summary(trained: Sequence[Trained]) -> Summary:
    """Return mean and standard deviation of the accuracies over the seeds."""
    return Summary(
        seeds=len(trained),
        validation_accuracy=Spread(
            **spread([one.validation.accuracy for one in trained])
        ),
        test_accuracy=Spread(**spread([one.test.accuracy for one in trained])),
    )


def history_rows(trained: Sequence[Trained]) -> list[dict]:
    """Return a row for each seed and epoch."""
    return [{"seed": one.seed, **row} for one in trained for row in one.fit.rows()]
