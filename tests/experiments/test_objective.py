"""The mixed objective of the sentiment model.

Oracle: its equations in NumPy, with the gradient by central differences.
"""

import keras
import numpy as np
import pytest

from experiments.imdb_sentiment.model import build_model
from experiments.imdb_sentiment.objective import MixedObjective
from experiments.imdb_sentiment.settings import Settings

IDS = np.array([[0, 0, 5, 6, 7], [4, 5, 9, 8, 2], [0, 3, 3, 6, 9]], "int32")
Y = np.array([1, 0, 0], "float32")
LABELLED = np.array([1, 1, 0], "float32")
SMALL = {"embedding": 3, "units": 4, "mask_padding": True, "perturbation": 0.5}


def logistic_model(**options) -> tuple[keras.Model, np.ndarray, object]:
    """Return a model without dropout, its word vectors, and p(x) of vectors."""
    keras.utils.set_random_seed(3)
    settings = Settings(**SMALL, **options)
    model = build_model(settings, 10)
    weights = np.random.default_rng(1)
    model.set_weights([weights.normal(size=w.shape) for w in model.get_weights()])
    embedding, lstm, head = model.layers[1], model.layers[-2], model.layers[-1]

    def probability(vectors):
        mask = keras.ops.convert_to_tensor(IDS != 0)
        hidden = lstm(keras.ops.convert_to_tensor(vectors.astype("float32")), mask=mask)
        return keras.ops.convert_to_numpy(head(hidden))[:, 0].astype("float64")

    table = keras.ops.convert_to_numpy(embedding.embeddings).astype("float64")
    return MixedObjective(model, settings), table, probability


def slopes(probability, x, step=1e-2) -> np.ndarray:
    """Return dp/dx by central differences; p of a row depends on that row alone."""
    found = np.zeros_like(x)
    for t in range(x.shape[1]):
        for k in range(x.shape[2]):
            change = np.zeros_like(x)
            change[:, t, k] = step
            found[:, t, k] = probability(x + change) - probability(x - change)
    return found / (2 * step)


def cross_entropy(p, q):
    return -p * np.log(q) - (1 - p) * np.log(1 - q)


@pytest.mark.parametrize(
    "weights",
    [
        {"adversarial": 0.7},
        {"virtual_adversarial": 0.7},
        {"entropy": 0.7},
        {"adversarial": 0.5, "virtual_adversarial": 2.0, "entropy": 0.3},
    ],
    ids="-".join,
)
def test_the_loss_is_that_of_the_equations(weights):
    model, table, probability = logistic_model(**weights)
    model.compile(
        loss=keras.losses.BinaryCrossentropy(reduction="mean_with_sample_weight")
    )
    found = model.compute_loss(
        keras.ops.convert_to_tensor(IDS),
        keras.ops.convert_to_tensor(Y),
        model(IDS, training=True),
        keras.ops.convert_to_tensor(LABELLED),
    )

    x = table[IDS]
    p, g = probability(x), slopes(probability, x)
    y = np.where(LABELLED > 0, Y, p > 0.5)
    d = 0.5 * np.sqrt(np.mean(np.sum(table**2, axis=1)))
    lengths = np.sqrt(np.sum(g**2, axis=(1, 2), keepdims=True))
    q = probability(x + d * (1 - 2 * y)[:, None, None] * g / lengths)
    losses = {
        "adversarial": np.sum(LABELLED * cross_entropy(Y, q)) / 2,
        "virtual_adversarial": np.mean(cross_entropy(p, q) - cross_entropy(p, p)),
        "entropy": np.mean(cross_entropy(p, p)),
    }
    expected = np.sum(LABELLED * cross_entropy(Y, p)) / 2
    expected += sum(weight * losses[name] for name, weight in weights.items())
    assert float(keras.ops.convert_to_numpy(found)) == pytest.approx(expected, rel=2e-3)
    if "adversarial" in weights:  # it is worse by more than the tolerance
        assert losses["adversarial"] > 1.02 * np.sum(LABELLED * cross_entropy(Y, p)) / 2


def test_no_gradient_flows_through_the_target_or_the_change():
    """The gradient by the head's bias b, where dp/db = p (1 - p), q likewise."""
    model, table, probability = logistic_model(virtual_adversarial=1.0)
    bias = model.layers[-1].bias
    model.compile("sgd", keras.losses.BinaryCrossentropy())
    model.optimizer.learning_rate = 1.0
    x = table[IDS]
    p, g = probability(x), slopes(probability, x)
    d = 0.5 * np.sqrt(np.mean(np.sum(table**2, axis=1)))
    lengths = np.sqrt(np.sum(g**2, axis=(1, 2), keepdims=True))
    q = probability(x + d * (1 - 2 * Y)[:, None, None] * g / lengths)
    before = keras.ops.convert_to_numpy(bias)[0]
    model.train_on_batch(IDS, Y)
    change = keras.ops.convert_to_numpy(bias)[0] - before
    assert change == pytest.approx(-np.mean((p - Y) + (q - p)), rel=2e-3, abs=1e-4)


@pytest.mark.parametrize("size", [1e-35, 1e-20, 1.0, 1e20])
def test_the_change_has_its_length_whatever_that_of_the_gradient(size):
    model, table, _ = logistic_model(adversarial=1.0)
    embedding = model.layers[1]
    g = size * np.random.default_rng(0).normal(size=(3, 5, 3))
    y = keras.ops.reshape(Y, (-1, 1))
    r = model._change(keras.ops.convert_to_tensor(g.astype("float32")), y, embedding)
    d = 0.5 * np.sqrt(np.mean(np.sum(table**2, axis=1)))
    lengths = np.sqrt(np.sum(keras.ops.convert_to_numpy(r) ** 2, axis=(1, 2)))
    np.testing.assert_allclose(lengths, d, rtol=1e-4)


def test_a_sure_prediction_still_has_a_direction():
    """Oracle: with a head of bias 40 the probability is 1, but g is the same."""
    losses = []
    for bias in (0.0, 40.0):
        model, *_ = logistic_model(adversarial=1.0)
        head = model.layers[-1]
        head.bias.assign([bias])
        changes = []
        model._change = lambda g, y, layer, seen=changes: seen.append(g) or 0 * g
        model._changed(
            keras.ops.convert_to_tensor(IDS),
            keras.ops.reshape(Y, (-1, 1)),
            keras.ops.ones((3, 1)),
        )
        losses.append(keras.ops.convert_to_numpy(changes[0]))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert np.abs(losses[0]).max() > 0.01
