"""The LSTM over a whole sequence: the cell in a loop over time, or an engine."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from lstm_keras import call_shapes, engines
from lstm_keras.cell import ARGUMENTS as CELL_ARGUMENTS
from lstm_keras.cell import LSTMCell

# Arguments that Keras's layer does not have, with their defaults.
NOT_IN_KERAS = {
    "engine": "auto",
    "return_cell_states": False,
    "learn_initial_state": False,
}


class JoinedStates:
    """A cell whose output and single state are the states of another, concatenated.

    Args:
        cell: The other, for instance an `LSTMCell`.
        training: Whether to call it in training.
    """

    def __init__(self, cell: keras.Layer, training: bool):
        self.cell = cell
        self.training = training
        self.state_size = sum(cell.state_size)

    def split(self, joined: Any) -> list:
        """Return the states of the other cell."""
        return ops.split(joined, np.cumsum(self.cell.state_size)[:-1], axis=-1)

    def call(self, inputs: Any, states: list) -> tuple:
        """Apply the cell once."""
        states = self.split(states[0])
        _, states = self.cell(inputs, states, training=self.training)
        joined = ops.concatenate(states, axis=-1)
        return joined, [joined]

    __call__ = call


@keras.saving.register_keras_serializable(package="lstm_keras")
class RNN(keras.layers.RNN):
    """A layer around any cell: `keras.layers.RNN`, and faster for cells that allow it.

    On TensorFlow the loop over the steps of a pure cell is compiled, forward and
    backward, in parallel shares of the batch. Pure are cells whose class says
    `pure = True` (see `LSTMCell`), those of `lstm_keras.variants` for instance, and
    Keras's GRU and SimpleRNN cells without dropout. `explain_engine()` tells whether a
    layer is compiled, and why not. On JAX Keras's own loop, a `lax.scan`, is compiled
    with the model; on torch the loop runs.

        layer = lstm_keras.RNN(lstm_keras.variants.PeepholeLSTMCell(64))

    Args:
        cell: A cell, or a list of cells, which `keras.layers.StackedRNNCells` stacks.
        return_sequences: Return every output, `(batch, time, size)`, instead of only
            the last, `(batch, size)`.
        return_state: Return the last states, too.
        go_backwards: Process the sequence from its end; outputs come in the order of
            processing.
        stateful: Start each batch with the final states of the previous one, until
            `reset_state()`. Needs a fixed batch size.
        unroll: Unroll the loop over time; needs a fixed number of steps.
        zero_output_for_mask: Output zeros at masked steps instead of the last output
            before them.
        engine: `"loop"`, the cell step by step; `"xla"`, compiled on TensorFlow, which
            raises if the cell does not allow it; or `"auto"`, what is possible.
        **kwargs: Arguments of `keras.layers.Layer` (`name`, `dtype`, `trainable`), and
            `activity_regularizer`.

    Call arguments:
        sequences: `(batch, time, features)`.
        initial_state: A list of the cell's states.
        mask: Boolean `(batch, time)`. A `False` step leaves the states unchanged, and
            its inputs, NaN included, have no influence.
        training: Whether dropout is active.

    Returns of a call:
        The output, or a tuple of the output and the last states.

    Raises:
        ValueError: The engine does not support the cell, or the mask has another shape.
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        engine: str = "auto",
        **kwargs: Any,
    ):
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            zero_output_for_mask=zero_output_for_mask,
            **kwargs,
        )
        engines.check_name(engine)
        self.engine = engine
        self._features: int | None = None
        if engine != "auto":
            self.explain_engine(training=True)  # raises if it is not supported
        self.input_spec = keras.InputSpec(ndim=3)

    def build(self, sequences_shape: tuple, initial_state_shape: Any = None) -> None:
        """Create the cell's weights, and the carried states of a stateful layer."""
        super().build(sequences_shape, initial_state_shape)
        self._features = sequences_shape[-1]
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: sequences_shape[-1]})

    @property
    def variables(self) -> list:
        """All variables: weights, random states, and the states of a stateful layer.

        Keras does not list the latter, and so loses them in `fit`, `evaluate` and
        `predict` on JAX, which update only listed variables.
        """
        return [*super().variables, *keras.tree.flatten(self.states or [])]

    @property
    def supports_jit(self) -> bool:
        """Whether Keras may compile a model with this layer as one XLA program."""
        if keras.backend.backend() != "tensorflow":
            return self._supports_jit
        # Not with engines: see engines/xla.py. cuDNN's operators can't be compiled.
        return self._supports_jit and (
            getattr(self, "use_cudnn", False) is not True
            and self.explain_engine(training=True).engine == engines.LOOP
        )

    @supports_jit.setter
    def supports_jit(self, value: bool) -> None:
        self._supports_jit = value

    def explain_engine(self, training: bool = False) -> engines.Choice:
        """Tell how a call runs over the steps, and why not in another way.

        Args:
            training: Whether the call is in training.

        Returns:
            An `engines.Choice`: the name in `engine`, the reasons in `passed_over`.

        Raises:
            ValueError: The constructor's `engine` does not support the cell.
        """
        return engines.choose_for_cell(
            self.engine, self.cell, self._features, self.unroll, training
        )

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> Any:
        """Apply the cell to every step."""
        mask = call_shapes.as_one_mask(mask)
        call_shapes.check_sequences(sequences)
        if mask is not None:
            call_shapes.check_mask(mask.shape, *sequences.shape[:2])
        sequences, mask = self._checked_when_run(sequences, mask)
        # Otherwise the cell draws them when it is asked for an initial state.
        if initial_state is not None or self.stateful:
            for cell in getattr(self.cell, "cells", [self.cell]):
                if hasattr(cell, "next_dropout_masks"):
                    cell.next_dropout_masks()
        return super().call(
            sequences, initial_state=initial_state, mask=mask, training=training
        )

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple:
        """Run over time, with the same dropout masks at all steps."""
        mask = call_shapes.as_boolean_mask(mask)
        engine = self.explain_engine(training=training).engine
        if engine != engines.LOOP:
            return self._run_engine(engine, sequences, initial_state, mask, training)
        if mask is not None:
            # Otherwise NaN at a masked step would reach the gradients, as 0 * NaN.
            sequences = ops.where(mask[..., None], sequences, 0)
        dropout_masks = (
            self.cell.held_dropout_masks(sequences[:, 0], initial_state[0])
            if training and hasattr(self.cell, "held_dropout_masks")
            else contextlib.nullcontext()
        )
        with dropout_masks:
            return self._run_loop(sequences, initial_state, mask, training)

    def _run_loop(self, sequences, states, mask, training):
        return super().inner_loop(sequences, states, mask, training=training)

    def _run_engine(self, engine, sequences, states, mask, training):
        """Return the last output, every output, and the last states."""
        sequences = ops.cast(sequences, self.compute_dtype)  # may be integers
        masks = None
        if training and hasattr(self.cell, "dropout_masks"):
            masks = self.cell.dropout_masks(sequences[:, 0], states[0])
        sequences, mask = self._in_order(sequences, mask)
        every, states = engines.run_cell(
            self.cell, sequences, mask, states, masks, self.return_sequences, training
        )
        last, every = self._shown(states[0], every, mask)
        return last, every, states

    def _in_order(self, sequences, mask):
        """Return sequences and mask in the order of processing."""
        if not self.go_backwards:
            return sequences, mask
        mask = None if mask is None else ops.flip(mask, axis=1)
        return ops.flip(sequences, axis=1), mask

    def _shown(self, last, every, mask):
        """Return the last output and every output of an engine, as the loop has them.

        Args:
            last: The last output.
            every: Every output, or None.
            mask: The mask, in the order of processing.
        """
        shown = None
        if mask is not None and self.zero_output_for_mask:
            shown = mask
        # On JAX Keras outputs the initial state before the first step.
        elif mask is not None and keras.backend.backend() != "jax":
            shown = ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0
        if shown is not None:
            last = ops.where(shown[:, -1:], last, 0)
            if every is not None:
                every = ops.where(shown[..., None], every, 0)
        return last, last[:, None] if every is None else every

    def _checked_when_run(self, sequences, mask):
        """Return sequences and mask, with runtime checks of sizes unknown before."""
        if self.stateful:
            carried = keras.tree.flatten(self.states)[0].shape[:1]
            sequences = call_shapes.sized_as(
                sequences, carried, call_shapes.STATEFUL_BATCH
            )
        if mask is not None:
            mask = call_shapes.sized_as(
                mask,
                ops.shape(sequences)[:2],
                "expected a mask (batch, time) of the sequences' batch and time",
            )
        return sequences, mask

    def get_config(self) -> dict:
        """Return the constructor's arguments; the engine only if it is not "auto"."""
        config = super().get_config()
        return config if self.engine == "auto" else {**config, "engine": self.engine}


