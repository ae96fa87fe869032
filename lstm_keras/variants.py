"""Cells that differ from `LSTMCell` by a few lines.

Each takes every argument of `LSTMCell`, and its docstring states what differs from the
equations there; `a` and `s` are `activation` and `recurrent_activation`, tanh and
sigmoid unless told otherwise. Run them over sequences by `lstm_keras.RNN`:

    layer = lstm_keras.RNN(lstm_keras.variants.CoupledLSTMCell(64))

The ablations are those of Greff, Srivastava, Koutník, Steunebrink & Schmidhuber, "LSTM:
A Search Space Odyssey", IEEE Transactions on Neural Networks and Learning Systems
28(10), 2017.
"""

from typing import Any

import keras
from keras import ops

from lstm_keras import equations
from lstm_keras.cell import LSTMCell
from lstm_keras.equations import Gates

_registered = keras.saving.register_keras_serializable(package="lstm_keras")


class _Variant(LSTMCell):
    """What variants share: some weights of their own, and some of the parts of `z`."""

    extra_arguments: tuple[str, ...] = ()

    def get_config(self) -> dict:
        """Return every argument of the constructor."""
        own = {name: getattr(self, name) for name in self.extra_arguments}
        return super().get_config() | own

    def add_vector(self, name: str, initializer: str, width: int | None = None) -> Any:
        """Create a weight `(width,)`, by default `(units,)`."""
        return self.add_weight((width or self.units,), initializer, name=name)

    def activated(self, z: Any) -> list:
        """Return the parts of `z`, each through its activation."""
        return [
            (self.activation if name == "g" else self.recurrent_activation)(part)
            for name, part in self.split(z)
        ]

    def split(self, z: Any) -> list:
        """Return name and values of each part of `z`."""
        values = ops.split(z, len(self.parts), axis=-1)
        return list(zip(self.parts, values, strict=True))


@_registered
class PeepholeLSTMCell(_Variant):
    """An LSTM whose gates look at the cell state.

        i = s(z_i + p_i * c_{t-1})   f = s(z_f + p_f * c_{t-1})   g = a(z_g)
        c_t = f * c_{t-1} + i * g
        o = s(z_o + p_o * c_t)       h_t = o * a(c_t)

    `p_i`, `p_f` and `p_o` are the rows of the weight `peepholes` `(3, units)`, which
    starts at zero.

    Source: Gers, Schraudolph & Schmidhuber, "Learning Precise Timing with LSTM
    Recurrent Networks", Journal of Machine Learning Research 3, 2002.
    """

    pure = True

    def build(self, input_shape: tuple) -> None:
        """Create the weights."""
        super().build(input_shape)
        self.peepholes = self.add_weight((3, self.units), "zeros", name="peepholes")

    def step(self, z: Any, states: list) -> tuple[Gates, list]:
        """Return the gates of a step, and the states after it."""
        c = states[1]
        (_, z_i), (_, z_f), (_, z_g), (_, z_o) = self.split(z)
        p_i, p_f, p_o = ops.unstack(ops.convert_to_tensor(self.peepholes), 3)
        i = self.recurrent_activation(z_i + p_i * c)
        f = self.recurrent_activation(z_f + p_f * c)
        g = self.activation(z_g)
        c = f * c + i * g
        o = self.recurrent_activation(z_o + p_o * c)
        return Gates(i, f, g, o), [o * self.activation(c), c]


@_registered
class CoupledLSTMCell(_Variant):
    """An LSTM that writes where it forgets (CIFG).

        i = 1 - f

    The weights pack three parts, `f, g, o`.

    Source: Greff et al. 2017, see the module.
    """

    pure = True
    parts = "fgo"

    def gates(self, z: Any, states: list) -> Gates:
        """Return the gates and the candidate."""
        f, g, o = self.activated(z)
        return Gates(1 - f, f, g, o)


