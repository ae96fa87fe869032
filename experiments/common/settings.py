"""The options, and the groups of them, that experiments share."""

import dataclasses
import time
from dataclasses import dataclass
from typing import Self

from experiments.common.options import option

MOST_SEEDS = 1000
MOST_UNITS = 65_536  # the weights of more do not fit into any memory
LAYERS = ("custom", "builtin", "gru", "simple_rnn")
ENGINES = ("auto", "loop", "cudnn", "xla", "aten", "scan")  # lstm_keras.engines.NAMES


def seed_option(help: str, group: str):
    """Declare a seed, or the first of several."""
    return option(
        0, help, group=group, least=0, most=2**32 - MOST_SEEDS, compared=False
    )


def seeds_option(default: int, group: str):
    """Declare the number of training runs that differ in the seed alone."""
    help = "number of training runs, with consecutive seeds from --seed on"
    return option(default, help, group=group, least=1, most=MOST_SEEDS, compared=False)


def size_option(default: int, help: str, group: str = "model"):
    """Declare the size of a layer."""
    return option(default, help, group=group, least=1, most=MOST_UNITS)


def fraction_option(default: float, help: str, group: str = "training"):
    """Declare a fraction, which can be 0 but not 1."""
    return option(default, help, group=group, least=0, below=1)


def learning_rate_option(default: float, group: str = "training"):
    """Declare Adam's learning rate."""
    return option(default, "learning rate of Adam", group=group, above=0, most=10)


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    """Where a run goes: the settings of every experiment."""

    output: str = option(
        "runs", "parent folder of all runs", group="output", compared=False
    )
    name: str | None = option(
        None,
        "name of the run's folder (default: date and time)",
        group="output",
        compared=False,
    )
    overwrite: bool = option(
        False, "replace an earlier run of that name", group="output", compared=False
    )

    def checked(self) -> Self:
        """Return the final settings, or refuse them before anything is loaded.

        Raises:
            ValueError: They contradict each other.
            OSError: A file that they name does not exist.
        """
        return self

    def name_prefix(self) -> str:
        """Return the beginning of a default name."""
        return ""

    def named(self) -> Self:
        """Return these settings with a name."""
        if self.name is not None:
            return self
        words = [self.name_prefix(), time.strftime("%Y%m%d-%H%M%S")]
        return dataclasses.replace(self, name="-".join(filter(None, words)))


@dataclass(frozen=True, kw_only=True)
class RepeatSettings(OutputSettings):
    """Settings of an experiment whose numbers can be reproduced."""

    repeat: str | None = option(
        None,
        "folder of a finished run: run its command again, and compare the results; "
        "only --name, --output and --overwrite can be given beside it",
        group="resume and reproduce",
        compared=False,
    )
    deterministic: bool = option(
        False,
        "replace or refuse operations whose result varies between runs; slower on a "
        "GPU, unnecessary on a CPU",
        group="resume and reproduce",
    )


@dataclass(frozen=True, kw_only=True)
class ResumeSettings(RepeatSettings):
    """Settings of an experiment that trains long enough to be interrupted."""

    resume: str | None = option(
        None,
        "folder of an interrupted or killed run: continue it with its options; beside "
        "it only --checkpoint-seconds and options of jobs are allowed",
        group="resume and reproduce",
        compared=False,
    )
    checkpoint_seconds: float = option(
        60.0,
        "seconds between two checkpoints within an epoch; every epoch ends with one",
        group="resume and reproduce",
        compared=False,
        least=0,
    )


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """The engine of the custom layer."""

    engine: str = option(
        "auto",
        "engine of the custom layer; auto: the fastest that supports it; loop: the "
        "cell, step by step",
        group="speed",
        choices=ENGINES,
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(EngineSettings, ResumeSettings):
    """Settings of an experiment that trains one model of a chosen layer."""

    layer: str = option(
        "custom",
        "recurrent layer; custom: lstm_keras.LSTM; builtin: keras.layers.LSTM; gru, "
        "simple_rnn: Keras's GRU and SimpleRNN",
        group="model",
        choices=LAYERS,
    )
    layers: int = option(
        1, "number of stacked recurrent layers", group="model", least=1, most=100
    )
    patience: int | None = option(
        None,
        "stop after this number of epochs without a better result on validation data "
        "(default: never); the model has the weights of its best epoch in any case",
        group="training",
        least=1,
    )
    seed: int = seed_option("seed of split, weights, order and dropout", "training")
    baselines: bool = option(
        True, "also train the baselines", group="training", compared=False
    )
    jit: bool = option(
        False,
        "compile the training step with XLA; on TensorFlow the custom layer then uses "
        "the engine loop",
        group="speed",
    )
    dtype: str = option(
        "float32",
        "dtype policy of the layers",
        group="speed",
        choices=("float32", "mixed_bfloat16", "mixed_float16", "float64"),
    )
    data_parallel: bool = option(
        False,
        "train on all devices, which share every batch of --batch-size (JAX; on "
        "TensorFlow classifiers only)",
        group="speed",
    )

    def name_prefix(self) -> str:
        """Return the layer."""
        return self.layer


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """The number of processes that share the work, and where they run."""

    jobs: int = option(
        1,
        "number of training runs at a time, each in its own process; more than there "
        "are cores gain nothing",
        group="jobs",
        compared=False,
        least=1,
        most=1024,
    )
    ray: str | None = option(
        None,
        "address of a Ray cluster that runs the jobs, or auto; its machines must see "
        "the same folders (pip install 'lstm_keras[ray]')",
        group="jobs",
        compared=False,
    )
