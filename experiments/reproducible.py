"""What makes a run the same again: its data by name, and operations without chance."""

import hashlib
import os
from collections.abc import Iterable

from experiments.runner import option


def deterministic_option():
    """Declare `--deterministic`, a field of an experiment's settings."""
    return option(
        False,
        "refuse or replace operations whose result may differ from time to time: a "
        "GPU has such, and then it is slower; on a CPU a seed gives the same weights "
        "without it",
        group="speed",
    )


def make_deterministic() -> None:
    """Have the backend compute everything in one order, before it computes anything."""
    # JAX reads it when it starts. cuBLAS wants the other; see torch's documentation.
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)


def fingerprint(arrays: Iterable) -> str:
    """Return "sha256:" and the hash of arrays: of their shapes, types and values."""
    digest = hashlib.sha256()
    for array in arrays:
        array = array if array.flags.c_contiguous else array.copy()
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(memoryview(array).cast("B"))
    return f"sha256:{digest.hexdigest()}"
