"""`--data-parallel`: two devices find what one does.

They are halves of the CPU, in a process of its own, since it must be split before
anything is computed.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from experiments import imdb_sentiment, next_word
from experiments.common import data_parallel
from experiments.common.data_parallel import EvenBatches
from experiments.imdb_sentiment.settings import Settings as SentimentSettings
from experiments.imdb_sentiment.train import Examples, train_one
from experiments.next_word.settings import Settings as NextWordSettings
from experiments.next_word.train import train
from lstm_keras.datasets import load_text
from lstm_keras.preprocessing.batches import ExampleBatches
from tests.helpers import runs

BACKEND = keras.backend.backend()
TENSORFLOW = pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")
JIT = BACKEND == "jax"  # TensorFlow can't
JAX = pytest.mark.skipif(BACKEND != "jax", reason="of JAX")


def split_cpu():
    """Make TensorFlow see the CPU as two devices; JAX reads its environment."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")
        (cpu,) = tf.config.list_physical_devices("CPU")
        halves = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, halves)


@pytest.fixture(scope="module")
def on_halves():
    """Call a function of this file in a process that has two devices."""
    if BACKEND not in data_parallel.SPLIT_CPU:
        pytest.skip("of JAX and TensorFlow")
    flags = f"{os.environ.get('XLA_FLAGS', '')} {data_parallel.JAX_FLAG}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", flags)
        patch.setenv("JAX_PLATFORMS", "cpu")
        with ProcessPoolExecutor(1, get_context("spawn"), split_cpu) as pool:
            yield lambda function, *args: pool.submit(function, *args).result()


def training_seen(module, learn):
    """Return what `learn` returns, and on how many devices the weights were."""
    devices, fit = [], module.fit

    def spy(model, *args, **options):
        fitted = fit(model, *args, **options)
        value = model.trainable_variables[0].value
        if BACKEND == "jax":
            devices.append(len(value.sharding.device_set))
        else:
            devices.append(len(getattr(value, "values", [value])))
        return fitted

    with pytest.MonkeyPatch.context() as patch:
        # After the training the model is built anew, on one device.
        patch.setattr(module, "fit", spy)
        return learn(), *devices


def assert_equal(one, two, but=()):
    """The same names and, but for some, values; on one device and on two."""
    (found, devices), (others, more) = one, two
    assert (devices, more) == (1, 2)
    assert found.keys() == others.keys()
    for name in found.keys() - set(but):
        np.testing.assert_allclose(
            others[name], found[name], rtol=1e-5, atol=1e-5, err_msg=name
        )


def weights_of(model):
    return {f"weight {i}": value for i, value in enumerate(model.get_weights())}


# Reviews