@_registered
class LayerNormLSTMCell(_Variant):
    """An LSTM with layer normalisation.

        z   = n(x_t W) * scale_x + n(h_{t-1} U) * scale_h + b
        h_t = o * a(n(c_t) * scale_c + shift_c)

    where `n(v) = (v - mean(v)) / sqrt(variance(v) + epsilon)` over the last axis: all
    parts of `z` together. The scales start at 1, `shift_c` at 0.

    Source: Ba, Kiros & Hinton, "Layer Normalization", arXiv:1607.06450, 2016.

    Args:
        units: See `LSTMCell` for this and all arguments but `epsilon`.
        *args: Likewise.
        epsilon: Added to the variance.
        **kwargs: See `LSTMCell`.
    """

    pure = True
    extra_arguments = ("epsilon",)

    def __init__(self, units: int, *args: Any, epsilon: float = 1e-3, **kwargs: Any):
        super().__init__(units, *args, **kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tuple) -> None:
        """Create the weights."""
        super().build(input_shape)
        width = len(self.parts) * self.units
        self.scale_x = self.add_vector("scale_x", "ones", width)
        self.scale_h = self.add_vector("scale_h", "ones", width)
        self.scale_c = self.add_vector("scale_c", "ones")
        self.shift_c = self.add_vector("shift_c", "zeros")

    def pre_activations(
        self, inputs: Any, h: Any, x_masks: Any = None, h_masks: Any = None
    ) -> Any:
        """Return `z`, `(batch, 4 * units)`."""
        from_x = self.affine((inputs, self.kernel, x_masks))
        from_h = self.affine((h, self.recurrent_kernel, h_masks))
        z = self.normalized(from_x) * self.scale_x
        z = z + self.normalized(from_h) * self.scale_h
        return z if self.bias is None else z + self.bias

    def step(self, z: Any, states: list) -> tuple[Gates, list]:
        """Return the gates of a step, and the states after it."""
        i, f, g, o = self.activated(z)
        c = f * states[1] + i * g
        shown = self.normalized(c) * self.scale_c + self.shift_c
        return Gates(i, f, g, o), [o * self.activation(shown), c]

    def normalized(self, values: Any) -> Any:
        """Return `n(values)` of the class's docstring."""
        centered = values - ops.mean(values, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centered), axis=-1, keepdims=True)
        return centered * ops.rsqrt(variance + self.epsilon)


@_registered
class ProjectedLSTMCell(_Variant):
    """An LSTM whose hidden state is smaller than its cell state (LSTMP).

        h_t = (o * a(c_t)) P

    `P` is `projection_kernel` `(units, projection)`, `h` is `(batch, projection)`, and
    `U` is `(projection, 4 * units)`. It computes what `torch.nn.LSTM(proj_size=…)`
    does; `lstm_keras.from_torch` and `to_torch` exchange the weights.

    Source: Sak, Senior & Beaufays, "Long Short-Term Memory Recurrent Neural Network
    Architectures for Large Scale Acoustic Modeling", Interspeech 2014; without the
    non-recurrent projection and the peepholes there.

    Args:
        units: Size of the cell state; see `LSTMCell` for this and the others.
        projection: Positive integer, the size of the hidden state.
        *args: See `LSTMCell`.
        **kwargs: See `LSTMCell`.
    """

    pure = True
    extra_arguments = ("projection",)

    def __init__(self, units: int, projection: int, *args: Any, **kwargs: Any):
        super().__init__(units, *args, **kwargs)
        if not isinstance(projection, int) or projection < 1:
            raise ValueError(
                f"expected projection to be a positive integer; received {projection!r}"
            )
        self.projection = projection
        self.state_size = [projection, self.units]
        self.output_size = projection

    def build(self, input_shape: tuple) -> None:
        """Create the weights."""
        super().build(input_shape)
        self.projection_kernel = self.add_weight(
            (self.units, self.projection), "glorot_uniform", name="projection_kernel"
        )

    def step(self, z: Any, states: list) -> tuple[Gates, list]:
        """Return the gates of a step, and the states after it."""
        gates, (h, c) = super().step(z, states)
        return gates, [self.affine((h, self.projection_kernel)), c]


