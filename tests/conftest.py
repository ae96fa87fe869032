"""What several test files share."""

import os
import random
import sys
from pathlib import Path

import pytest

from tests.helpers import examples

# Linux lets a process map 65,530 pieces of memory, and each program that JAX compiles
# takes some: past the limit it dies.
MOST_MAPPINGS = 15_000


@pytest.hookimpl(tryfirst=True)  # before Hypothesis's own, which reads the option
def pytest_configure(config):
    """Choose the number of random examples, and their seed, to be able to name it."""
    examples.load_profile(config.getoption("--hypothesis-profile"))
    if config.getoption("--hypothesis-seed") is None:
        given = getattr(config, "workerinput", {}).get("seed")
        config.option.hypothesis_seed = given or random.getrandbits(32)


@pytest.hookimpl(optionalhook=True)  # of xdist
def pytest_configure_node(node):
    """Give its worker processes the same seed."""
    node.workerinput["seed"] = node.config.option.hypothesis_seed


def pytest_report_header(config):
    """Say how to repeat a failure."""
    return f"random examples: --hypothesis-seed={config.option.hypothesis_seed}"


@pytest.fixture(autouse=True, scope="session")
def _full_float32():
    """Let no GPU round factors to TensorFloat-32, which has 10 bits."""
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_default_matmul_precision", "highest")
    if "torch" in sys.modules:
        sys.modules["torch"].backends.cudnn.allow_tf32 = False


@pytest.fixture(autouse=True)
def _few_mappings():
    """Let JAX forget its programs before there are too many."""
    yield
    maps = Path("/proc/self/maps")
    if "jax" in sys.modules and maps.exists():
        with maps.open() as lines:
            if sum(1 for _ in lines) > MOST_MAPPINGS:
                sys.modules["jax"].clear_caches()


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data, or skip: the tests pass without it."""
    folder = os.environ.get("LSTM_KERAS_DATA")
    if not folder:
        pytest.skip("LSTM_KERAS_DATA names no folder of real data")
    return Path(folder)
