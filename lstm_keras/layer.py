"""The LSTM over a whole sequence: the cell in a loop over time, or an engine."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from lstm_keras import call_shapes, engines
from lstm_keras.cell import LSTMCell

# The constructor's arguments that belong to the cell.
_CELL_ARGUMENTS = (
    "units",
    "activation",
    "recurrent_activation",
    "use_bias",
    "kernel_initializer",
    "recurrent_initializer",
    "bias_initializer",
    "unit_forget_bias",
    "kernel_regularizer",
    "recurrent_regularizer",
    "bias_regularizer",
    "kernel_constraint",
    "recurrent_constraint",
    "bias_constraint",
    "dropout",
    "recurrent_dropout",
    "seed",
)


# Arguments that Keras's layer does not have, with their defaults.
NOT_IN_KERAS = {
    "engine": "auto",
    "return_cell_states": False,
    "learn_initial_state": False,
}


class _JoinedStates:
    """A cell whose output and only state is `h` and `c` of an `LSTMCell`, joined."""

    def __init__(self, cell, training):
        self.cell = cell
        self.training = training
        self.state_size = 2 * cell.units

    def call(self, inputs, states):
        """Apply the cell once."""
        h, c = ops.split(states[0], 2, axis=-1)
        _, states = self.cell(inputs, [h, c], training=self.training)
        joined = ops.concatenate(states, axis=-1)
        return joined, [joined]

    __call__ = call


def _of_cell(name):
    return property(lambda self: getattr(self.cell, name), doc=f"`cell.{name}`.")


@keras.saving.register_keras_serializable(package="lstm_keras")
class LSTM(keras.layers.RNN):
    """Long Short-Term Memory layer: `LSTMCell` applied to every step of a sequence.

    The equations, their sources and the packing of the weights are in the docstring of
    `LSTMCell`. A drop-in for `keras.layers.LSTM`: the same arguments, defaults, weights
    and results, and three arguments more (`engine`, `return_cell_states` and
    `learn_initial_state`).

    Args:
        units: Positive integer, the size of `h` and of `c`.
        activation: See `LSTMCell`, also for the arguments up to `seed`.
        recurrent_activation: Activation of the three gates.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of `kernel`.
        recurrent_initializer: Initializer of `recurrent_kernel`.
        bias_initializer: Initializer of `bias`.
        unit_forget_bias: Start the forget gate's bias at 1.
        kernel_regularizer: Regularizer of `kernel`.
        recurrent_regularizer: Regularizer of `recurrent_kernel`.
        bias_regularizer: Regularizer of `bias`.
        activity_regularizer: Regularizer of what a call returns.
        kernel_constraint: Constraint on `kernel`.
        recurrent_constraint: Constraint on `recurrent_kernel`.
        bias_constraint: Constraint on `bias`.
        dropout: Fraction of the inputs to drop in training.
        recurrent_dropout: Fraction of the hidden state to drop in training.
        seed: Integer seed of the dropout masks.
        return_sequences: Return every `h`, `(batch, time, units)`, not only the last,
            `(batch, units)`.
        return_state: Return the last `h` and `c`, each `(batch, units)`, too.
        go_backwards: Read the sequence from its end; outputs come in the order of
            reading.
        stateful: Start each batch with the states in which the one before ended, until
            `reset_state()`, in `fit`, `evaluate` and `predict` as well. Needs a fixed
            batch size.
        unroll: Unroll the loop over time; needs a fixed number of steps.
        use_cudnn: `"auto"`, `True` or `False`, as in Keras: whether cuDNN may compute
            (where there is a GPU), must, or must not.
        zero_output_for_mask: Output zeros at masked steps instead of the last output
            before them. Without `return_sequences` this concerns the last step.
        engine: What computes the sequence: `"loop"`, the cell step by step; the name of
            a file in `lstm_keras/engines`, which gives the same results faster and is
            an error where it can't; or `"auto"`, the first engine that can, or else
            the loop. `explain_engine()` tells which. `lstm_keras.engine_scope` decides
            for all layers, and tells what exporters get. Forward-mode differentiation
            on JAX and torch (`jvp`, `jacfwd`) needs `"loop"`.
        return_cell_states: Return the cell state `c` beside the output `h`, in the
            output's shape: with `return_sequences` that of every step. At masked steps
            `c` is what `h` is: repeated, or zero. (The attribute `return_state` is
            then True, for `keras.layers.Bidirectional`, which asks it.)
        learn_initial_state: Begin with two trainable vectors, `initial_h` and
            `initial_c`, `(1, units)`, broadcast over the batch, instead of zeros;
            they start at zero. A call with an `initial_state` does not use them. Not
            with `stateful`. In `weights` they come before those of the cell, so weights
            of a layer without them go to `layer.cell.set_weights`.
        **kwargs: Arguments of `keras.layers.Layer` (`name`, `dtype`, `trainable`), and
            Keras's undocumented `implementation`, which changes nothing here.

    Call arguments:
        sequences: `(batch, time, features)`.
        initial_state: `[h, c]`, each `(batch, units)` or `(1, units)`, which is
            broadcast over the batch.
        mask: Boolean `(batch, time)`. A `False` step leaves the states as they are, and
            what its inputs are, NaN included, has no influence.
            `lstm_keras.preprocessing.vocabulary.length_mask` makes a mask of lengths.
        training: Whether dropout is active.

    Returns of a call:
        The output `h`, or a tuple: `h`; with `return_cell_states` `c`; with
        `return_state` the last `h` and the last `c`. `keras.layers.Bidirectional`
        merges the outputs `h` of its two layers and returns the rest as it is, that of
        the backward layer in the order of its reading.

    Raises:
        ValueError: An argument of the constructor is invalid; the sequences are not
            `(batch, time, features)` with the `features` that the layer was built with;
            mask or initial state have another shape; a stateful layer has no fixed
            batch size; the engine can't do it.
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
                "stateful layer goes on from the batch before; received both"
            )
        self.use_cudnn = use_cudnn
        self.engine = engine
        self.return_cell_states = return_cell_states
        self.learn_initial_state = learn_initial_state
        if engine != "auto":
            self.explain_engine(training=True)  # an error if it can't
        self.input_spec = keras.InputSpec(ndim=3)

    def build(self, sequences_shape: tuple, initial_state_shape: Any = None) -> None:
        """Create the cell's weights, the learned initial state and the carried one."""
        if self.stateful and sequences_shape[0] is None:
            raise ValueError(
                "expected a fixed batch size, for instance keras.Input(..., "
                "batch_size=32), for a stateful layer; "
                f"received inputs of shape {sequences_shape}"
            )
        if self.stateful and self.states is None:
            # Past Keras's tracking, which would make weights of them.
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
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: sequences_shape[-1]})

    @property
    def variables(self) -> list:
        """All variables: the weights, random states, and the states carried over.

        Keras lists no carried states, and so loses them in `fit`, `evaluate` and
        `predict` on JAX, which change only what is listed.
        """
        return [*super().variables, *(self.states or [])]

    @property
    def supports_jit(self) -> bool:
        """Whether Keras may compile a model with this layer as one XLA program."""
        if keras.backend.backend() != "tensorflow":
            return self._supports_jit
        # Not around an engine: see engines/xla.py. cuDNN's operators can't be compiled.
        return self._supports_jit and (
            self.use_cudnn is not True
            and self.explain_engine(training=True).engine == engines.LOOP
        )

    @supports_jit.setter
    def supports_jit(self, value: bool) -> None:
        self._supports_jit = value

    @property
    def return_state(self) -> bool:
        """Whether a call returns more than `h`, which wrappers want to know."""
        return self._return_last_states or self.return_cell_states

    @return_state.setter
    def return_state(self, value: bool) -> None:
        self._return_last_states = value

    def compute_output_spec(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, **kwargs: Any
    ) -> Any:
        """Return shape and dtype of what a call on symbolic tensors returns."""
        self._check_call(sequences, initial_state, call_shapes.as_one_mask(mask))
        return super().compute_output_spec(
            sequences, initial_state=initial_state, mask=mask, **kwargs
        )

    def compute_output_shape(
        self, sequences_shape: tuple, initial_state_shape: Any = None
    ) -> tuple:
        """Return the shape of what a call returns."""
        shapes = super().compute_output_shape(sequences_shape, initial_state_shape)
        return self._returned(shapes, lambda output: (output, output))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of each tensor that a call returns."""
        masks = super().compute_mask(inputs, previous_mask)
        return self._returned(masks, lambda output: (output, output))

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> Any:
        """Run the cell over the time axis."""
        mask = call_shapes.as_one_mask(mask)
        self._check_call(sequences, initial_state, mask)
        sequences, mask = self._checked_when_run(sequences, mask)
        if initial_state is not None:
            shape = ops.shape(sequences)[0], self.units
            initial_state = [ops.broadcast_to(state, shape) for state in initial_state]
        self.cell.next_dropout_masks()
        result = super().call(
            sequences, initial_state=initial_state, mask=mask, training=training
        )
        return self._returned(result, lambda output: ops.split(output, 2, axis=-1))

    def _returned(self, result, h_and_c):
        """Return what a call returns from what Keras's RNN makes of it.

        Args:
            result: The output, and the states if `return_state`.
            h_and_c: Makes two outputs of an output in which `h` and `c` are joined.
        """
        if not self.return_cell_states:
            return result
        output, *last_states = result
        return *h_and_c(output), *(last_states if self._return_last_states else ())

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple:
        """Go through time, with one set of dropout masks for all steps.

        With `return_cell_states` the outputs are `h` and `c` joined along the last
        axis.
        """
        mask = call_shapes.as_boolean_mask(mask)
        engine = self.explain_engine(training=training).engine
        if engine != engines.LOOP:
            return self._run_engine(engine, sequences, initial_state, mask, training)
        if mask is not None:
            # Or NaN in a masked step would reach the weights' gradients, as 0 * NaN.
            sequences = ops.where(mask[..., None], sequences, 0)
        dropout_masks = (
            self.cell.held_dropout_masks(sequences[:, 0], initial_state[0])
            if training
            else contextlib.nullcontext()
        )
        with dropout_masks:
            if self.return_cell_states:
                return self._loop_of_h_and_c(sequences, initial_state, mask, training)
            return super().inner_loop(sequences, initial_state, mask, training=training)

    def _loop_of_h_and_c(self, sequences, states, mask, training):
        """Return what `inner_loop` returns if the outputs are `h` and `c`."""
        loop = keras.layers.RNN(
            _JoinedStates(self.cell, training),
            return_sequences=self.return_sequences,
            go_backwards=self.go_backwards,
            unroll=self.unroll,
            zero_output_for_mask=self.zero_output_for_mask,
            name="loop",  # not to use up a name that Keras numbers
        )
        joined = [ops.concatenate(states, axis=-1)]
        last, every, (joined,) = loop.inner_loop(sequences, joined, mask)
        return last, every, ops.split(joined, 2, axis=-1)

    def explain_engine(self, training: bool = False) -> engines.Choice:
        """Tell which engine a call takes, and why not another.

        Args:
            training: Whether it is a call in training.

        Returns:
            An `engines.Choice`: the name in `engine`, the reasons in `passed_over`.

        Raises:
            ValueError: The constructor's `engine` or `use_cudnn=True` can't be had.
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
        sequences = ops.cast(sequences, self.compute_dtype)  # integers, too
        dropout = None
        if training:
            sequences, dropout = self._dropped(sequences, states[0])
        if self.stateful:
            # The gradient needs them, and torch will change them in place.
            states = [ops.copy(state) for state in states]
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)
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
        shown = None if mask is None else self._shown(mask)
        if shown is not None:
            last = ops.where(shown[:, -1:], last, 0)
            if every is not None:
                every = ops.where(shown[..., None], every, 0)
        return last, last[:, None] if every is None else every, states

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

    def _dropped(self, sequences, h):
        """Return the sequences, and the dropout factors that an engine has to apply."""
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

    def _shown(self, mask):
        """At which steps a masked output is shown (`None`: at all), and not zero."""
        if self.zero_output_for_mask:
            return mask
        if keras.backend.backend() == "jax":
            return None  # before the first unmasked step it is the initial state
        return ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0

    def get_initial_state(self, batch_size: Any) -> list:
        """Return `[h, c]`, each `(batch_size, units)`: zeros, or what was learned."""
        shape, dtype = (batch_size, self.units), self.cell.compute_dtype
        if not self.learn_initial_state or not self.built:
            return [ops.zeros(shape, dtype) for _ in range(2)]
        return [
            ops.broadcast_to(ops.cast(state, dtype), shape)
            for state in (self.initial_h, self.initial_c)
        ]

    def get_config(self) -> dict:
        """Return the arguments of the constructor, those that Keras lacks if used."""
        config = super().get_config()
        del config["cell"]
        cell_config = self.cell.get_config()
        return {
            **config,
            **{name: cell_config[name] for name in _CELL_ARGUMENTS},
            "return_state": self._return_last_states,
            "activity_regularizer": keras.regularizers.serialize(
                self.activity_regularizer
            ),
            "use_cudnn": self.use_cudnn,
            # Left out if they are the default, so that Keras's layer takes the rest.
            **{
                name: getattr(self, name)
                for name, default in NOT_IN_KERAS.items()
                if getattr(self, name) != default
            },
        }

    @classmethod
    def from_config(cls, config: dict) -> "LSTM":
        """Make a layer from what `get_config` returned."""
        return cls(**config)

    def _check_call(self, sequences, initial_state, mask):
        """Check what is known of a call's arguments, as early as it is known."""
        call_shapes.check_sequences(sequences)
        batch, time = sequences.shape[:2]
        if self.stateful and self.states:
            call_shapes.check_batch(batch, self.states[0].shape[0])
        if initial_state is not None:
            call_shapes.check_initial_state(initial_state, batch, self.units)
        if mask is not None:
            call_shapes.check_mask(mask.shape, batch, time)

    def _checked_when_run(self, sequences, mask):
        """Return sequences and mask, behind checks of what was not known before."""
        if self.stateful:
            sequences = call_shapes.sized_as(
                sequences, self.states[0].shape[:1], call_shapes.STATEFUL_BATCH
            )
        if mask is not None:
            mask = call_shapes.sized_as(
                mask,
                ops.shape(sequences)[:2],
                "expected a mask (batch, time) of the sequences' batch and time",
            )
        return sequences, mask

    units = _of_cell("units")
    activation = _of_cell("activation")
    recurrent_activation = _of_cell("recurrent_activation")
    use_bias = _of_cell("use_bias")
    unit_forget_bias = _of_cell("unit_forget_bias")
    kernel_initializer = _of_cell("kernel_initializer")
    recurrent_initializer = _of_cell("recurrent_initializer")
    bias_initializer = _of_cell("bias_initializer")
    kernel_regularizer = _of_cell("kernel_regularizer")
    recurrent_regularizer = _of_cell("recurrent_regularizer")
    bias_regularizer = _of_cell("bias_regularizer")
    kernel_constraint = _of_cell("kernel_constraint")
    recurrent_constraint = _of_cell("recurrent_constraint")
    bias_constraint = _of_cell("bias_constraint")
    dropout = _of_cell("dropout")
    recurrent_dropout = _of_cell("recurrent_dropout")
