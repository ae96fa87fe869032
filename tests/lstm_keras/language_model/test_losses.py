"""The losses against the softmax written out in NumPy float64."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from lstm_keras.language_model import losses
from tests.helpers.equality import loss_weights, outputs_and_gradients
from tests.helpers.fresh_process import run_python
from tests.helpers.large_text import PEAK

TOKENS, UNITS, WORDS = 37, 5, 50


@pytest.fixture
def arrays():
    rng = np.random.default_rng(3)
    hidden = rng.normal(size=(TOKENS, UNITS)).astype("float32")
    kernel = rng.normal(size=(UNITS, WORDS)).astype("float32")
    bias = rng.normal(size=WORDS).astype("float32")
    targets = rng.integers(0, WORDS, TOKENS).astype("int32")
    targets[[2, 7, 36]] = 0  # padding
    return hidden, kernel, bias, targets


CHUNKS = {"one": WORDS * TOKENS, "four": WORDS * 10, "each": 1}


@pytest.fixture(params=CHUNKS)
def chunks(request, monkeypatch):
    """All tokens in one chunk, in four, or each in its own."""
    monkeypatch.setattr(losses, "MAX_LOGITS", CHUNKS[request.param])


chunks_and_jit = pytest.mark.parametrize(
    ("chunks", "jit"),
    [
        ("four", False),
        ("one", True),
        pytest.param("four", True, marks=pytest.mark.thorough),
    ],
    indirect=["chunks"],
)


def log_softmax(hidden, kernel, bias):
    logits = hidden.astype("float64") @ kernel + bias
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def expected(hidden, kernel, bias, targets):
    """Loss and gradients by the textbook."""
    log_probabilities = log_softmax(hidden, kernel, bias)
    real = targets != 0
    loss = -log_probabilities[np.arange(TOKENS), targets][real].mean()
    d_logits = np.exp(log_probabilities) - np.eye(WORDS)[targets]
    d_logits *= real[:, None] / real.sum()
    return loss, (d_logits @ kernel.T, hidden.T @ d_logits, d_logits.sum(axis=0))


def loss_and_gradients(floats, targets):
    """On the backend in use."""
    targets = ops.convert_to_tensor(targets)
    (loss,), found = outputs_and_gradients(
        keras.layers.Layer(),
        lambda *tensors: losses.linear_cross_entropy(*tensors, targets),
        floats,
    )
    weight = loss_weights((), 0)
    return float(loss), [ops.convert_to_numpy(one) / weight for one in found]


def test_loss_and_gradients_equal_the_textbook_in_any_number_of_chunks(arrays, chunks):
    *floats, targets = arrays
    loss, found = loss_and_gradients(floats, targets)
    right_loss, right = expected(*arrays)
    assert loss == pytest.approx(right_loss, rel=1e-5)
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    # A batch of padding alone costs nothing.
    loss, found = loss_and_gradients(floats, np.zeros_like(targets))
    assert loss == 0 and all(not one.any() for one in found)


def second_derivatives(function, arrays, directions, jit=False):
    """Gradients of `sum(gradient * direction)`, on the backend in use."""

    def along(found):
        return sum(
            ops.sum(one * other) for one, other in zip(found, directions, strict=True)
        )

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        def twice(*tensors):
            with tf.GradientTape() as outer:
                outer.watch(tensors)
                with tf.GradientTape(persistent=True) as inner:
                    inner.watch(tensors)
                    loss = function(*tensors)
                slope = along(inner.gradient(loss, tensors))
            return outer.gradient(slope, tensors)

        return (tf.function(twice) if jit else twice)(*map(tf.constant, arrays))
    if backend == "jax":
        import jax

        first = jax.grad(function, argnums=(0, 1, 2))
        twice = jax.grad(lambda *tensors: along(first(*tensors)), argnums=(0, 1, 2))
        return (jax.jit(twice) if jit else twice)(*arrays)
    import torch

    tensors = [ops.convert_to_tensor(array).requires_grad_() for array in arrays]
    found = torch.autograd.grad(function(*tensors), tensors, create_graph=True)
    directions = [ops.convert_to_tensor(one) for one in directions]
    return torch.autograd.grad(along(found), tensors)


@chunks_and_jit
def test_second_derivatives_equal_differences_of_the_textbook_gradients(
    arrays, chunks, jit
):
    """The oracle: central differences along a direction, in float64."""
    *floats, targets = arrays
    rng = np.random.default_rng(5)
    directions = [rng.normal(size=one.shape).astype("float32") for one in floats]

    def moved(by):
        pairs = zip(floats, directions, strict=True)
        return expected(*(x.astype("float64") + by * d for x, d in pairs), targets)[1]

    def loss(*tensors):
        return losses.linear_cross_entropy(*tensors, ops.convert_to_tensor(targets))

    if keras.backend.backend() == "jax" and losses.MAX_LOGITS < WORDS * TOKENS:
        with pytest.raises(ValueError, match="differentiation does not work"):
            second_derivatives(loss, floats, directions, jit)
        return
    found = second_derivatives(loss, floats, directions, jit)
    for one, more, less in zip(found, moved(1e-4), moved(-1e-4), strict=True):
        right = (more - less) / 2e-4
        np.testing.assert_allclose(ops.convert_to_numpy(one), right, atol=1e-5)


MEASURE = """
import tensorflow as tf
from lstm_keras.language_model import losses

