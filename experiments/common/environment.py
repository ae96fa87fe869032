"""Versions and machine of a run, deterministic operations, and a hash of its data."""

import contextlib
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import keras

from experiments.common.result import Environment, Machine

backend = keras.backend.backend
set_dtype_policy = keras.config.set_dtype_policy


def environment(devices: Sequence[str] = ()) -> Environment:
    """Return the versions, the backend and the machine.

    Args:
        devices: The devices that share each batch, if there are several.
    """
    packages = {"keras", "numpy", "scikit-learn", backend()}
    return Environment(
        python=platform.python_version(),
        backend=backend(),
        versions={name: version(name) for name in sorted(packages)},
        machine=Machine(
            cpu=_cpu_model(), cores=os.cpu_count(), platform=platform.platform()
        ),
        devices=len(devices) or 1,
        git_commit=_git_commit(),
    )


def make_deterministic() -> None:
    """Make the backend's operations deterministic, before anything is computed."""
    # JAX reads the first when it starts; torch's documentation asks for the second.
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)


def fingerprint(arrays: Iterable) -> str:
    """Return "sha256:" and the hash of the arrays' shapes, types and values."""
    digest = hashlib.sha256()
    for array in arrays:
        array = array if array.flags.c_contiguous else array.copy()
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(memoryview(array).cast("B"))
    return f"sha256:{digest.hexdigest()}"


def _git_commit() -> str | None:
    """Return the commit of this checkout, and whether files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit, changes = (
            subprocess.run(
                [*git, *words], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for words in (
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no"),
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changes else "")


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
