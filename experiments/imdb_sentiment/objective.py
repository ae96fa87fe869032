"""Adversarial, virtual adversarial and entropy losses beside the log loss."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from experiments.imdb_sentiment.settings import Settings
from lstm_keras.interpret.hooks import replaced


class MixedObjective(keras.Model):
    """A sentiment model trained by several losses on the vectors `x` of a text's words.

    With the log odds s(x) of "positive", its probability p(x) and a text's label y:

        L     = L_ml + a L_at + v L_vat + e L_em
        L_ml  = log loss of p(x) and y
        L_at  = log loss of p(x + r) and y
        L_vat = KL(p(x) || p(x + r)), without gradient through p(x)
        L_em  = entropy of p(x)
        r     = d (1 - 2 y) g / |g|, with g = ds/dx over all words of the text

    L_ml and L_at are means over the texts with a label, which have the weight 1; L_vat
    and L_em over all texts. A text without a label, of weight 0, takes as y in r the
    more probable one. Of two classes the curvature of KL at r = 0 has rank one,
    p (1 - p) g g^T: g is the direction that virtual adversarial training finds by power
    iteration elsewhere. The length d is `perturbation` times the root mean square
    length of a word vector, which grows with the vectors. g, and p(x) in L_vat, are
    computed without dropout. A model that reads in both directions has vectors and an r
    for each.

    L_at and L_vat: Miyato, Dai & Goodfellow, "Adversarial Training Methods for
    Semi-Supervised Text Classification", ICLR 2017, section 3. L: Sachan, Zaheer &
    Salakhutdinov, "Revisiting LSTM Networks for Semi-Supervised Text Classification via
    Mixed Objective Function", AAAI 2019.

    Args:
        model: Ids `(batch, time)` to probability `(batch, 1)`; its layers are shared.
        settings: The weights of the losses, and `perturbation`.
    """

    def __init__(self, model: keras.Model, settings: Settings):
        super().__init__(model.input, model.output)
        self._settings = settings
        self._embeddings = [
            layer for layer in self.layers if isinstance(layer, keras.layers.Embedding)
        ]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Return L in training, L_ml in validation."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        chosen = self._settings
        if chosen.entropy:
            loss += chosen.entropy * ops.mean(cross_entropy(y_pred, y_pred))
        if not chosen.adversarial and not chosen.virtual_adversarial:
            return loss
        y = ops.cast(ops.reshape(y, (-1, 1)), "float32")
        labelled = ops.ones_like(y)
        if sample_weight is not None:
            labelled = ops.cast(ops.reshape(sample_weight, (-1, 1)), "float32")
        clean, changed = self._changed(x, y, labelled)
        if chosen.adversarial:
            losses = labelled * cross_entropy(y, changed)
            loss += chosen.adversarial * ops.sum(losses) / ops.sum(labelled)
        if chosen.virtual_adversarial:
            divergence = cross_entropy(clean, changed) - cross_entropy(clean, clean)
            loss += chosen.virtual_adversarial * ops.mean(divergence)
        return loss

    def _changed(self, ids: Any, y: Any, labelled: Any) -> tuple[Any, Any]:
        """Return p(x) without gradient, and p(x + r), both `(batch, 1)`."""
        vectors = [layer(ids) for layer in self._embeddings]

        def log_odds(*vectors, training=False):
            linear = keras.activations.linear
            with contextlib.ExitStack() as stack:
                stack.enter_context(replaced(self.layers[-1], activation=linear))
                for layer, own in zip(self._embeddings, vectors, strict=True):
                    stack.enter_context(replaced(layer, call=lambda _, own=own: own))
                return self(ids, training=training)

        fixed = [ops.stop_gradient(one) for one in vectors]
        clean, slopes = value_and_slopes(log_odds, fixed)
        clean = ops.stop_gradient(ops.sigmoid(clean))
        y = ops.where(labelled > 0, y, ops.round(clean))
        changed = [
            x + ops.stop_gradient(self._change(g, y, layer))
            for x, g, layer in zip(vectors, slopes, self._embeddings, strict=True)
        ]
        return clean, ops.sigmoid(log_odds(*changed, training=True))

    def _change(self, g: Any, y: Any, layer: keras.layers.Embedding) -> Any:
        """Return r, `(batch, time, size)`, for the vectors of a layer."""
        g = ops.cast(g, "float32")
        # First by the largest, whose square might not be a float32.
        largest = ops.max(ops.abs(g), axis=(1, 2), keepdims=True)
        g = g / ops.maximum(largest, 1e-30)
        lengths = ops.sqrt(ops.sum(ops.square(g), axis=(1, 2), keepdims=True))
        squares = ops.sum(ops.square(layer.embeddings), axis=1)
        d = self._settings.perturbation * ops.sqrt(ops.mean(squares))
        sign = ops.expand_dims(1 - 2 * y, axis=2)
        r = d * sign * g / ops.maximum(lengths, 1e-6)
        return ops.cast(r, layer.compute_dtype)


def cross_entropy(p: Any, q: Any) -> Any:
    """Return `-p log q - (1 - p) log(1 - q)`; of p and p it is the entropy."""
    q = ops.clip(q, 1e-7, 1 - 1e-7)
    return -p * ops.log(q) - (1 - p) * ops.log(1 - q)


def value_and_slopes(
    function: Callable, tensors: Sequence[Any]
) -> tuple[Any, Sequence[Any]]:
    """Return a function's value and the gradients of its sum, as tensors.

    Unlike `lstm_keras.interpret`'s gradients it runs inside a training step.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return value, tape.gradient(value, tensors)
    if backend == "jax":
        import jax

        def total(*tensors):
            value = function(*tensors)
            return ops.sum(value), value

        positions = range(len(tensors))
        gradients, value = jax.grad(total, positions, has_aux=True)(*tensors)
        return value, gradients
    import torch

    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    with torch.enable_grad():
        value = function(*tensors)
    return value, torch.autograd.grad(value.sum(), tensors)