def gradients(tokens, tapes, persistent):
    hidden = tf.random.stateless_normal((tokens, 8), (1, 2))
    targets = tf.ones(tokens, tf.int32)
    outer = tf.GradientTape(persistent=persistent) if tapes == 2 else None
    with outer or tf.name_scope("one"):
        with tf.GradientTape(persistent=persistent) as tape:
            loss = losses.linear_cross_entropy(hidden, kernel, bias, targets)
        return tape.gradient(loss, [kernel, bias])

kernel, bias = tf.Variable(tf.zeros((8, 20_000))), tf.Variable(tf.zeros(20_000))
gradients(1, 1, False)
before = peak()
for tapes in (1, 2):
    for persistent in (False, True):
        gradients(1500, tapes, persistent)
print((peak() - before) / (1500 * 20_000 * 4))
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or not Path("/proc/self/status").exists(),
    reason="about TensorFlow's eager tape, measured by Linux",
)
@pytest.mark.thorough
def test_eager_tapes_hold_no_logits():
    """The peak, in a process of its own, in sizes of all logits at once."""
    assert float(run_python(PEAK + MEASURE)) < 1.5  # it was 6


def test_scores_are_log_probability_rank_and_highest_probability(arrays, chunks):
    *floats, targets = arrays
    log_probabilities = log_softmax(*floats)
    true = log_probabilities[np.arange(TOKENS), targets]
    rank = (log_probabilities > true[:, None]).sum(axis=1)
    right = [true, rank, np.exp(log_probabilities.max(axis=1))]
    scores = losses.score_tokens(*map(ops.convert_to_tensor, arrays))
    np.testing.assert_allclose(ops.convert_to_numpy(scores).T, right, atol=1e-5)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow has such shapes"
)
@chunks_and_jit
def test_the_number_of_tokens_may_be_unknown_while_compiling(arrays, chunks, jit):
    import tensorflow as tf

    *floats, targets = arrays
    signature = [tf.TensorSpec((None, UNITS)), tf.TensorSpec((None,), tf.int32)]

    @tf.function(jit_compile=jit, input_signature=signature)
    def run(hidden, targets):
        return losses.linear_cross_entropy(hidden, *floats[1:], targets)

    loss = float(run(floats[0], targets))
    assert loss == pytest.approx(expected(*arrays)[0], rel=1e-5)


def estimates(arrays, draws):
    seed = keras.random.SeedGenerator(0)
    hidden, kernel, *others = map(ops.convert_to_tensor, arrays)
    tensors = (hidden, ops.transpose(kernel), *others)
    drawn = (losses.sampled_cross_entropy(*tensors, 20, seed) for _ in range(draws))
    return np.array([*map(float, drawn)])


@pytest.mark.thorough
def test_sampled_denominators_are_right_on_average(arrays):
    """One token: exp(loss) = denominator / exp(true logit), whose mean is exact."""
    hidden, kernel, bias, _ = arrays
    for target in (5, 30):  # among those taken always, and not
        one = (hidden[:1], kernel, bias, np.array([target], "int32"))
        ratios = np.exp(estimates(one, draws=200))
        right = np.exp(-log_softmax(*one[:3])[0, target])
        error = ratios.std(ddof=1) / np.sqrt(len(ratios))
        assert abs(ratios.mean() - right) < 4 * error
        assert error < 0.1 * right


def test_sampling_leaves_padding_out(arrays):
    hidden, kernel, bias, targets = arrays
    real = targets != 0
    without = (hidden[real], kernel, bias, targets[real])
    assert estimates(without, draws=1) == pytest.approx(estimates(arrays, draws=1))
