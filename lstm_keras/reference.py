"""The LSTM in NumPy, forward and backward: the tests' oracle, and a text to learn from.

One step takes the input x_t and the two states of the step before, the hidden state
h_{t-1} and the cell state c_{t-1} (the long-term memory), and returns the new states:

    z   = x_t W + h_{t-1} U + b       W: (features, 4 units)  U: (units, 4 units)
                                      b: (4 units,)
    i   = sigmoid(z_i)                input gate: how much of g is written
    f   = sigmoid(z_f)                forget gate: how much of c_{t-1} is kept
    g   = tanh(z_g)                   candidate: what could be written
    o   = sigmoid(z_o)                output gate: how much of c_t is shown
    c_t = f * c_{t-1} + i * g
    h_t = o * tanh(c_t)

W is `kernel`, U is `recurrent_kernel` and b is `bias`; `*` is elementwise. The four
blocks of z lie side by side along the last axis in the order of Keras, i, f, g, o
(Keras calls the third block c), so the weights of a Keras layer fit as they are.

`lstm_step` is these equations, `lstm_forward` applies them to a sequence, and
`lstm_backward` is back-propagation through time, derived by hand. `lstm_layer` puts
these together to a call of a Keras layer. All is float64.

Sources:
    Hochreiter, Schmidhuber (1997). Long Short-Term Memory. Neural Computation 9(8).
        The cell state with its input and output gates.

    Gers, Schmidhuber, Cummins (2000). Learning to Forget: Continual Prediction with
        LSTM. Neural Computation 12(10). The forget gate.

    Greff, Srivastava, Koutník, Steunebrink, Schmidhuber (2017). LSTM: A Search Space
        Odyssey. IEEE Transactions on Neural Networks and Learning Systems 28(10).
        The backward equations; here without their peephole connections.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Step(NamedTuple):
    """The gates and the new states of one step, each (batch, units).

    Attributes:
        i: Input gate.
        f: Forget gate.
        g: Candidate.
        o: Output gate.
        c: Cell state after the step.
        h: Hidden state after the step.
    """

    i: Array
    f: Array
    g: Array
    o: Array
    c: Array
    h: Array


class Forward(NamedTuple):
    """The inputs and results of `lstm_forward`: all that `lstm_backward` needs.

    Attributes:
        x: Inputs, (batch, time, features).
        kernel: W, (features, 4 units).
        recurrent_kernel: U, (units, 4 units).
        bias: b, (4 units,), or None.
        h0: Hidden state before the first step, (batch, units).
        c0: Cell state before the first step, (batch, units).
        mask: Steps that count, (batch, time), bool; all True where none was given.
        i: Input gate, (batch, time, units). At a masked step this and the other gates
            hold what the cell computed from the padding; it was discarded.
        f: Forget gate, likewise.
        g: Candidate, likewise.
        o: Output gate, likewise.
        c: Cell state after each step, (batch, time, units); a masked step repeats it.
        h: Hidden state after each step, (batch, time, units); a masked step repeats it.
    """

    x: Array
    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    h0: Array
    c0: Array
    mask: NDArray[np.bool_]
    i: Array
    f: Array
    g: Array
    o: Array
    c: Array
    h: Array

    @property
    def h_last(self) -> Array:
        """Hidden state after the last step, (batch, units)."""
        return self.h[:, -1]

    @property
    def c_last(self) -> Array:
        """Cell state after the last step, (batch, units)."""
        return self.c[:, -1]

    def output_mask(self, zero_output_for_mask: bool = False) -> NDArray[np.bool_]:
        """Return where the output of a Keras layer is h, (batch, time, 1), bool.

        Elsewhere the output is zero. At a masked step Keras repeats the output before
        it. That is h, which was carried over, once a step has counted; before the first
        such step it is zero, whatever h0 is. With `zero_output_for_mask` the output is
        zero at every masked step.

        The loop of Keras on JAX repeats the state instead: its outputs are h itself.
        """
        shown = (
            self.mask
            if zero_output_for_mask
            else np.logical_or.accumulate(self.mask, axis=1)
        )
        return shown[:, :, np.newaxis]

    def outputs(self, zero_output_for_mask: bool = False) -> Array:
        """Return h * output_mask, (batch, time, units).

        This is `keras.layers.LSTM(return_sequences=True)`; its last step is the layer's
        output without `return_sequences`.
        """
        return self.h * self.output_mask(zero_output_for_mask)


class Gradients(NamedTuple):
    """Gradients of a loss, each in the shape of the array it is named after.

    Attributes:
        x: By the inputs.
        h0: By the hidden state before the first step.
        c0: By the cell state before the first step.
        kernel: By W.
        recurrent_kernel: By U.
        bias: By b; None without one.
    """

    x: Array
    h0: Array
    c0: Array
    kernel: Array
    recurrent_kernel: Array
    bias: Array | None


def sigmoid(z: ArrayLike) -> Array:
    """Return 1 / (1 + exp(-z)) elementwise, without overflow for any z."""
    z = np.asarray(z, dtype=np.float64)
    decay = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, decay) / (1.0 + decay)


def lstm_step(
    x: ArrayLike,
    h: ArrayLike,
    c: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
) -> Step:
    """Compute one step from the states before it; see the module for the equations.

    Args:
        x: Input x_t, (batch, features).
        h: Hidden state h_{t-1}, (batch, units).
        c: Cell state c_{t-1}, (batch, units).
        kernel: W, (features, 4 units).
        recurrent_kernel: U, (units, 4 units).
        bias: b, (4 units,), or None for no bias.

    Returns:
        The gates and the new states.

    Raises:
        ValueError: An argument has another shape; nothing is broadcast.
    """
    x = _array("x", x, ("batch", "features"))
    batch, features = x.shape
    kernel, recurrent_kernel, bias = _weights(features, kernel, recurrent_kernel, bias)
    units = len(recurrent_kernel)
    h = _array("h", h, (batch, units))
    c = _array("c", c, (batch, units))

    z = x @ kernel + h @ recurrent_kernel
    if bias is not None:
        z = z + bias
    z_i, z_f, z_g, z_o = np.split(z, 4, axis=-1)
    i = sigmoid(z_i)
    f = sigmoid(z_f)
    g = np.tanh(z_g)
    o = sigmoid(z_o)
    c = f * c + i * g
    h = o * np.tanh(c)
    return Step(i, f, g, o, c, h)


def lstm_forward(
    x: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    h0: ArrayLike | None = None,
    c0: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> Forward:
    """Compute a whole sequence, step after step; a masked step leaves h and c alone.

    Args:
        x: Inputs, (batch, time, features), at least one step.
        kernel: W, (features, 4 units).
        recurrent_kernel: U, (units, 4 units).
        bias: b, (4 units,), or None for no bias.
        h0: Hidden state before the first step, (batch, units); None for zeros.
        c0: Cell state before the first step, (batch, units); None for zeros.
        mask: Steps that count, (batch, time), bool; None for all.

    Returns:
        States and gates at every step, with the inputs they were computed from.

    Raises:
        ValueError: An argument has another shape, or the mask is not boolean.
    """
    x = _array("x", x, ("batch", "time", "features"))
    batch, time, features = x.shape
    if time == 0:
        raise ValueError(f"expected x of at least one step; received shape {x.shape}")
    kernel, recurrent_kernel, bias = _weights(features, kernel, recurrent_kernel, bias)
    units = len(recurrent_kernel)
    h0 = _array_or_zeros("h0", h0, (batch, units))
    c0 = _array_or_zeros("c0", c0, (batch, units))
    mask = _mask(mask, (batch, time))

    h, c = h0, c0
    steps = []
    for t in range(time):
        step = lstm_step(x[:, t], h, c, kernel, recurrent_kernel, bias)
        counts = mask[:, t, np.newaxis]
        h = np.where(counts, step.h, h)
        c = np.where(counts, step.c, c)
        steps.append(step._replace(h=h, c=c))
    sequences = Step(*(np.stack(values, axis=1) for values in zip(*steps, strict=True)))
    return Forward(
        x, kernel, recurrent_kernel, bias, h0, c0, mask, **sequences._asdict()
    )


def lstm_backward(
    forward: Forward,
    dh: ArrayLike | None = None,
    dh_last: ArrayLike | None = None,
    dc_last: ArrayLike | None = None,
    dc: ArrayLike | None = None,
) -> Gradients:
    """Back-propagate through time from the states to the inputs, states and weights.

    Write d(v) for the gradient of the loss with respect to v. Going back from the last
    step, d(h_t) and d(c_t) hold the gradients from the steps after t; the loss adds its
    own parts to d(h_t) and d(c_t), and then

        d(o)       = d(h_t) * tanh(c_t)
        d(c_t)    += d(h_t) * o * (1 - tanh(c_t)^2)
        d(i)       = d(c_t) * g
        d(f)       = d(c_t) * c_{t-1}
        d(g)       = d(c_t) * i
        d(z)       = [d(i) i (1 - i), d(f) f (1 - f), d(g) (1 - g^2), d(o) o (1 - o)]
        d(h_{t-1}) = d(z) U^T
        d(c_{t-1}) = d(c_t) * f

    At a masked step h_t = h_{t-1} and c_t = c_{t-1}, so d(h_t) and d(c_t) pass through
    unchanged, and d(z) = 0. With d(z) known for every step t,

        d(x_t) = d(z_t) W^T        d(W) = sum_t x_t^T d(z_t)
        d(b)   = sum_t d(z_t)      d(U) = sum_t h_{t-1}^T d(z_t)

    where the sums are over the batch as well.

    A loss may depend on the sequence of h, on the last states, or on all of them, as
    sum(w * h) + sum(v * h_last) + sum(u * c_last) does:

        lstm_backward(forward, dh=w, dh_last=v, dc_last=u)

    A loss on the outputs of a Keras layer, sum(w * forward.outputs(zero)), has
    dh = w * forward.output_mask(zero).

    Args:
        forward: The result of `lstm_forward`.
        dh: Gradient of the loss with respect to `forward.h`, (batch, time, units); None
            for zeros.
        dh_last: Likewise for `forward.h_last`, (batch, units); added to that in `dh`.
        dc_last: Likewise for `forward.c_last`, (batch, units).
        dc: Likewise for `forward.c`, (batch, time, units).

    Returns:
        The gradients; that of the bias is None where there was none.

    Raises:
        ValueError: A gradient has another shape than its state.
    """
    dh = _array_or_zeros("dh", dh, forward.h.shape)
    dc = _array_or_zeros("dc", dc, forward.c.shape)
    dh_t = _array_or_zeros("dh_last", dh_last, forward.h0.shape)
    dc_t = _array_or_zeros("dc_last", dc_last, forward.c0.shape)
    h_before = np.concatenate([forward.h0[:, np.newaxis], forward.h[:, :-1]], axis=1)
    c_before = np.concatenate([forward.c0[:, np.newaxis], forward.c[:, :-1]], axis=1)

    dz = np.zeros((*forward.mask.shape, forward.kernel.shape[1]))
    for t in reversed(range(dz.shape[1])):
        dh_t = dh_t + dh[:, t]
        dc_t = dc_t + dc[:, t]
        dz_t, dc_before = _step_backward(forward, t, c_before[:, t], dh_t, dc_t)
        counts = forward.mask[:, t, np.newaxis]
        dz[:, t] = np.where(counts, dz_t, 0.0)
        dh_t = np.where(counts, dz_t @ forward.recurrent_kernel.T, dh_t)
        dc_t = np.where(counts, dc_before, dc_t)

    return Gradients(
        x=dz @ forward.kernel.T,
        h0=dh_t,
        c0=dc_t,
        kernel=np.einsum("btf,btz->fz", forward.x, dz),
        recurrent_kernel=np.einsum("btu,btz->uz", h_before, dz),
        bias=None if forward.bias is None else dz.sum(axis=(0, 1)),
    )


class LayerCall(NamedTuple):
    """A call of a Keras layer with `return_state=True`.

    Attributes:
        forward: The sequence, in the order in which the layer reads it.
        shown: Where the layer's output is h, (batch, time, 1), bool; elsewhere it is
            zero.
        order: Selects the steps of the input in the order in which the layer reads.
        returned: Selects the steps whose outputs it returns: all or the last.
        return_cell_states: Whether it returns c as well as h.
    """

    forward: Forward
    shown: NDArray[np.bool_]
    order: slice
    returned: slice | int
    return_cell_states: bool

    @property
    def outputs(self) -> list[Array]:
        """What the layer returns: the output, the cell states if asked for, h, c.

        The first two are (batch, time, units) in the order in which the layer reads, or
        (batch, units) without `return_sequences`; the last states are (batch, units).
        """
        states = [self.forward.h, self.forward.c][: 1 + self.return_cell_states]
        return [
            *((one * self.shown)[:, self.returned] for one in states),
            self.forward.h_last,
            self.forward.c_last,
        ]

    def gradients(self, loss_weights: Sequence[ArrayLike]) -> Gradients:
        """Return the gradients of sum(w * output), summed over `outputs`.

        Args:
            loss_weights: A w for each of `outputs`, in its shape.
        """
        *of_outputs, dh_last, dc_last = loss_weights
        dh, *dc = map(self._at_every_step, of_outputs)
        found = lstm_backward(self.forward, dh, dh_last, dc_last, *dc)
        return found._replace(x=found.x[:, self.order])

    def _at_every_step(self, loss_weights: ArrayLike) -> Array:
        every = np.zeros(self.forward.h.shape)
        every[:, self.returned] = loss_weights
        return every * self.shown


def lstm_layer(
    x: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    h0: ArrayLike | None = None,
    c0: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    go_backwards: bool = False,
    return_sequences: bool = False,
    return_cell_states: bool = False,
    zero_output_for_mask: bool = False,
    shows_initial_state: bool = False,
) -> LayerCall:
    """Compute what a Keras layer computes.

    Args:
        x: See `lstm_forward`; in the order of time, as the layer takes it.
        kernel: See `lstm_forward`.
        recurrent_kernel: See `lstm_forward`.
        bias: See `lstm_forward`.
        h0: See `lstm_forward`.
        c0: See `lstm_forward`.
        mask: See `lstm_forward`; in the order of time.
        go_backwards: As in Keras: read from the last step to the first.
        return_sequences: As in Keras.
        return_cell_states: As in `lstm_keras.LSTM`.
        zero_output_for_mask: As in Keras.
        shows_initial_state: Whether the output before the first step that counts is h0,
            as in the loop of Keras on JAX, instead of zero.

    Raises:
        ValueError: See `lstm_forward`.
    """
    order = slice(None, None, -1 if go_backwards else 1)
    forward = lstm_forward(
        np.asarray(x)[:, order],
        kernel,
        recurrent_kernel,
        bias,
        h0,
        c0,
        None if mask is None else np.asarray(mask)[:, order],
    )
    shown = forward.output_mask(zero_output_for_mask)
    if shows_initial_state:
        shown = np.ones_like(shown)
    returned = slice(None) if return_sequences else -1
    return LayerCall(forward, shown, order, returned, return_cell_states)


def _step_backward(
    forward: Forward, t: int, c_before: Array, dh: Array, dc: Array
) -> tuple[Array, Array]:
    """Return d(z) and d(c_{t-1}) of step t from d(h_t) and d(c_t)."""
    i, f, g, o = (gate[:, t] for gate in (forward.i, forward.f, forward.g, forward.o))
    tanh_c = np.tanh(forward.c[:, t])
    do = dh * tanh_c
    dc = dc + dh * o * (1 - tanh_c**2)
    di = dc * g
    df = dc * c_before
    dg = dc * i
    dz = [di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)]
    return np.concatenate(dz, axis=-1), dc * f


def _array(name: str, value: ArrayLike, shape: tuple[int | str, ...]) -> Array:
    """Return the value as float64; a dimension given by name may have any size."""
    array = np.asarray(value, dtype=np.float64)
    fits = array.ndim == len(shape) and all(
        isinstance(expected, str) or size == expected
        for size, expected in zip(array.shape, shape, strict=True)
    )
    if not fits:
        expected = ", ".join(map(str, shape))
        raise ValueError(
            f"expected {name} of shape ({expected}); received shape {array.shape}"
        )
    return array


def _array_or_zeros(
    name: str, value: ArrayLike | None, shape: tuple[int, ...]
) -> Array:
    return np.zeros(shape) if value is None else _array(name, value, shape)


def _weights(
    features: int,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None,
) -> tuple[Array, Array, Array | None]:
    """Return the weights as float64, with consistent shapes; U defines the units."""
    units = len(_array("recurrent_kernel", recurrent_kernel, ("units", "4 units")))
    return (
        _array("kernel", kernel, (features, 4 * units)),
        _array("recurrent_kernel", recurrent_kernel, (units, 4 * units)),
        None if bias is None else _array("bias", bias, (4 * units,)),
    )


def _mask(mask: ArrayLike | None, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask, or an all-True one."""
    if mask is None:
        return np.ones(shape, dtype=bool)
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != shape:
        raise ValueError(
            f"expected mask of bool and shape {shape}; "
            f"received {mask.dtype} and shape {mask.shape}"
        )
    return mask
