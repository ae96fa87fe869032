"""The options, and the groups of them, that experiments share."""

import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from experiments.common.files import read_json
from experiments.common.options import option

MOST_SEEDS = 1000
MOST_UNITS = 65_536  # the weights of more do not fit into any memory
LAYERS = ("custom", "builtin", "gru", "simple_rnn")
ENGINES = ("auto", "loop", "cudnn", "xla", "aten", "scan")  # lstm_keras.engines.NAMES


def backend() -> str:
    """Return the name of the backend that Keras loads, without loading it."""
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    home = os.environ.get("KERAS_HOME", Path("~", ".keras"))
    try:
        return read_json(Path(home, "keras.json").expanduser())["backend"]
    except (OSError, ValueError, KeyError):
        return "tensorflow"


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


def warm_up_option(group: str = "training"):
    """Declare the part of a training run in which the learning rate rises."""
    help = "fraction of the steps of --schedule cosine in which the rate rises from 0"
    return fraction_option(0.0, help, group)


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
        "it only --checkpoint-seconds and options of jobs and processes are allowed",
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
    """Settings of an experiment that trains one model of a chosen layer.

    Attributes:
        of_text: Whether the loss is a mean over tokens, and the gradients are clipped
            by their norm.
    """

    of_text: ClassVar[bool] = False

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

    def checked(self) -> Self:
        """Refuse options that contradict each other or the backend."""
        freely = self.engine in ("auto", "loop")  # a recipe may ask for the loop
        if self.layer != "custom" and not freely:
            raise ValueError(
                f"--engine is for --layer custom; received --engine {self.engine} with "
                f"--layer {self.layer}"
            )
        if self.jit and not freely and backend() == "tensorflow":
            raise ValueError(
                f"expected --jit with --engine loop; received --engine {self.engine}"
            )
        if self.data_parallel and (why := self._why_not_parallel()):
            raise ValueError(f"--data-parallel is not possible {why}")
        return self

    def _why_not_parallel(self) -> str | None:
        """Return why the backend does not support `data_parallel`, or None."""
        name = backend()
        if name not in ("jax", "tensorflow"):
            return (
                f"on {name}: Keras does not support it there, and PyTorch's own "
                "needs a process for each device and a training loop instead of "
                "Model.fit"
            )
        if name == "tensorflow" and self.of_text:
            return (
                "for text on TensorFlow, where each device clips the gradient of its "
                "own share and shares have different numbers of words, so that results "
                "would differ from those of one device (use KERAS_BACKEND=jax)"
            )
        if name == "tensorflow" and self.jit:
            return (
                "with --jit on TensorFlow, where a compiled step can't read the "
                "weights on another device"
            )
        return None

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
