"""Train a next-word model, and compare it with n-grams."""

import sys
from functools import partial

from experiments.common import cluster, data_parallel
from experiments.common.environment import fingerprint
from experiments.common.fit import Checkpoint
from experiments.common.layers import described, engine_facts, layer_name, save
from experiments.common.lifecycle import Context
from experiments.common.result import Result, RunMetrics, metrics, varying
from experiments.common.signals import INTERRUPTED
from experiments.common.terminal import stage
from experiments.next_word import report
from experiments.next_word.samples import Sample, alone, samples
from experiments.next_word.settings import Settings
from experiments.next_word.train import Trained, beginning, scored, train
from lstm_keras.datasets import Corpus, load_text
from lstm_keras.evaluation import (
    KneserNeyTrigram,
    LanguageModelResult,
    TokenScores,
    UnigramModel,
    evaluate_language_model,
)
from lstm_keras.language_model import Stepper
from lstm_keras.runs import NextWordRun


@metrics
class ModelResults:
    """The results of one model on both texts."""

    name: str
    """The layer, or the kind of n-grams."""
    train: LanguageModelResult
    """Results on the training text; on the beginning of a long one."""
    held_out: LanguageModelResult | None
    """Results on the held-out text; null if there is none."""


@metrics
class Metrics(RunMetrics):
    """The results of a next-word run."""

    sampled_softmax: int | None
    """Number of words of the softmax in training; null for all. Evaluation is over all
    words."""
    parameters: int
    """Number of parameters of the model."""
    epochs: int
    """Number of epochs."""
    best_epoch: int
    """The epoch whose weights the model has, counted from 1."""
    training_seconds: float = varying()
    """Duration of the training, evaluation after each epoch included."""
    results: list[ModelResults]
    """Results of the trained model, which is the first, and of the n-grams."""


def run(settings: Settings, context: Context) -> Result[Metrics]:
    """Load the text, train, evaluate, and return the result.

    Raises:
        SystemExit: This is not the first of several processes, and its work is done.
    """
    with cluster.joined(settings):
        devices = data_parallel.devices(settings)
        engine = engine_facts(
            settings.layer, settings.engine, settings.jit, settings.recurrent_dropout
        )
        print(described(engine))
        corpus = load(settings)
        data = data_facts(settings, corpus)
        context.begin(data, devices)
        cluster.check_same(settings, [data, context.environment.versions])
        checkpoint = Checkpoint(
            context.checkpoints / "training.npz",
            settings.checkpoint_seconds,
            read_only=context.follows,
        )
        parts, fitted = train(settings, corpus, checkpoint)
    if context.follows:
        sys.exit(INTERRUPTED if fitted.interrupted else 0)
    trained = scored(corpus, parts, fitted)
    epochs = len(fitted.history["perplexity"])
    interrupted = fitted.interrupted
    ending = f"The training was interrupted in epoch {epochs}." if interrupted else ""
    found = Metrics(
        data=data,
        engine=engine,
        sampled_softmax=settings.sampled_softmax,
        parameters=trained.parts.model.count_params(),
        epochs=epochs,
        best_epoch=fitted.best_epoch,
        training_seconds=round(fitted.seconds, 1),
        results=evaluate(settings, corpus, trained),
    )
    text, written = write_samples(settings, context, corpus, trained)
    return Result(
        title=f"Next word: {settings.name}",
        metrics=found,
        finding=report.finding(found, trained),
        sections=report.sections(found, corpus, trained, text, written, ending),
        status=INTERRUPTED if interrupted else 0,
        ending=ending,
        tables={"history.csv": fitted.rows()},
        files={
            "model.keras": partial(save, trained.parts.model),
            "vocabulary.json": corpus.vocabulary.save,
        },
    )


def load(settings: Settings) -> Corpus:
    """Load the text, and print which it is."""
    with stage(f"Loading the text ({settings.text})"):
        corpus = load_text(
            settings.text,
            held_out=settings.held_out,
            held_out_source=settings.held_out_text,
            split=settings.split,
            tokenizer=settings.tokens,
            min_count=settings.min_count,
            max_vocab=settings.max_vocab,
            limit=settings.limit,
            backwards=settings.backwards,
            seed=settings.seed,
            progress=lambda tokens: print(f"{tokens:,} … ", end="", flush=True),
        )
    facts = corpus.facts
    print(
        f"Text: {corpus.name}: {facts['train']['tokens']:,} tokens to train, "
        f"{facts['held_out']['tokens']:,} held out, {len(corpus.vocabulary):,} ids"
    )
    if corpus.note:
        print(corpus.note)
    return corpus


def data_facts(settings: Settings, corpus: Corpus) -> dict:
    """Return the facts about the text in `metrics.json`."""
    return {
        "name": corpus.name,
        "source": corpus.source,
        "note": corpus.note,
        "tokens": corpus.vocabulary.tokenizer,
        "split": settings.split,
        "backwards": settings.backwards,
        **corpus.facts,
        "fingerprint": fingerprint((corpus.train, corpus.held_out)),
    }


def evaluate(
    settings: Settings, corpus: Corpus, trained: Trained
) -> list[ModelResults]:
    """Return the results of the model and of the n-grams on both texts.

    After an interruption the n-grams are left out.
    """
    name = layer_name(settings.layer)
    results = [model_results(name, trained.train_scores, trained.held_out_scores)]
    if trained.fit.interrupted or not settings.baselines:
        return results
    sample, stream = beginning(corpus.train), corpus.stream
    models = {"Kneser-Ney trigram": KneserNeyTrigram, "Unigram": UnigramModel}
    for name, kind in models.items():
        with stage(name):
            model = kind.fit(corpus.train, len(corpus.vocabulary), stream=stream)
            scores = [
                model.score(ids, stream=stream) if len(ids) else None
                for ids in (sample, corpus.held_out)
            ]
            results.append(model_results(name, *scores))
    return results


def model_results(
    name: str, train: TokenScores, held_out: TokenScores | None
) -> ModelResults:
    """Return the results of one model."""
    return ModelResults(
        name=name,
        train=evaluate_language_model(train, name=name),
        held_out=held_out and evaluate_language_model(held_out, name=name),
    )


def write_samples(
    settings: Settings, context: Context, corpus: Corpus, trained: Trained
) -> tuple[str, list[Sample]]:
    """Return what the model writes after nothing, and what it makes of a text.

    That is the held-out text, or else its own.
    """
    model = trained.parts.model
    text = corpus.held_out if len(corpus.held_out) else corpus.train
    with stage("Writing samples"):
        opened = NextWordRun(
            context.folder,
            dict(context.config),
            corpus.vocabulary,
            model,
            Stepper(model),
        )
        return (
            alone(opened, settings.seed),
            samples(opened, beginning(text), settings.seed),
        )