@_registered
class ZoneoutLSTMCell(_Variant):
    """An LSTM that keeps some units as they were, at random, in training.

        h_t = m * h_{t-1} + (1 - m) * h'      c_t = n * c_{t-1} + (1 - n) * c'

    `h'` and `c'` are the states of an LSTM's step. In training the elements of `m` and
    `n` are 1 with the probabilities `zoneout_h` and `zoneout_c`, else 0, anew in every
    step; in inference they are these probabilities.

    A third state `(batch, 2)` counts the steps, so that each draws other masks without
    changing a variable; it begins at zero, as `get_initial_state` returns it.

    Source: Krueger et al., "Zoneout: Regularizing RNNs by Randomly Preserving Hidden
    Activations", ICLR 2017.

    Args:
        units: See `LSTMCell` for this and all arguments but the rates.
        *args: Likewise.
        zoneout_h: Probability with which a unit of `h` keeps its value, in `[0, 1]`.
        zoneout_c: Likewise of `c`.
        **kwargs: See `LSTMCell`.
    """

    pure = True
    extra_arguments = ("zoneout_h", "zoneout_c")

    def __init__(
        self,
        units: int,
        *args: Any,
        zoneout_h: float = 0.05,
        zoneout_c: float = 0.05,
        **kwargs: Any,
    ):
        super().__init__(units, *args, **kwargs)
        for name, rate in (("zoneout_h", zoneout_h), ("zoneout_c", zoneout_c)):
            if not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
                raise ValueError(
                    f"expected {name} to be in [0, 1]; received {name}={rate!r}"
                )
        self.zoneout_h = zoneout_h
        self.zoneout_c = zoneout_c
        self.state_size = [self.units, self.units, 2]

    def call(self, inputs: Any, states: list, training: bool = False) -> tuple:
        """Apply the equations of the class's docstring once."""
        *before, count = states
        self._check_states(states)
        masks = (
            self.dropout_masks(inputs, before[0]) if training else (None, None, None)
        )
        z = self.pre_activations(inputs, before[0], *masks[:2])
        _, new = self.step(z, before)
        rates = (self.zoneout_h, self.zoneout_c)
        if training:
            kept = _drawn(masks[2], count, rates)
            new = [ops.where(*one) for one in zip(kept, before, new, strict=True)]
        else:
            new = [
                rate * old + (1 - rate) * value
                for rate, old, value in zip(rates, before, new, strict=True)
            ]
        return new[0], [*new, _next(count)]

    def dropout_masks(self, inputs: Any, h: Any) -> tuple:
        """Return the masks of `LSTMCell`, and integers that zoneout draws from."""
        masks = super().dropout_masks(inputs, h)
        if len(masks) == 3:  # they are held
            return masks
        with self.seed_generator.replay(self._seed_count()) as seed:
            shape = (*ops.shape(h)[:-1], 2 * self.units)
            noise = keras.random.randint(shape, 0, 2**31 - 1, "int32", seed=seed)
        return *masks, noise

    def _seed_count(self):
        return 1 + super()._seed_count()


# Numbers that half precision holds: the count has two digits.
_DIGIT = 128


def _next(count):
    """Return the count of steps plus one."""
    low, high = ops.split(count, 2, axis=-1)
    full = ops.cast(low >= _DIGIT - 1, count.dtype)
    return ops.concatenate([(low + 1) * (1 - full), high + full], axis=-1)


def _drawn(noise, count, rates):
    """Return where `h` and `c` are kept: True with the probabilities `rates`.

    The noise is hashed with the step (the function "lowbias32" of C. Wellons), which
    gives every step other numbers, and an engine the same as the loop.
    """
    low, high = ops.split(ops.cast(count, "int32"), 2, axis=-1)
    bits = noise + (low + _DIGIT * high) * -1640531527
    for shift, factor in ((16, 0x7FEB352D), (15, -2073319797), (16, 1)):
        bits = ops.bitwise_xor(bits, ops.right_shift(bits, shift)) * factor
    bits = ops.bitwise_and(bits, 2**31 - 1)
    return [
        part < int(rate * 2**31) if rate < 1 else part >= 0
        for part, rate in zip(ops.split(bits, 2, axis=-1), rates, strict=True)
    ]