@keras.saving.register_keras_serializable(package="lstm_keras")
class LSTM(RNN):
    """Long Short-Term Memory layer: `LSTMCell` applied to every step of a sequence.

    The equations, their sources and the packing of the weights are in the docstring of
    `LSTMCell`. A drop-in for `keras.layers.LSTM`: the same arguments, defaults, weights
    and results, and three more arguments (`engine`, `return_cell_states` and
    `learn_initial_state`).

    Args:
        units: Positive integer, the size of `h` and of `c`.
        activation: See `LSTMCell` for this and the other arguments up to `seed`.
        recurrent_activation: Activation of the three gates.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of `kernel`.
        recurrent_initializer: Initializer of `recurrent_kernel`.
        bias_initializer: Initializer of `bias`.
        unit_forget_bias: Start the forget gate's bias at 1.
        kernel_regularizer: Regularizer of `kernel`.
        recurrent_regularizer: Regularizer of `recurrent_kernel`.
        bias_regularizer: Regularizer of `bias`.
        activity_regularizer: Regularizer of the outputs.
        kernel_constraint: Constraint on `kernel`.
        recurrent_constraint: Constraint on `recurrent_kernel`.
        bias_constraint: Constraint on `bias`.
        dropout: Fraction of the inputs to drop in training.
        recurrent_dropout: Fraction of the hidden state to drop in training.
        seed: Integer seed of the dropout masks.
        return_sequences: Return every `h`, `(batch, time, units)`, instead of only the
            last, `(batch, units)`.
        return_state: Return the last `h` and `c`, each `(batch, units)`, too.
        go_backwards: Process the sequence from its end; outputs come in the order of
            processing.
        stateful: Start each batch with the final states of the previous one, until
            `reset_state()`, in `fit`, `evaluate` and `predict` as well. Needs a fixed
            batch size.
        unroll: Unroll the loop over time; needs a fixed number of steps.
        use_cudnn: `"auto"`, `True` or `False`, as in Keras: whether cuDNN may be used
            (where there is a GPU), must be, or must not be.
        zero_output_for_mask: Output zeros at masked steps instead of the last output
            before them. Without `return_sequences` this concerns the last step.
        engine: `"loop"`, the cell step by step; the name of a file in
            `lstm_keras/engines`, which computes the same results faster, or raises if
            it does not support the layer; or `"auto"`, the first engine that supports
            it, or else the loop. `explain_engine()` tells which. `engine_scope` sets
            the engine of all layers, and says what exporters get. Forward-mode
            differentiation on JAX and torch (`jvp`, `jacfwd`) needs `"loop"`.
        return_cell_states: Return the cell state `c` beside the output `h`, in the
            output's shape: with `return_sequences` that of every step. At masked steps
            `c` is repeated or zero, as `h` is. (The attribute `return_state` is then
            True, for `keras.layers.Bidirectional`, which reads it.)
        learn_initial_state: Begin with two trainable vectors, `initial_h` and
            `initial_c`, `(1, units)`, broadcast over the batch, instead of zeros;
            they start at zero. A call with an `initial_state` ignores them. Not with
            `stateful`. In `weights` they come before those of the cell, so load the
            weights of a layer without them by `layer.cell.set_weights`.
        **kwargs: Arguments of `keras.layers.Layer` (`name`, `dtype`, `trainable`), and
            Keras's undocumented `implementation`, which is ignored.

    Call arguments:
        sequences: `(batch, time, features)`.
        initial_state: `[h, c]`, each `(batch, units)` or `(1, units)`, which is
            broadcast over the batch.
        mask: Boolean `(batch, time)`. A `False` step leaves the states unchanged, and
            its inputs, NaN included, have no influence.
            `lstm_keras.preprocessing.length_mask` makes a mask from lengths.
        training: Whether dropout is active.

    Returns of a call:
        The output `h`, or a tuple: `h`; with `return_cell_states` `c`; with
        `return_state` the last `h` and the last `c`. `keras.layers.Bidirectional`
        merges the outputs `h` of its two layers and returns the rest unchanged, that of
        the backward layer in its order of processing.

    Raises:
        ValueError: An argument of the constructor is invalid; the sequences are not
            `(batch, time, features)` with the `features` that the layer was built with;
            mask or initial state have another shape; a stateful layer has no fixed
            batch size; the engine does not support the layer.
    """

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
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        zero_output_for_mask: bool = False,
        engine: str = "auto",
        return_cell_states: bool = False,
        learn_initial_state: bool = False,
        **kwargs: Any,
    ):
        kwargs.pop("implementation", None)
        cell = LSTMCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="lstm_cell",
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            zero_output_for_mask=zero_output_for_mask,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        if use_cudnn not in ("auto", True, False):
            raise ValueError(
                "expected use_cudnn to be 'auto', True or False; "
                f"received {use_cudnn!r}"
            )
        engines.check_name(engine)
        if stateful and learn_initial_state:
            raise ValueError(
                "expected stateful=False with learn_initial_state=True, since a "
                "stateful layer continues from the previous batch; received both"
            )
        self.use_cudnn = use_cudnn
        self.engine = engine
        self.return_cell_states = return_cell_states
        self.learn_initial_state = learn_initial_state
        if engine != "auto":
            self.explain_engine(training=True)  # raises if it is not supported
        self.input_spec = keras.InputSpec(ndim=3)

    def build(self, sequences_shape: tuple, initial_state_shape: Any = None) -> None:
        """Create the cell's weights and the learned or carried states."""
        if self.stateful and sequences_shape[0] is None:
            raise ValueError(
                "expected a fixed batch size, for instance keras.Input(..., "
                "batch_size=32), for a stateful layer; "
                f"received inputs of shape {sequences_shape}"
            )
        if self.stateful and self.states is None:
            # Bypasses Keras's tracking, which would make them weights.
            self.__dict__["states"] = [
                keras.Variable(
                    "zeros",
                    shape=(sequences_shape[0], self.units),
                    dtype=self.variable_dtype,
                    trainable=False,
                    name=f"carried_{state}",
                )
                for state in "hc"
            ]
        super().build(sequences_shape, initial_state_shape)
        if self.learn_initial_state:
            shape = (1, self.units)
            self.initial_h = self.add_weight(shape, "zeros", name="initial_h")
            self.initial_c = self.add_weight(shape, "zeros", name="initial_c")

    def __repr__(self) -> str:
        """Return name, size and engine; of "auto" the one that predicts now, too."""
        engine = self.engine
        if engine == "auto":
            with contextlib.suppress(ValueError):  # cuDNN is asked for, and can't run
                engine += f" ({self.explain_engine().engine})"
        return (
            f"<{type(self).__name__} name={self.name}, units={self.units}, "
            f"engine={engine}, built={self.built}>"
        )

    @property
    def return_state(self) -> bool:
        """Whether a call returns more than `h`; wrappers read it."""
        return self._return_last_states or self.return_cell_states

    @return_state.setter
    def return_state(self, value: bool) -> None:
        self._return_last_states = value

    def compute_output_spec(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, **kwargs: Any
    ) -> Any:
        """Return the shapes and dtypes of a call's results."""
        self._check_call(sequences, initial_state, call_shapes.as_one_mask(mask))
        return super().compute_output_spec(
            sequences, initial_state=initial_state, mask=mask, **kwargs
        )

    def compute_output_shape(
        self, sequences_shape: tuple, initial_state_shape: Any = None
    ) -> tuple:
        """Return the shapes of a call's results."""
        shapes = super().compute_output_shape(sequences_shape, initial_state_shape)
        return self._returned(shapes, lambda output: (output, output))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the masks of a call's results."""
        masks = super().compute_mask(inputs, previous_mask)
        return self._returned(masks, lambda output: (output, output))

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> Any:
        """Apply the cell to every step."""
        mask = call_shapes.as_one_mask(mask)
        self._check_call(sequences, initial_state, mask)
        sequences, mask = self._checked_when_run(sequences, mask)
        if initial_state is not None:
            shape = ops.shape(sequences)[0], self.units
            initial_state = [ops.broadcast_to(state, shape) for state in initial_state]
        self.cell.next_dropout_masks()
        result = keras.layers.RNN.call(
            self, sequences, initial_state, mask=mask, training=training
        )
        return self._returned(result, lambda output: ops.split(output, 2, axis=-1))

    def _returned(self, result, h_and_c):
        """Return a call's results, given those of Keras's RNN.

        Args:
            result: The output, and the states if `return_state`.
            h_and_c: Splits an output in which `h` and `c` are concatenated.
        """
        if not self.return_cell_states:
            return result
        output, *last_states = result
        return *h_and_c(output), *(last_states if self._return_last_states else ())

    def _run_loop(self, sequences, states, mask, training):
        """Run over time; with `return_cell_states` the outputs are `h` and `c`."""
        if self.return_cell_states:
            return self._loop_of_h_and_c(sequences, states, mask, training)
        return super()._run_loop(sequences, states, mask, training)

    def _loop_of_h_and_c(self, sequences, states, mask, training):
        """Return the results of `inner_loop` with outputs `h` and `c`."""
        loop = keras.layers.RNN(
            JoinedStates(self.cell, training),
            return_sequences=self.return_sequences,
            go_backwards=self.go_backwards,
            unroll=self.unroll,
            zero_output_for_mask=self.zero_output_for_mask,
            name="loop",  # an automatic name would change those of later layers
        )
        joined = [ops.concatenate(states, axis=-1)]
        last, every, (joined,) = loop.inner_loop(sequences, joined, mask)
        return last, every, ops.split(joined, 2, axis=-1)

    def explain_engine(self, training: bool = False) -> engines.Choice:
        """Tell which engine a call uses, and why not another.

        Args:
            training: Whether the call is in training.

        Returns:
            An `engines.Choice`: the name in `engine`, the reasons in `passed_over`.

        Raises:
            ValueError: The constructor's `engine`, or cuDNN with `use_cudnn=True`, does
                not support the layer.
        """
        return engines.choose(
            self.engine,
            engines.Call(
                plain_cell=type(self.cell) is LSTMCell,
                activation=self.activation,
                recurrent_activation=self.recurrent_activation,
                recurrent_dropout=bool(training and self.recurrent_dropout),
                unroll=self.unroll,
                use_cudnn=self.use_cudnn,
            ),
        )

    def _run_engine(self, engine, sequences, states, mask, training):
        """Return the last output, every output, and the last states."""
        sequences = ops.cast(sequences, self.compute_dtype)  # may be integers
        dropout = None
        if training:
            sequences, dropout = self._apply_dropout(sequences, states[0])
        if self.stateful:
            # The gradient needs them, and torch changes them in place.
            states = [ops.copy(state) for state in states]
        sequences, mask = self._in_order(sequences, mask)
        hidden, cells, states = engines.run(
            engine,
            sequences,
            mask,
            states,
            self._weights(),
            dropout,
            self.return_sequences,
            self.return_sequences and self.return_cell_states,
            training,
        )
        last, every = states[0], hidden
        if self.return_cell_states:
            last = ops.concatenate(states, axis=-1)
            if hidden is not None:
                every = ops.concatenate([hidden, cells], axis=-1)
        last, every = self._shown(last, every, mask)
        return last, every, states

    def _weights(self):
        cell = self.cell
        kernel = ops.convert_to_tensor(cell.kernel)
        return engines.Weights(
            kernel,
            ops.convert_to_tensor(cell.recurrent_kernel),
            ops.zeros_like(kernel[0])
            if cell.bias is None
            else ops.convert_to_tensor(cell.bias),
        )

    def _apply_dropout(self, sequences, h):
        """Return the sequences, and the dropout factors that the engine must apply."""
        x_masks, h_masks = self.cell.dropout_masks(sequences[:, 0], h)
        if x_masks and len(x_masks) == 1:
            return sequences * x_masks[0][:, None], None
        if not x_masks and not h_masks:
            return sequences, None
        factors = [
            ops.stack(masks or [ops.ones_like(tensor)] * 4, axis=1)
            for masks, tensor in ((x_masks, sequences[:, 0]), (h_masks, h))
        ]
        return sequences, ops.concatenate(factors, axis=-1)

    def get_initial_state(self, batch_size: Any) -> list:
        """Return `[h, c]`, each `(batch_size, units)`: zeros, or the learned states."""
        shape, dtype = (batch_size, self.units), self.cell.compute_dtype
        if not self.learn_initial_state or not self.built:
            return [ops.zeros(shape, dtype) for _ in range(2)]
        return [
            ops.broadcast_to(ops.cast(state, dtype), shape)
            for state in (self.initial_h, self.initial_c)
        ]

    def get_config(self) -> dict:
        """Return the constructor's arguments; those that Keras lacks only if used."""
        config = super().get_config()
        del config["cell"]
        cell_config = self.cell.get_config()
        return {
            **config,
            **{name: cell_config[name] for name in CELL_ARGUMENTS},
            "return_state": self._return_last_states,
            "activity_regularizer": keras.regularizers.serialize(
                self.activity_regularizer
            ),
            "use_cudnn": self.use_cudnn,
            # Left out if default, so that Keras's layer accepts the rest.
            **{
                name: getattr(self, name)
                for name, default in NOT_IN_KERAS.items()
                if getattr(self, name) != default
            },
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: Any = None) -> "LSTM":
        """Create a layer from the result of `get_config`."""
        return cls(**config)

    def _check_call(self, sequences, initial_state, mask):
        """Check the shapes of a call's arguments as far as they are known."""
        call_shapes.check_sequences(sequences)
        batch, time = sequences.shape[:2]
        if self.stateful and self.states:
            call_shapes.check_batch(batch, self.states[0].shape[0])
        if initial_state is not None:
            call_shapes.check_initial_state(initial_state, batch, self.units)
        if mask is not None:
            call_shapes.check_mask(mask.shape, batch, time)


def _cell_attribute(name):
    return property(lambda self: getattr(self.cell, name), doc=f"`cell.{name}`.")


for _name in CELL_ARGUMENTS:  # as attributes of the layer, as in Keras
    setattr(LSTM, _name, _cell_attribute(_name))
