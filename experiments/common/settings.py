"""The groups of settings that experiments share; each inherits those that it needs."""

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
    """Declare a field for a seed, the first one where there are several."""
    return option(
        0, help, group=group, least=0, most=2**32 - MOST_SEEDS, compared=False
    )


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    """Where a run goes: the settings of every experiment."""

    output: str = option(
        "runs", "parent folder of all runs", group="output", compared=False
    )
    name: str | None = option(
        None,
        "name of the run folder (default: made from the time)",
        group="output",
        compared=False,
    )
    overwrite: bool = option(
        False, "replace a run of that name", group="output", compared=False
    )

    def checked(self) -> Self:
        """Return these settings, complete and consistent, before anything is loaded.

        Raises:
            ValueError: They do not go together.
            OSError: A file that they name is not there.
        """
        return self

    def name_prefix(self) -> str:
        """Return what a name that was not given begins with."""
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
        "folder of a finished run: run its command again, with its options but for "
        "--name, --output and --overwrite, and compare the results",
        group="resume and reproduce",
        compared=False,
    )
    deterministic: bool = option(
        False,
        "replace or refuse operations whose result varies between runs; it makes a "
        "GPU slower, and on a CPU the seed alone reproduces a run",
        group="resume and reproduce",
    )


@dataclass(frozen=True, kw_only=True)
class ResumeSettings(RepeatSettings):
    """Settings of an experiment that trains long enough to be interrupted."""

    resume: str | None = option(
        None,
        "folder of an interrupted or killed run to continue, with its options; "
        "--checkpoint-seconds, --jobs and --ray may be given anew",
        group="resume and reproduce",
        compared=False,
    )
    checkpoint_seconds: float = option(
        60.0,
        "seconds between two checkpoints within an epoch; there is one after each "
        "epoch in any case",
        group="resume and reproduce",
        compared=False,
        least=0,
    )


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How the custom layer is computed."""

    engine: str = option(
        "auto",
        "what computes the custom layer: auto, the fastest engine that can; loop, the "
        "cell step by step; or an engine by its name",
        group="speed",
        choices=ENGINES,
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(EngineSettings, ResumeSettings):
    """Settings of an experiment that trains one model of a chosen layer."""

    layer: str = option(
        "custom",
        "custom: lstm_keras.LSTM; the others are Keras's own",
        group="model",
        choices=LAYERS,
    )
    seed: int = seed_option("seed of split, weights, order and dropout", "training")
    jit: bool = option(
        False,
        "compile the training step with XLA; on TensorFlow the custom layer then runs "
        "as a loop, since its engine works outside of such a program",
        group="speed",
    )
    dtype: str = option(
        "float32",
        "the layers' dtype policy",
        group="speed",
        choices=("float32", "mixed_bfloat16", "mixed_float16", "float64"),
    )
    data_parallel: bool = option(
        False,
        "train on all devices, each with a share of every batch of --batch-size: on "
        "JAX, and for reviews on TensorFlow, too",
        group="speed",
    )

    def name_prefix(self) -> str:
        """Return the layer."""
        return self.layer


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """How many processes share the work."""

    jobs: int = option(
        1,
        "number of training runs at a time, each in a process of its own, which takes "
        "some seconds to start; there is no gain beyond the number of cores",
        group="jobs",
        compared=False,
        least=1,
        most=1024,
    )
    ray: str | None = option(
        None,
        "address of a Ray cluster, or auto, to run the jobs on; its machines must see "
        "the same folders (pip install 'lstm_keras[ray]')",
        group="jobs",
        compared=False,
    )