@_registered
class FullGateRecurrenceLSTMCell(_Variant):
    """An LSTM whose gates look at the gates of the step before (FGR).

        (z_i, z_f, z_o) = (z_i, z_f, z_o) + (i_{t-1}, f_{t-1}, o_{t-1}) R

    `R` is `gate_kernel` `(3 * units, 3 * units)`, made as `U` is. The gates
    `(i, f, o)` are a third state `(batch, 3 * units)`, which begins at zero.

    Source: Greff et al. 2017, see the module; after Hochreiter & Schmidhuber 1997.
    """

    pure = True

    def __init__(self, units: int, *args: Any, **kwargs: Any):
        super().__init__(units, *args, **kwargs)
        self.state_size = [self.units, self.units, 3 * self.units]

    def build(self, input_shape: tuple) -> None:
        """Create the weights."""
        super().build(input_shape)
        self.gate_kernel = self.add_weight(
            (3 * self.units, 3 * self.units),
            name="gate_kernel",
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )

    def step(self, z: Any, states: list) -> tuple[Gates, list]:
        """Return the gates of a step, and the states after it."""
        from_gates = self.affine((states[2], self.gate_kernel))
        r_i, r_f, r_o = ops.split(from_gates, 3, axis=-1)
        z_i, z_f, z_g, z_o = ops.split(z, 4, axis=-1)
        z = ops.concatenate([z_i + r_i, z_f + r_f, z_g, z_o + r_o], axis=-1)
        gates, new = super().step(z, states)
        return gates, [*new, ops.concatenate([gates.i, gates.f, gates.o], axis=-1)]


@_registered
class SLSTMCell(_Variant):
    """An LSTM with exponential gates, a normaliser and memory of several heads (sLSTM).

        m_t = max(log f + m_{t-1}, z_i)
        i' = exp(z_i - m_t)   f' = exp(log f + m_{t-1} - m_t)
        c_t = f' * c_{t-1} + i' * a(z_g)
        n_t = f' * n_{t-1} + i'
        h_t = s(z_o) * c_t / n_t

    where `f` is `sigmoid(z_f)` or `exp(z_f)`. The normaliser `n` makes `c / n` a mean
    of the candidates; the stabiliser `m` only keeps the exponentials finite. Where `n`
    is 0, at the beginning, `log f + m_{t-1}` is taken to be `z_i`, which changes no
    `h`, and makes `n_t` at least 1 from then on.

    A head is a part of the units that reads `h` of itself alone: `h U` is
    block-diagonal, `U` is `(units / heads, 4 * units)`, and in each of the parts of `z`
    the columns of a head multiply its own part of `h`. The initializer makes `U` as a
    whole, so by default a head starts with weights smaller by `sqrt(heads)` than those
    of a cell of its size.

    The states are `[h, c, n, m]`, each `(batch, units)`. The gates that `trace_gates`
    shows are `i'` and `f'`.

    In half precision the exponentials become rough where `m` is large: from 1024 on in
    float16, and from 128 on in bfloat16, neighbouring numbers differ by 1 or more.
    Exponential forget gates can make `m` grow with every step; use float32 there.

    Source: Beck et al., "xLSTM: Extended Long Short-Term Memory", NeurIPS 2024,
    equations 8 to 17, without the blocks around it.

    Args:
        units: See `LSTMCell` for this and all arguments but the last two.
        *args: Likewise. `recurrent_activation` is that of the output gate.
        heads: Number of heads, which divides `units`.
        forget_gate: "sigmoid" or "exponential".
        **kwargs: See `LSTMCell`.
    """

    pure = True
    extra_arguments = ("heads", "forget_gate")

    def __init__(
        self,
        units: int,
        *args: Any,
        heads: int = 1,
        forget_gate: str = "sigmoid",
        **kwargs: Any,
    ):
        super().__init__(units, *args, **kwargs)
        if not isinstance(heads, int) or heads < 1 or self.units % heads:
            raise ValueError(
                f"expected heads to divide units={self.units}; received heads={heads!r}"
            )
        if forget_gate not in ("sigmoid", "exponential"):
            raise ValueError(
                "expected forget_gate to be 'sigmoid' or 'exponential'; received "
                f"{forget_gate!r}"
            )
        self.heads = heads
        self.forget_gate = forget_gate
        self.state_size = [self.units] * 4

    @property
    def recurrent_rows(self) -> int:
        """The number of rows of `U`: the size of a head."""
        return self.units // self.heads

    def pre_activations(
        self, inputs: Any, h: Any, x_masks: Any = None, h_masks: Any = None
    ) -> Any:
        """Return `z`, `(batch, 4 * units)`."""
        if self.heads == 1:
            return super().pre_activations(inputs, h, x_masks, h_masks)
        from_x = self.affine((inputs, self.kernel, x_masks), bias=self.bias)
        rows = self.recurrent_rows
        kernel = ops.reshape(self.recurrent_kernel, (rows, 4, self.heads, rows))
        if h_masks:
            read = ops.stack([h * mask for mask in h_masks], axis=1)
            read = ops.reshape(read, (-1, 4, self.heads, rows))
            from_h = ops.einsum("bphr,rphs->bphs", read, kernel)
        else:
            read = ops.reshape(h, (-1, self.heads, rows))
            from_h = ops.einsum("bhr,rphs->bphs", read, kernel)
        return from_x + ops.reshape(from_h, (-1, 4 * self.units))

    def step(self, z: Any, states: list) -> tuple[Gates, list]:
        """Return the gates of a step, and the states after it."""
        _, c, n, m = states
        z_i, z_f, z_g, z_o = ops.split(z, 4, axis=-1)
        log_f = z_f if self.forget_gate == "exponential" else ops.log_sigmoid(z_f)
        kept = ops.where(n == 0, z_i, log_f + m)
        m = ops.maximum(kept, z_i)
        i, f = ops.exp(z_i - m), ops.exp(kept - m)
        g, o = self.activation(z_g), self.recurrent_activation(z_o)
        c, n = f * c + i * g, f * n + i
        return Gates(i, f, g, o), [o * c / n, c, n, m]


