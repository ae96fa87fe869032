"""Train sentiment models, one for each seed, and compare them with baselines."""

import dataclasses
import functools
from collections.abc import Sequence

from experiments.common import data_parallel
from experiments.common.errors import DivergedError
from experiments.common.fit import Checkpoint
from experiments.common.layers import described, engine_facts, save
from experiments.common.lifecycle import Context
from experiments.common.result import Result, RunMetrics, Spread, metrics
from experiments.common.signals import INTERRUPTED
from experiments.common.terminal import stage
from experiments.imdb_sentiment import report
from experiments.imdb_sentiment.average import averaged, members
from experiments.imdb_sentiment.baselines import (
    evaluate_linear,
    evaluate_shuffled,
    shuffled,
)
from experiments.imdb_sentiment.pretraining import opened, with_language_models
from experiments.imdb_sentiment.settings import Settings, vocabulary_note
from experiments.imdb_sentiment.train import (
    Examples,
    Trained,
    TrainedMetrics,
    data_facts,
    describe,
    examples,
    split_sizes,
    train_one,
)
from lstm_keras.datasets import Reviews, load_reviews, load_training_texts
from lstm_keras.evaluation import ClassificationResult, majority_baseline, spread
from lstm_keras.runs import NextWordRun, SentimentRun


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
    shuffled: list[ClassificationResult] = dataclasses.field(default_factory=list)
    """Results on the same with the words of each sentence shuffled."""


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
    unlabelled = load_training_texts()[1] if settings.unlabelled else []
    if settings.average:
        given, role = members(settings), report.MEMBERS
    else:
        settings = with_language_models(settings)
        given, role = opened(settings), report.BEGINNINGS
    reviews = load(settings, given)
    more = reviews.vocabulary.encode_all(unlabelled)
    data = data_facts(reviews, more) | {role: [*map(repr, given)]}
    context.begin(data, devices)
    vocabulary = reviews.vocabulary
    if not given:
        vocabulary = vocabulary.limit(settings.num_words)
    ending = Ending()
    if settings.average:
        trained = [averaged(settings, given, reviews)]
    else:
        size = len(vocabulary)
        train = examples(reviews.train, size, more)
        test = examples(reviews.test, size)
        trained = train_all(settings, train, test, size, given, context, ending)
    baselines, of_shuffled = evaluate_others(
        settings, reviews, trained, len(vocabulary), ending
    )
    best = min(trained, key=lambda one: one.validation.log_loss)
    notes = [*ending.sentences, vocabulary_note(len(vocabulary.words))]
    found = Metrics(
        data=data | split_sizes(reviews, trained[0].validation.size),
        engine=engine,
        runs=[one.metrics() for one in trained],
        saved_seed=best.seed,
        summary=summary(trained),
        baselines=baselines,
        shuffled=of_shuffled,
    )
    return Result(
        title=f"IMDB sentiment: {settings.name}",
        metrics=found,
        finding=report.finding(found),
        sections=report.sections(found, settings, best, reviews.test, notes),
        status=ending.status,
        ending=" ".join(ending.sentences),
        tables={"history.csv": history_rows(trained)},
        files={
            "model.keras": functools.partial(save, best.model),
            "vocabulary.json": vocabulary.save,
        },
    )


def load(settings: Settings, given: Sequence[NextWordRun | SentimentRun]) -> Reviews:
    """Load the reviews, as the given models read them, and print which they are."""
    with stage(f"Loading the reviews ({settings.data})"):
        reviews = load_reviews(settings.data, limit=settings.limit)
        if given:
            reviews = reviews.read_with(given[0].vocabulary)
        if settings.labelled:
            reviews = reviews.with_labels(settings.labelled, settings.seed)
    describe(reviews)
    return reviews


def train_all(
    settings: Settings,
    train: Examples,
    test: Examples,
    input_dim: int,
    pretrained: Sequence[NextWordRun],
    context: Context,
    ending: Ending,
) -> list[Trained]:
    """Train a model for each seed.

    An interruption ends the current training run and leaves out later seeds; a seed
    that diverges is left out. Both are recorded in `ending`.
    """
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


def evaluate_others(
    settings: Settings,
    reviews: Reviews,
    trained: Sequence[Trained],
    input_dim: int,
    ending: Ending,
) -> tuple[list[ClassificationResult], list[ClassificationResult]]:
    """Evaluate the baselines, and all models on shuffled test reviews.

    After an interruption only the baseline that needs no training.
    """
    train, test = reviews.train, reviews.test
    results, of_shuffled = [majority_baseline(train.labels, test.labels)], []
    if ending.interrupted:
        return results, of_shuffled
    print()
    try:
        texts = shuffled(reviews)
        of_shuffled += evaluate_shuffled(settings, trained, texts, input_dim)
        if settings.baselines:
            for result, *more in evaluate_linear(settings, reviews, texts):
                results.append(result)
                of_shuffled += more
    except KeyboardInterrupt:
        what = "The baselines were interrupted; the rest is left out."
        ending.add(what, INTERRUPTED)
    return results, of_shuffled


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