def reviews(count, seed):
    """Random words, one of which makes a review positive."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(4, 30, (count, 10)).astype(np.int32)
    ids[np.arange(10) < rng.integers(0, 10, (count, 1))] = 0
    return Examples(ids, (ids == 7).any(axis=1).astype(np.int32))


def learn_reviews(parallel):
    sizes = {"maxlen": 10, "embedding": 5, "units": 6, "epochs": 4, "batch_size": 8}
    options = {"learning_rate": 0.1, "mask_padding": True, "jit": JIT}
    settings = SentimentSettings(**sizes, **options, data_parallel=parallel)

    def learn():
        trained = train_one(settings, reviews(34, 0), reviews(7, 1), 30, seed=2)
        return {
            **weights_of(trained.model),
            **trained.fit.history,
            "best epoch": trained.fit.best_epoch,
            "probabilities": trained.test_probabilities,
        }

    return training_seen(imdb_sentiment.train, learn)


@pytest.mark.thorough
def test_two_devices_learn_reviews_as_one_does(on_halves):
    """27 reviews to train and 7 to validate: two cannot share them evenly."""
    one, two = (on_halves(learn_reviews, parallel) for parallel in (False, True))
    # Means that are reported while training count the padding of the last batch.
    assert_equal(one, two, but=("loss", "accuracy"))
    found, _ = one
    assert found["best epoch"] < 4  # its weights were restored
    assert found["loss"][-1] < 0.9 * found["loss"][0]


# Texts


def learn_text(parallel, path, changes):
    sizes = {"embedding": 5, "units": 5, "batch_size": 4, "steps": 6, "epochs": 2}
    rates = {"learning_rate": 0.05, "weight_decay": 0.1, "clip": 0.1}
    options = sizes | rates | {"tied": True, "jit": True, "data_parallel": parallel}
    settings = NextWordSettings(**options, **changes)
    corpus = load_text(path, split=settings.split, held_out=0.3, min_count=1)

    def learn():
        parts, fitted = train(settings, corpus)
        return weights_of(parts.model) | fitted.history

    return training_seen(next_word.train, learn)


@JAX
@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.0, "recurrent_dropout": 0.0},
        {"split": "stream", "sampled_softmax": 8},
    ],
    ids=["sentences", "stream"],
)
def test_two_devices_learn_a_text_as_one_does(on_halves, tmp_path, changes):
    """15 sentences to train and 6 to validate; or a stream, with dropout."""
    path = tmp_path / "text.txt"
    lines = [f"w{n % 5} w{n % 7} " * (1 + n % 4) for n in range(21)]
    path.write_text("\n".join(lines))
    one, two = (on_halves(learn_text, parallel, path, changes) for parallel in (0, 1))
    assert_equal(one, two)
    found, _ = one
    assert found["val_perplexity"][-1] < found["val_perplexity"][0]


# What is refused, and why


@pytest.fixture
def wanted(monkeypatch):
    """Settings that ask for it, on a machine with two devices."""
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0", "cpu:1"])
    return SimpleNamespace(data_parallel=True, batch_size=4)


def test_without_the_option_nothing_is_asked_of_the_machine(wanted):
    wanted.data_parallel, wanted.batch_size = False, 3
    assert data_parallel.devices(wanted) == []
    with data_parallel.distribute(wanted) as count:
        assert count == 1


@pytest.mark.skipif(BACKEND == "torch", reason="torch is refused")
def test_several_devices_must_share_a_batch_evenly(wanted, monkeypatch):
    assert data_parallel.devices(wanted) == ["cpu:0", "cpu:1"]
    wanted.batch_size = 5
    message = "--batch-size that 2 devices can share evenly; received 5"
    with pytest.raises(ValueError, match=message):
        data_parallel.devices(wanted)
    # One alone is refused with how to split a CPU.
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0"])
    how = {"jax": r"XLA_FLAGS=--xla\S*=2", "tensorflow": "set_logical_device_conf"}
    with pytest.raises(ValueError, match=rf"two devices.*\['cpu:0'\].*{how[BACKEND]}"):
        data_parallel.devices(wanted)


@pytest.mark.parametrize("name", ["imdb_sentiment", "next_word"])
def test_experiments_refuse_it_before_they_load_anything(tmp_path, monkeypatch, name):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0"])
    with pytest.raises(SystemExit, match=r"error: .*--data-parallel"):
        runs.make(name, tmp_path, "--data-parallel")
    assert not list(tmp_path.iterdir())


def steps_on_tensorflow(jit):
    """Return how far one step goes that is bound to 0.1: on one device, on two."""
    lengths = []
    for parallel in (False, True):
        settings = SimpleNamespace(data_parallel=parallel, batch_size=8)
        with data_parallel.distribute(settings):
            model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
            bound = keras.optimizers.SGD(1.0, global_clipnorm=0.1)
            model.compile(bound, "mse", jit_compile=jit)
            model.set_weights([np.zeros((1, 1)), np.zeros(1)])
            x, y = np.float32([0] * 4 + [1] * 4), np.float32([9] * 4 + [-99] * 4)
            model.fit(x[:, None], y, batch_size=8, verbose=0)
            lengths.append(np.linalg.norm(np.concatenate(model.get_weights(), None)))
    return lengths


@pytest.mark.thorough
@TENSORFLOW
def test_on_tensorflow_each_device_clips_its_own_share(on_halves):
    """Why texts are refused: once this fails, they need not be."""
    one, two = on_halves(steps_on_tensorflow, False)
    assert one == pytest.approx(0.1)
    assert abs(two - 0.1) > 0.01


@pytest.mark.thorough
@TENSORFLOW
def test_on_tensorflow_xla_cannot_read_the_weights_of_another_device(on_halves):
    """Why `--jit` is refused."""
    with pytest.raises(Exception, match="located in device"):
        on_halves(steps_on_tensorflow, True)


# Batches


def test_padding_rows_have_no_weight():
    ids = np.arange(1, 11).reshape(5, 2)
    batches = ExampleBatches(ids, np.arange(1, 6), 4)
    whole, rest = EvenBatches(batches, 2)
    np.testing.assert_array_equal(whole[0], ids[:4])
    assert [part.tolist() for part in whole[1:]] == [[1, 2, 3, 4], [1, 1, 1, 1]]
    # The mean of a loss over two rows is that of the one real row.
    assert [part.tolist() for part in rest] == [[[9, 10], [0, 0]], [5, 0], [2, 0]]
    # Over six rows in all it is that of the five.
    whole, rest = EvenBatches(batches, 2, rows=5)
    np.testing.assert_allclose(whole[2], [1.2] * 4, rtol=1e-6)
    np.testing.assert_allclose(rest[2], [1.2, 0], rtol=1e-6)


def test_epochs_have_the_order_of_the_padded_batches():
    batches = ExampleBatches(np.arange(9), np.arange(9), 4, seed=1)
    even = EvenBatches(batches, 4)
    for epoch, step in ((0, 0), (3, 0), (3, 2)):
        batches.enter(epoch, step)
        even.enter(epoch, step)
        assert len(even) == len(batches)
        for (inputs, *_), (others, *_) in zip(even, batches, strict=True):
            np.testing.assert_array_equal(inputs[: len(others)], others)
            assert not inputs[len(others) :].any()
            assert len(inputs) % 4 == 0