@_registered
class NoInputGateLSTMCell(_Variant):
    """An LSTM that writes every candidate: `i = 1`. Its weights pack `f, g, o`."""

    pure = True
    parts = "fgo"

    def gates(self, z: Any, states: list) -> Gates:
        """Return the gates and the candidate."""
        f, g, o = self.activated(z)
        return Gates(ops.ones_like(f), f, g, o)


@_registered
class NoForgetGateLSTMCell(_Variant):
    """An LSTM that forgets nothing: `f = 1`. Its weights pack `i, g, o`.

    It is that of Hochreiter & Schmidhuber 1997 but for their activations.
    """

    pure = True
    parts = "igo"

    def gates(self, z: Any, states: list) -> Gates:
        """Return the gates and the candidate."""
        i, g, o = self.activated(z)
        return Gates(i, ops.ones_like(i), g, o)


@_registered
class NoOutputGateLSTMCell(_Variant):
    """An LSTM that shows all of its memory: `o = 1`. Its weights pack `i, f, g`."""

    pure = True
    parts = "ifg"

    def gates(self, z: Any, states: list) -> Gates:
        """Return the gates and the candidate."""
        i, f, g = self.activated(z)
        return Gates(i, f, g, ops.ones_like(i))


@_registered
class NoInputActivationLSTMCell(_Variant):
    """An LSTM with a linear candidate: `g = z_g`."""

    pure = True

    def gates(self, z: Any, states: list) -> Gates:
        """Return the gates and the candidate."""
        return equations.gates(z, keras.activations.linear, self.recurrent_activation)


@_registered
class NoOutputActivationLSTMCell(_Variant):
    """An LSTM that shows its memory as it is: `h_t = o * c_t`."""

    pure = True

    def step(self, z: Any, states: list) -> tuple[Gates, list]:
        """Return the gates of a step, and the states after it."""
        gates = self.gates(z, states)
        h, c = equations.states(gates, states[1], keras.activations.linear)
        return gates, [h, c]
