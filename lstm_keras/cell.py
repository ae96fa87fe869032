"""One step of an LSTM: the six equations, in `keras.ops`."""

import contextlib
import inspect
import operator
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from lstm_keras import equations

_SERIALIZED_BY = {
    "activation": keras.activations,
    "initializer": keras.initializers,
    "regularizer": keras.regularizers,
    "constraint": keras.constraints,
}


@keras.saving.register_keras_serializable(package="lstm_keras")
class LSTMCell(keras.layers.Layer):
    """One step of a Long Short-Term Memory layer.

    With `x_t` the input of this step, `h` the hidden state and `c` the cell state
    (the long-term memory, also called carry):

        z = x_t W + h_{t-1} U + b
        i = sigmoid(z_i)   f = sigmoid(z_f)   g = tanh(z_g)   o = sigmoid(z_o)
        c_t = f * c_{t-1} + i * g
        h_t = o * tanh(c_t)

    `i`, `f` and `o` are the input, forget and output gate, `g` is the candidate.
    `W` is `kernel` `(features, 4 * units)`, `U` is `recurrent_kernel`
    `(units, 4 * units)`, `b` is `bias` `(4 * units,)`. The last axis of each packs the
    four parts in the order `i, f, g, o`, which is the order of
    `keras.layers.LSTMCell` (there `i, f, c, o`), so weights carry over both ways.

    Sources: Hochreiter & Schmidhuber, "Long Short-Term Memory", Neural Computation
    9(8), 1997; the forget gate from Gers, Schmidhuber & Cummins, "Learning to Forget",
    Neural Computation 12(10), 2000; the forget bias of 1 from Jozefowicz, Zaremba &
    Sutskever, "An Empirical Exploration of Recurrent Network Architectures", ICML 2015;
    one dropout mask for all steps from Gal & Ghahramani, "A Theoretically Grounded
    Application of Dropout in Recurrent Neural Networks", NeurIPS 2016.

    A drop-in for `keras.layers.LSTMCell`; use it in `keras.layers.RNN` and
    `keras.layers.StackedRNNCells`, or use `lstm_keras.LSTM`.

    A cell with other equations is a subclass that overrides `gates`, `step` or
    `pre_activations`; `lstm_keras.variants` has examples, `lstm_keras.RNN` runs it over
    a sequence, and `lstm_keras.testing.check_cell` holds it against NumPy.

    Attributes:
        parts: The parts of `z`, in the order in which the weights pack them.
        pure: Whether a call computes its results row by row from its arguments, the
            weights and the held dropout masks, and does nothing else, such as changing
            a variable. Then `lstm_keras.RNN` may compile it, and `trace_gates` show its
            gates. A subclass must say so itself, since it may compute something else.

    Args:
        units: Positive integer, the size of `h` and of `c`.
        activation: Activation of the candidate and of the cell state in `h_t`. `None`
            is the identity.
        recurrent_activation: Activation of the three gates. `None` is the identity.
        use_bias: Whether there is a `b`.
        kernel_initializer: Initializer of `W`.
        recurrent_initializer: Initializer of `U`.
        bias_initializer: Initializer of `b`.
        unit_forget_bias: Start the forget gate's part of `b` at 1, whatever
            `bias_initializer` is, so that a new cell remembers.
        kernel_regularizer: Regularizer of `W`.
        recurrent_regularizer: Regularizer of `U`.
        bias_regularizer: Regularizer of `b`.
        kernel_constraint: Constraint on `W`.
        recurrent_constraint: Constraint on `U`.
        bias_constraint: Constraint on `b`.
        dropout: Fraction of the inputs to drop in training, in `[0, 1]`. As in Keras's
            cell, a rate of exactly 1 drops nothing.
        recurrent_dropout: Fraction of `h_{t-1}` to drop in training, in `[0, 1]`. When
            it is not 0, each of the four parts of `z` has its own masks, as in Keras.
        seed: Integer seed of the dropout masks.
        **kwargs: Arguments of `keras.layers.Layer` (`name`, `dtype`, `trainable`), and
            Keras's undocumented `implementation`, which is ignored.

    Call arguments:
        inputs: `x_t`, `(batch, features)`.
        states: `[h_{t-1}, c_{t-1}]`, each `(batch, units)`.
        training: Whether dropout is active.

    Returns of a call:
        `h_t`, and `[h_t, c_t]`, each `(batch, units)`.

    All steps of a sequence share their dropout masks. Every call of `lstm_keras.LSTM`
    draws new ones; any other loop must call `next_dropout_masks()`, which
    `get_initial_state()` does. (So a `keras.layers.RNN` around this cell that is
    stateful or is given an initial state keeps its masks until you call it.)

    Raises:
        ValueError: `units` is not a positive integer, a dropout is outside `[0, 1]`,
            or the inputs are not `(batch, features)` with the `features` that the cell
            was built with.
    """

    parts = "ifgo"
    pure = True

    def __init__(
        self,
        units: int,
        activation: str | Callable | None = "tanh",
        recurrent_activation: str | Callable | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        kwargs.pop("implementation", None)
        super().__init__(**kwargs)
        self.units = _positive_integer("units", units)
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.use_bias = use_bias
        self.unit_forget_bias = unit_forget_bias
        # In Keras's order: an initializer without a seed draws one when it is made, so
        # after `keras.utils.set_random_seed` our weights equal those of Keras's layer.
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = keras.regularizers.get(recurrent_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.dropout = _fraction("dropout", dropout)
        self.recurrent_dropout = _fraction("recurrent_dropout", recurrent_dropout)
        self.seed = seed
        self.seed_generator = ReplayingSeedGenerator(seed)
        self._held_dropout_masks: tuple | None = None
        self._masks_were_drawn = False

        self.state_size = [self.units, self.units]
        self.output_size = self.units

    def build(self, input_shape: tuple) -> None:
        """Create `kernel`, `recurrent_kernel` and `bias`."""
        features, width = input_shape[-1], len(self.parts) * self.units
        self.kernel = self.add_weight(
            shape=(features, width),
            name="kernel",
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.recurrent_rows, width),
            name="recurrent_kernel",
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(width,),
                name="bias",
                initializer=(
                    self._bias_with_unit_forget_gate
                    if self.unit_forget_bias
                    else self.bias_initializer
                ),
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.input_spec = keras.InputSpec(ndim=2, axes={-1: features})

    @property
    def recurrent_rows(self) -> int:
        """The number of rows of `U`: the size of `h`."""
        return self.state_size[0]

    def call(self, inputs: Any, states: list, training: bool = False) -> tuple:
        """Apply the equations of the class's docstring once."""
        self._check_states(states)
        h = states[0]
        masks = self.dropout_masks(inputs, h) if training else (None, None)
        z = self.pre_activations(inputs, h, *masks[:2])
        _, states = self.step(z, states)
        return states[0], states

    def pre_activations(
        self, inputs: Any, h: Any, x_masks: Any = None, h_masks: Any = None
    ) -> Any:
        """Return `z = x_t W + h_{t-1} U + b`, `(batch, parts * units)`.

        Args:
            inputs: `x_t`, `(batch, features)`.
            h: `h_{t-1}`, `(batch, units)`.
            x_masks: The dropout masks of the inputs, a list, or None.
            h_masks: Those of `h`.
        """
        return self.affine(
            (inputs, self.kernel, x_masks),
            (h, self.recurrent_kernel, h_masks),
            bias=self.bias,
        )

    def gates(self, z: Any, states: list) -> equations.Gates:
        """Return the gates and the candidate, each `(batch, units)`.

        Args:
            z: The pre-activations.
            states: The states before the step.
        """
        return equations.gates(z, self.activation, self.recurrent_activation)

    def step(self, z: Any, states: list) -> tuple[equations.Gates, list]:
        """Return the gates of a step, and the states `[h_t, c_t]` after it.

        Args:
            z: The pre-activations.
            states: The states before the step.
        """
        gates = self.gates(z, states)
        h, c = equations.states(gates, states[1], self.activation)
        return gates, [h, c]

    def affine(self, *products: tuple, bias: Any = None) -> Any:
        """Return a sum of products with weights, and of a bias.

        An engine computes it in its own way. Products that a step computes without it
        are as right, but slower there.

        Args:
            *products: Inputs `(batch, size)`, a kernel `(size, width)`, and the dropout
                masks of the inputs, a list of one mask or one for each part, or None.
            bias: `(width,)`, or None.
        """
        return equations.AFFINE.get()(products, bias)

    def get_initial_state(self, batch_size: Any = None) -> list:
        """Return zeros `[h, c]`, each `(batch_size, units)`, for a new sequence."""
        self.next_dropout_masks()
        return [
            ops.zeros((batch_size, size), dtype=self.compute_dtype)
            for size in self.state_size
        ]

    def next_dropout_masks(self) -> None:
        """Draw new dropout masks, for a new sequence."""
        self._masks_were_drawn = True
        for _ in range(self._seed_count()):
            self.seed_generator.next()

    @contextlib.contextmanager
    def held_dropout_masks(self, inputs: Any, h: Any) -> Iterator[None]:
        """Compute the masks once for all steps inside the `with` block.

        Without it every step computes the same masks again.

        Args:
            inputs: Any step's `x_t`, `(batch, features)`; only its shape counts.
            h: Any step's `h`, `(batch, units)`; only its shape counts.
        """
        with self.holding(self.dropout_masks(inputs, h)):
            yield

    @contextlib.contextmanager
    def holding(self, masks: tuple) -> Iterator[None]:
        """Take these masks, of `dropout_masks`, inside the `with` block."""
        self._held_dropout_masks = masks
        try:
            yield
        finally:
            self._held_dropout_masks = None

    def get_config(self) -> dict:
        """Return every argument of the constructor."""
        config = super().get_config()
        for name in ARGUMENTS:
            value = getattr(self, name)
            module = _SERIALIZED_BY.get(name.rpartition("_")[2])
            config[name] = module.serialize(value) if module else value
        return config

    def _check_states(self, states):
        shapes = [tuple(state.shape) for state in states]
        if [shape[1:] for shape in shapes] != [(size,) for size in self.state_size]:
            expected = ", ".join(f"(batch, {size})" for size in self.state_size)
            raise ValueError(
                f"expected states of shapes {expected}; received shapes {shapes}"
            )

    def _bias_with_unit_forget_gate(self, _, **kwargs):
        before, forget, after = self.parts.partition("f")
        ones = keras.initializers.Ones()
        initializers = [self.bias_initializer, ones, self.bias_initializer]
        return ops.concatenate(
            [
                initializer((len(parts) * self.units,), **kwargs)
                for initializer, parts in zip(
                    initializers, (before, forget, after), strict=True
                )
                if parts
            ]
        )

    def _mask_counts(self):
        """Return the number of masks for the inputs of a sequence, and for `h`."""
        # Keras also draws four for the inputs if `h` needs four.
        four = len(self.parts)
        x_count = 0 if self.dropout in (0, 1) else four if self.recurrent_dropout else 1
        h_count = 0 if self.recurrent_dropout in (0, 1) else four
        return x_count, h_count

    def _seed_count(self):
        """Return the number of seeds that a sequence draws."""
        return sum(self._mask_counts())

    def dropout_masks(self, inputs: Any, h: Any) -> tuple[list | None, list | None]:
        """Return this sequence's masks for inputs and `h`: a list or `None` for each.

        The seeds that `next_dropout_masks` drew last are replayed, because this may run
        inside a compiled loop over time, which must not change a variable and needs the
        same masks at every step.
        """
        if self._held_dropout_masks is not None:
            return self._held_dropout_masks
        x_count, h_count = self._mask_counts()
        if self._seed_count() and not self._masks_were_drawn:
            warnings.warn(
                f"{type(self).__name__} uses the same dropout masks in every batch, "
                "since nothing requested an initial state: use lstm_keras.LSTM or RNN, "
                "or call cell.next_dropout_masks() before each sequence",
                stacklevel=2,
            )
        x_ones, h_ones = ops.ones_like(inputs), ops.ones_like(h)
        with self.seed_generator.replay(x_count + h_count) as seed:
            x_masks = [
                keras.random.dropout(x_ones, self.dropout, seed=seed)
                for _ in range(x_count)
            ]
            h_masks = [
                keras.random.dropout(h_ones, self.recurrent_dropout, seed=seed)
                for _ in range(h_count)
            ]
        return x_masks or None, h_masks or None


class ReplayingSeedGenerator(keras.random.SeedGenerator):
    """A seed generator that can replay the seeds it drew last."""

    def __init__(self, seed: int | None):
        # Always seeded: on torch, Keras ignores a generator without a seed. Drawn as
        # Keras does, so that both draw the same.
        super().__init__(random.randint(1, 10**9) if seed is None else seed)
        self._to_replay = 0

    def next(self, ordered: bool = True) -> Any:
        """Return a new seed, or an old one inside `replay`."""
        if not self._to_replay:
            return super().next(ordered)
        state = ops.convert_to_tensor(self.state)
        seed = state - ops.convert_to_tensor([0, self._to_replay], dtype=state.dtype)
        self._to_replay -= 1
        return seed

    @contextlib.contextmanager
    def replay(self, count: int) -> Iterator["ReplayingSeedGenerator"]:
        """Inside the `with` block, let `next()` return the last `count` seeds again."""
        self._to_replay = count
        try:
            yield self
        finally:
            self._to_replay = 0


# The constructor's arguments but for those of `keras.layers.Layer`.
ARGUMENTS = tuple(inspect.signature(LSTMCell).parameters)[:-1]


def _positive_integer(name, value):
    try:
        integer = operator.index(value)
    except TypeError:
        integer = 0
    if integer < 1 or isinstance(value, bool):
        raise ValueError(
            f"expected {name} to be a positive integer; received {value!r}"
        )
    return integer


def _fraction(name, value):
    try:
        in_range = 0 <= value <= 1
    except TypeError:
        in_range = False
    if not in_range:
        raise ValueError(f"expected {name} to be in [0, 1]; received {name}={value!r}")
    return value
