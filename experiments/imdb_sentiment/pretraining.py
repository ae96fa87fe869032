"""The language models that a sentiment model begins with: trained here, or given."""

import dataclasses
from pathlib import Path

from experiments.common.processes import run_here
from experiments.common.run_folder import partial_path
from experiments.common.signals import INTERRUPTED
from experiments.common.trained_run import open_run
from experiments.imdb_sentiment.settings import Settings
from experiments.next_word.settings import EXPERIMENT as NEXT_WORD
from lstm_keras.runs import NextWordRun


def with_language_models(settings: Settings) -> Settings:
    """Return the settings with the language models of `pretrain`, trained if need be.

    They are `next_word` runs in the same output folder. One that is there is used, an
    unfinished one is continued.

    Raises:
        KeyboardInterrupt: The training of one was interrupted.
        ValueError: It failed.
    """
    if not settings.pretrain or settings.pretrained or settings.pretrained_backwards:
        return settings
    paths = {}
    if settings.directions in ("forwards", "both"):
        paths["pretrained"] = language_model(settings, backwards=False)
    if settings.directions in ("backwards", "both"):
        paths["pretrained_backwards"] = language_model(settings, backwards=True)
    return dataclasses.replace(settings, **paths)


def language_model(settings: Settings, *, backwards: bool) -> str:
    """Return the folder of a language model, trained if it is not there."""
    name = settings.pretrain + "-backwards" * backwards
    path = Path(settings.output, NEXT_WORD.name, name)
    if path.is_dir():
        print(f"Language model: {path}")
        return str(path)
    command = [f"experiments.{NEXT_WORD.name}"]
    if partial_path(path).is_dir():
        command += ["--resume", str(path)]
    else:
        command += ["--recipe", settings.pretrain, "--name", name]
        command += ["--output", settings.output, "--seed", str(settings.seed)]
        command += ["--layer", settings.layer, *["--backwards"] * backwards]
    print(f"Language model: python -m {' '.join(command)}\n", flush=True)
    status = run_here(command)
    if status == INTERRUPTED:
        print("The same command goes on with the language model.")
        raise KeyboardInterrupt
    if status:
        raise ValueError(
            f"expected a language model at {path}; its training ended with status "
            f"{status}"
        )
    return str(path)


def opened(settings: Settings) -> list[NextWordRun]:
    """Open the language models to begin with, forwards first.

    Raises:
        ValueError: Their vocabularies differ.
    """
    paths = (settings.pretrained, settings.pretrained_backwards)
    runs = [open_run(path, NEXT_WORD.name) for path in paths if path]
    if len({run.vocabulary.words for run in runs}) > 1:
        raise ValueError(
            "expected two language models of the same vocabulary; received "
            f"{' and '.join(map(repr, runs))}"
        )
    return runs
