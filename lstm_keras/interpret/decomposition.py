"""Contextual decomposition of an LSTM in NumPy float64: what a phrase contributes.

Source: Murdoch, Liu & Yu, "Beyond Word Importance: Contextual Decomposition to Extract
Interactions from LSTMs", ICLR 2018, whose equation numbers are given.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def decompose_states(
    x: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None,
    phrases: ArrayLike,
    mask: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Split the last hidden state into the parts of a phrase and of all else.

    Both states are sums of two parts (equations 9 and 10 of the source),

        h_t = beta_t + gamma_t        c_t = beta^c_t + gamma^c_t

    where `beta` is due to the phrase alone, and `gamma` to the rest and to the
    interaction of the two. The input x_t belongs to the phrase if t does. With L(k) the
    contribution of a summand k to sigmoid(sum of the summands), the gates split into

        sigmoid(x_t W + (beta + gamma) U + b) = L(phrase) + L(rest) + L(b)

    (equations 11 to 13), and so do products of two gates (14 to 19) and tanh of c
    (20 to 22). L is what the summand adds, averaged over the orders of the summands
    (equation 25), with the bias always first.

    Args:
        x: Inputs of one sequence, (time, features).
        kernel: W, (features, 4 units), packed as in `LSTMCell`.
        recurrent_kernel: U, (units, 4 units).
        bias: b, (4 units,), or None.
        phrases: Boolean (phrases, time): the steps of each phrase.
        mask: Steps that count, boolean (time,); None for all.

    Returns:
        beta and gamma of the last h, each (phrases, units).
    """
    x, kernel, recurrent_kernel = (
        np.asarray(array, np.float64) for array in (x, kernel, recurrent_kernel)
    )
    phrases = np.asarray(phrases, bool)
    counts = np.ones(len(x), bool) if mask is None else np.asarray(mask, bool)
    b = np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias, np.float64)
    inputs = x @ kernel
    shape = (len(phrases), len(recurrent_kernel))
    beta, gamma, beta_c, gamma_c = (np.zeros(shape) for _ in range(4))
    for t in np.flatnonzero(counts):
        inside = phrases[:, t, None]
        phrase = beta @ recurrent_kernel + np.where(inside, inputs[t], 0.0)
        rest = gamma @ recurrent_kernel + np.where(inside, 0.0, inputs[t])
        beta, gamma, beta_c, gamma_c = _step(phrase, rest, b, inside, beta_c, gamma_c)
    return beta, gamma


def _step(phrase, rest, b, inside, beta_c, gamma_c) -> tuple[Array, ...]:
    """Return beta, gamma, beta^c and gamma^c after a step, given the parts of its z."""
    parts = [
        (p, r, bias)
        for p, r, bias in zip(
            *(np.split(z, 4, axis=-1) for z in (phrase, rest, b)), strict=True
        )
    ]
    i, f, o = (_contributions(_sigmoid, *parts[gate]) for gate in (0, 1, 3))
    g = _contributions(np.tanh, *parts[2])
    (i_p, i_r, i_b), (g_p, g_r, g_b) = i, g
    bias_alone = i_b * g_b
    new_beta_c = i_p * (g_p + g_b) + i_b * g_p + np.where(inside, bias_alone, 0.0)
    new_gamma_c = (
        i_r * (g_p + g_r + g_b) + (i_p + i_b) * g_r + np.where(inside, 0.0, bias_alone)
    )
    f_p, f_r, f_b = f
    new_beta_c = new_beta_c + (f_p + f_b) * beta_c
    new_gamma_c = new_gamma_c + (f_p + f_r + f_b) * gamma_c + f_r * beta_c
    tanh_beta, tanh_gamma, _ = _contributions(np.tanh, new_beta_c, new_gamma_c, 0.0)
    o = sum(o)
    return o * tanh_beta, o * tanh_gamma, new_beta_c, new_gamma_c


def _contributions(function: Callable, phrase, rest, b) -> tuple[Array, ...]:
    """Return L(phrase), L(rest) and L(b), which sum to function(phrase + rest + b)."""
    alone = function(b)
    with_phrase, with_rest = function(phrase + b), function(rest + b)
    both = function(phrase + rest + b)
    return (
        0.5 * (with_phrase - alone + both - with_rest),
        0.5 * (with_rest - alone + both - with_phrase),
        alone,
    )


def _sigmoid(z: ArrayLike) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(z)))
