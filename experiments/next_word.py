"""Next-word prediction: train, measure beside n-grams, report, and write text."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import (
    data_parallel,
    earlier,
    next_word_report,
    recurrent,
    report,
    runner,
    training,
)
from experiments.reproducible import (
    deterministic_option,
    fingerprint,
    make_deterministic,
)
from experiments.run_folder import (
    RunFolder,
    begin,
    name_option,
    output_option,
    overwrite_option,
    run_path,
)
from experiments.runner import configuration, option
from experiments.whole_files import write_csv, write_json

if TYPE_CHECKING:
    from lstm_keras.datasets.corpora import Corpus
    from lstm_keras.evaluation.language import TokenScores
    from lstm_keras.language_model.model import LanguageModel

EXPERIMENT = "next_word"

NAMED_TEXTS = ("embedded", "imdb")

DESCRIPTION = """\
Train Embedding -> LSTM -> Dense(words) to predict the next word of a text, compare it
with n-grams on the same split, and write a report.

  python -m experiments.next_word                          train with the defaults
  python -m experiments.next_word --text book.txt          learn a text of yours
  python -m experiments.next_word --resume RUN             go on with a stopped run
  python -m experiments.next_word generate RUN "prompt"    let a trained model write
"""

USAGE = "%(prog)s [options]\n       %(prog)s generate RUN PROMPT [options]"

EPILOG = """\
Everything goes to OUTPUT/next_word/NAME: config.json, metrics.json, history.csv,
model.keras, vocabulary.json, figures/*.png and report.html. Ctrl-C or SIGTERM ends the
training after the current step and still writes the report; --resume goes on with it,
also after a kill or a power cut.
"""

# What a plateau multiplies the learning rate by, as in PyTorch's word_language_model.
PLATEAU_FACTOR = 0.25

# Of a longer training text so many tokens at its beginning are scored.
TRAIN_SAMPLE = 100_000

# The sizes of PyTorch's word_language_model, on its text.
WIKITEXT = {
    "split": "stream",
    "tokens": "whitespace",
    "min_count": 1,
    "embedding": 200,
    "units": 200,
    "layers": 2,
    "tied": True,
    "epochs": 6,
    "weight_decay": 0.2,
    "dropout": 0.2,
    "recurrent_dropout": 0.0,
    "sampled_softmax": 4000,
    "jit": True,
}

# What `--recipe` changes among the defaults; README tells how they were chosen.
RECIPES = {
    "plain": {},
    "by_heart": {
        "held_out": 0.0,
        "min_count": 1,
        "epochs": 40,
        "batch_size": 32,
        "learning_rate": 0.03,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "engine": "loop",  # in so few steps another must compile more than it saves
    },
    "wikitext": WIKITEXT,
    "tuned": WIKITEXT
    | {
        "embedding": 256,
        "units": 256,
        "epochs": 12,
        "weight_decay": 0.25,
        "dropout": 0.4,
    },
}


@dataclass(frozen=True)
class Settings:
    """The options of a training; `--help` explains them."""

    text: str = option(
        "embedded",
        "embedded: the documentation of the Python language, which every Python has; "
        "imdb: the unlabelled reviews of the archive under $LSTM_KERAS_DATA; or a "
        "PATH: a UTF-8 file (lines of at most 4 MiB), a .gz, .bz2 or .xz of one, or a "
        "folder of them",
        group="text",
    )
    split: str = option(
        "lines",
        "lines: each line is a sentence of its own; paragraphs: each paragraph is; "
        "stream: continuous text, the state carried from line to line",
        group="text",
        choices=("lines", "paragraphs", "stream"),
    )
    tokens: str = option(
        "text",
        "text: lower-case words, numbers, punctuation, URLs; text_cased: the same in "
        "their own case; whitespace: what white space separates",
        group="text",
        choices=("text", "text_cased", "whitespace"),
    )
    min_count: int = option(
        2,
        "words that occur less often in the training text are out of vocabulary",
        group="text",
        least=1,
    )
    max_vocab: int | None = option(
        None, "most ids, the 4 special ones included", group="text", least=5
    )
    limit: int | None = option(
        None, "read only so many words of the text", group="text", least=2
    )
    held_out: float = option(
        0.1,
        "share of the sentences, or of the end of a stream, to evaluate on",
        group="text",
        least=0,
        below=1,
    )
    held_out_text: str | None = option(
        None, "a PATH to evaluate on instead", group="text"
    )
    layer: str = recurrent.layer_option()
    embedding: int = option(
        100,
        "size of a word's vector",
        group="model",
        least=1,
        most=recurrent.MOST_UNITS,
    )
    units: int = option(
        150,
        "size of the recurrent state",
        group="model",
        least=1,
        most=recurrent.MOST_UNITS,
    )
    layers: int = option(
        1, "recurrent layers on each other", group="model", least=1, most=100
    )
    tied: bool = option(
        False,
        "embedding and logits share their weights; the last layer then has the "
        "embedding's size",
        group="model",
    )
    recipe: str = option(
        "plain",
        "defaults for other options; by_heart: a small text, all of it learned; "
        "wikitext: a stream, with the sizes of PyTorch's word_language_model; tuned: "
        "our best for WikiText-2",
        group="training",
        choices=tuple(RECIPES),
    )
    examples: str = option(
        "passes",
        "of sentences; passes: one pass gives the losses of all prefixes; prefixes: "
        "the literal expansion of the usual tutorial, for comparison",
        group="training",
        choices=("passes", "prefixes"),
    )
    epochs: int = option(40, "most passes over the text", group="training", least=1)
    batch_size: int = option(
        20,
        "sentences, prefixes or parallel streams per step",
        group="training",
        least=1,
    )
    steps: int = option(
        35,
        "of a stream: length of truncated backpropagation through time",
        group="training",
        least=1,
    )
    learning_rate: float = option(
        0.005, "of Adam, at the beginning", group="training", above=0, most=10
    )
    schedule: str = option(
        "cosine",
        "of the learning rate; plateau: a quarter of it after each epoch without a "
        "lower held-out perplexity",
        group="training",
        choices=("constant", "cosine", "plateau"),
    )
    clip: float = option(
        1.0, "bound on the gradient's global norm", group="training", above=0
    )
    dropout: float = option(
        0.5,
        "share of the units to drop between the layers, by one mask per sequence",
        group="training",
        least=0,
        below=1,
    )
    recurrent_dropout: float = option(
        0.3,
        "share of the recurrent state to drop, by one mask per sequence",
        group="training",
        least=0,
        below=1,
    )
    weight_decay: float = option(
        0.0, "decoupled, as in AdamW", group="training", least=0, below=1
    )
    sampled_softmax: int | None = option(
        None,
        "train with a softmax over so many words, half of them the most frequent, "
        "half drawn; evaluation is over all words in any case",
        group="training",
        least=2,
    )
    patience: int | None = option(
        None,
        "stop early after so many epochs without a lower held-out perplexity (without "
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
    output: str = output_option()
    name: str | None = name_option("layer and time")
    overwrite: bool = overwrite_option()
    baselines: bool = option(True, "fit the n-grams, too", group="output")
    resume: str | None = earlier.resume_option()
    repeat: str | None = earlier.repeat_option()
    checkpoint_seconds: float = earlier.checkpoint_option()
    engine: str = recurrent.engine_option()
    deterministic: bool = deterministic_option()
    jit: bool = recurrent.jit_option()
    data_parallel: bool = data_parallel.data_parallel_option()
    dtype: str = option(
        "float32",
        "the layers' dtype policy",
        group="speed",
        choices=("float32", "mixed_bfloat16", "mixed_float16", "float64"),
    )

    @property
    def stream(self) -> bool:
        """Whether the text is one continuous stream."""
        return self.split == "stream"


@dataclass(frozen=True)
class Trained:
    """A trained model and what it says of the two texts."""

    parts: "LanguageModel"
    fit: training.Fit
    train_scores: "TokenScores"
    held_out_scores: "TokenScores | None"


def main(argv: Sequence[str]) -> None:
    """Train, or with `generate` as the first word use, a next-word model."""
    if argv[:1] == ["generate"]:
        generate(argv[1:])
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
    """Load the text, train, evaluate, and write the run folder; return its path."""
    check(settings)
    path = run_path(settings.output, EXPERIMENT, settings.name)
    with RunFolder(path, settings.overwrite, settings.resume is not None) as folder:
        start = time.perf_counter()
        with runner.stage("Loading Keras"):
            if settings.deterministic:
                make_deterministic()
            import keras

            from lstm_keras.datasets.corpora import load_text
        keras.config.set_dtype_policy(settings.dtype)
        devices = data_parallel.devices(settings, of_text=True)
        engine = recurrent.engine(settings)
        print(recurrent.described(engine))
        with runner.stage(f"Loading the text ({settings.text})"):
            corpus = load_text(
                settings.text,
                held_out=settings.held_out,
                held_out_source=settings.held_out_text,
                split=settings.split,
                tokenizer=settings.tokens,
                min_count=settings.min_count,
                max_vocab=settings.max_vocab,
                limit=settings.limit,
                seed=settings.seed,
                progress=lambda tokens: print(f"{tokens:,} … ", end="", flush=True),
            )
        describe(corpus)
        config, data = configuration(EXPERIMENT, settings), data_facts(settings, corpus)
        environment = runner.environment(devices)
        kept = begin(folder, config, command, environment, data)
        parts, fitted = train(settings, corpus, kept)
        trained = Trained(parts, fitted, *score(settings, corpus, parts))
        results = evaluate(settings, corpus, trained)
        ending = ""
        if fitted.interrupted:
            epoch = len(fitted.history["perplexity"])
            ending = f"The training was interrupted in epoch {epoch}."
        metrics = {
            "experiment": EXPERIMENT,
            "name": settings.name,
            "command": command,
            "interrupted": fitted.interrupted,
            "ending": ending,
            "data": data,
            "engine": engine,
            "environment": environment,
            "seconds": round(time.perf_counter() - start, 1),
            "sampled_softmax": settings.sampled_softmax,
            "parameters": parts.model.count_params(),
            "epochs": len(fitted.history["perplexity"]),
            "best_epoch": fitted.best_epoch,
            "training_seconds": round(fitted.seconds, 1),
            "results": results,
        }
        with runner.ctrl_c_ignored():
            write_run(folder, config, corpus, trained, metrics)
    print(next_word_report.text(metrics, path))
    return path


def check(settings: Settings) -> None:
    """Refuse options that do not go together, before anything is loaded."""
    for path in (settings.text, settings.held_out_text):
        if path is None or path in NAMED_TEXTS:
            continue
        if not path or not Path(path).exists():
            raise FileNotFoundError(
                f"expected a text as one of {NAMED_TEXTS} or an existing path; "
                f"received {path!r}"
            )
    if settings.stream and settings.examples == "prefixes":
        raise ValueError(
            "expected --examples passes for a stream, which has no prefixes; "
            "received prefixes"
        )


def describe(corpus: "Corpus") -> None:
    """Say which text this is, before anything is computed from it."""
    facts = corpus.facts
    print(
        f"Text: {corpus.name}: {facts['train']['tokens']:,} tokens to train, "
        f"{facts['held_out']['tokens']:,} held out, {len(corpus.vocabulary):,} ids"
    )
    if corpus.note:
        print(corpus.note)


def data_facts(settings: Settings, corpus: "Corpus") -> dict:
    """Return what `metrics.json` says about the text."""
    return {
        "name": corpus.name,
        "source": corpus.source,
        "note": corpus.note,
        "tokens": settings.tokens,
        "split": settings.split,
        **corpus.facts,
        "fingerprint": fingerprint((corpus.train, corpus.held_out)),
    }


def train(
    settings: Settings, corpus: "Corpus", kept: Path
) -> tuple["LanguageModel", training.Fit]:
    """Train, and return the model with the weights of the best epoch.

    Args:
        settings: Of the run.
        corpus: The text.
        kept: The folder where the training is kept, and gone on with.
    """
    with data_parallel.distribute(settings, of_text=True) as devices:
        parts, fitted = train_on(devices, settings, corpus, kept)
    if devices > 1:  # what follows asks for batches that may not be even
        weights = parts.model.get_weights()
        parts = build(settings, len(corpus.vocabulary))
        parts.model.set_weights(weights)
    return parts, fitted


def train_on(
    devices: int, settings: Settings, corpus: "Corpus", kept: Path
) -> tuple["LanguageModel", training.Fit]:
    """Train on so many devices; see `train`."""
    import keras

    from experiments.even_batches import EvenBatches
    from lstm_keras.language_model import training as next_word_training
    from lstm_keras.language_model.model import LanguageModelTrainer, start_at_unigrams

    keras.utils.set_random_seed(settings.seed)
    size = len(corpus.vocabulary)
    parts = build(settings, size)
    start_at_unigrams(parts.head, corpus.counts)
    streams = settings.batch_size if settings.stream else None
    trainer = LanguageModelTrainer(
        parts, settings.sampled_softmax, settings.seed, streams
    )
    batches, held_out = training_data(settings, corpus)
    if devices > 1:
        batches = EvenBatches(batches, devices)
        held_out = held_out and EvenBatches(held_out, devices)
    monitor = "val_perplexity" if held_out else "perplexity"
    trainer.compile(optimizer(settings, batches), jit_compile=settings.jit)
    print(f"\nTraining {recurrent.layer_name(settings)}:")
    parts.model.summary(print_fn=print)
    callbacks = [next_word_training.ResetStates()]
    if settings.schedule == "plateau":
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor,
                factor=PLATEAU_FACTOR,
                patience=0,
                mode="min",
                min_delta=0,
                verbose=1,
            )
        )
    fitted = training.fit(
        trainer,
        batches,
        held_out,
        epochs=settings.epochs,
        patience=settings.patience,
        monitor=monitor,
        callbacks=callbacks,
        kept=training.Kept(kept / "training.npz", settings.checkpoint_seconds),
    )
    # Keras weighs batches by their rows there, perplexity by their tokens.
    history = {
        name: values
        for name, values in fitted.history.items()
        if name not in ("loss", "val_loss")
    }
    return parts, dataclasses.replace(fitted, history=history)


def score(settings: Settings, corpus: "Corpus", parts: "LanguageModel") -> list:
    """Return what the model says of the training and of the held-out text."""
    from lstm_keras.language_model import training as next_word_training

    with runner.stage("Scoring every token"):
        return [
            next_word_training.score(parts, ids, stream=settings.stream)
            if len(ids)
            else None
            for ids in (train_sample(settings, corpus), corpus.held_out)
        ]


def train_sample(settings: Settings, corpus: "Corpus"):
    """Return the beginning of the training text, whole sentences."""
    from lstm_keras.preprocessing.vocabulary import END

    if len(corpus.train) <= TRAIN_SAMPLE:
        return corpus.train
    ends = (corpus.train[:TRAIN_SAMPLE] == END).nonzero()[0]
    return corpus.train[: ends[-1] + 1 if len(ends) else TRAIN_SAMPLE]


def training_data(settings: Settings, corpus: "Corpus") -> tuple:
    """Return batches to train on, and batches to evaluate on or `None`."""
    from lstm_keras.language_model.training import (
        EVALUATION_BATCH,
        PrefixBatches,
        SentenceBatches,
        StreamWindows,
    )
    from lstm_keras.preprocessing.next_word import sentences

    size = settings.batch_size
    if settings.stream:
        batches, held_out = (
            StreamWindows(ids, size, settings.steps) if len(ids) else None
            for ids in (corpus.train, corpus.held_out)
        )
        return batches, held_out
    kind = PrefixBatches if settings.examples == "prefixes" else SentenceBatches
    batches = kind(sentences(corpus.train), size, settings.seed)
    if not len(corpus.held_out):
        return batches, None
    return batches, SentenceBatches(sentences(corpus.held_out), EVALUATION_BATCH)


def optimizer(settings: Settings, batches):
    """Return Adam with the learning rate, clipping and decay of the settings."""
    import keras

    rate = settings.learning_rate
    if settings.schedule == "cosine":
        steps = settings.epochs * len(batches)
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    return keras.optimizers.AdamW(
        rate, weight_decay=settings.weight_decay, global_clipnorm=settings.clip
    )


def build(settings: Settings, vocabulary: int) -> "LanguageModel":
    """Return the model of the settings, for so many ids."""
    from lstm_keras.language_model.model import build_language_model

    make = recurrent.recurrent_layer(settings)
    units = [settings.units] * settings.layers
    if settings.tied:
        units[-1] = settings.embedding
    layers = [
        make(
            size,
            return_sequences=True,
            return_state=True,
            recurrent_dropout=settings.recurrent_dropout,
        )
        for size in units
    ]
    return build_language_model(
        vocabulary,
        settings.embedding,
        layers,
        tied=settings.tied,
        dropout=settings.dropout,
        mask_padding=settings.examples == "prefixes",
    )


def evaluate(settings: Settings, corpus: "Corpus", trained: Trained) -> list[dict]:
    """Return the results of the model and of the n-grams on both texts.

    One entry per model: its name, and the results on the training text (of a long one
    the beginning) and on the held-out text, or `None` where there is none.
    """
    from lstm_keras.evaluation.language import evaluate_language_model
    from lstm_keras.evaluation.ngrams import KneserNeyTrigram, UnigramModel

    def result(name: str, train_scores, held_out_scores) -> dict:
        both = {"train": train_scores, "held_out": held_out_scores}
        return {"name": name} | {
            text: scores and evaluate_language_model(scores, name=name).to_dict()
            for text, scores in both.items()
        }

    name = recurrent.layer_name(settings)
    results = [result(name, trained.train_scores, trained.held_out_scores)]
    models = {"Kneser-Ney trigram": KneserNeyTrigram, "Unigram": UnigramModel}
    # Who interrupts wants to see the end.
    if trained.fit.interrupted or not settings.baselines:
        return results
    sample = train_sample(settings, corpus)
    for name, kind in models.items():
        with runner.stage(name):
            model = kind.fit(
                corpus.train, len(corpus.vocabulary), stream=settings.stream
            )
            held_out = corpus.held_out
            scores = [
                model.score(ids, stream=settings.stream) if len(ids) else None
                for ids in (sample, held_out)
            ]
            results.append(result(name, *scores))
    return results


def write_run(
    folder: Path, config: dict, corpus: "Corpus", trained: Trained, metrics: dict
) -> None:
    """Write every file of the run into the folder."""
    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", metrics)
    write_csv(folder / "history.csv", training.history_rows(trained.fit))
    trained.parts.model.save(folder / "model.keras")
    corpus.vocabulary.save(folder / "vocabulary.json")
    figures = next_word_report.figures(corpus, trained, metrics)
    pictures = report.save_figures(folder, figures)
    neighbours = next_word_report.neighbours(corpus, trained)
    page = next_word_report.page(metrics, config, pictures, neighbours)
    (folder / "report.html").write_text(page, encoding="utf-8")


def generate(argv: Sequence[str]) -> None:
    """Continue a prompt with the model of a run, or show what comes next."""
    parser = generate_parser()
    arguments = parser.parse_args(argv)
    drawing = ("temperature", "top_k", "top_p", "beam", "seed")
    if arguments.show and any(getattr(arguments, name) is not None for name in drawing):
        parser.error("expected --show alone: it draws and searches nothing")
    with runner.readable_errors():
        from lstm_keras import load_run

        sys.stdout.reconfigure(errors="replace")  # words and bars, on any terminal
        run = load_run(arguments.run)
        if not hasattr(run, "generate"):
            raise ValueError(
                f"expected a run of {EXPERIMENT}; received {arguments.run}, a run of "
                f"{run.config.get('experiment', 'another experiment')}"
            )
        unknown = run.unknown_words(arguments.prompt)
        if unknown:
            print(f"(unknown words: {', '.join(unknown)})")
        if arguments.show:
            for word, probability in run.next_words(arguments.prompt, arguments.show):
                print(f"{probability:7.2%}  {bar(probability)}  {word}")
            return
        written = run.generate(
            arguments.prompt,
            tokens=arguments.tokens,
            temperature=arguments.temperature,
            top_k=arguments.top_k,
            top_p=arguments.top_p,
            beam=arguments.beam,
            seed=arguments.seed,
        )
        print(written.text)


def generate_parser() -> argparse.ArgumentParser:
    """Return the command line of `generate`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{EXPERIMENT} generate",
        description="Continue a text. Without options the most probable word is taken "
        "each time.",
    )
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("prompt", metavar="PROMPT", help="how the text begins, or ''")
    count = runner.number(int, least=1)
    add = parser.add_argument
    add("--tokens", type=count, default=20, help="most tokens to add (default: 20)")
    add(
        "--temperature",
        type=runner.number(float, least=0),
        help="draw the words, below 1 more carefully, above 1 more boldly",
    )
    add("--top-k", type=count, help="draw among so many most probable words")
    add(
        "--top-p",
        type=runner.number(float, above=0, most=1),
        help="draw among the most probable words that have this probability together",
    )
    add("--beam", type=count, help="search for a probable text, so many at a time")
    add("--seed", type=runner.number(int, least=0), help="of the drawing")
    add("--show", type=count, help="show so many most probable next words instead")
    return parser


def bar(probability: float, width: int = 30) -> str:
    """Return a probability as a bar."""
    return ("█" * round(probability * width)).ljust(width)


if __name__ == "__main__":
    main(sys.argv[1:])
