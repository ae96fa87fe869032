"""The LSTM over a whole sequence: the cell in a loop over time, or an engine."""

import contextlib

import keras
from keras import ops

from lstm_keras import engines
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


def _of_cell(name):
    return property(lambda self: getattr(self.cell, name), doc=f"`cell.{name}`.")


@keras.saving.register_keras_serializable(package="lstm_keras")
class LSTM(keras.layers.RNN):
    """Long Short-Term Memory layer: `LSTMCell` applied to every step of a sequence.

    The equations, their sources and the packing of the weights are in the docstring of
    `LSTMCell`. A drop-in for `keras.layers.LSTM`: the same arguments (but for its
    undocumented `implementation`), defaults, weights and results.

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
        activity_regularizer: Regularizer of the layer's output.
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
            `reset_state()`. Needs a fixed batch size.
        unroll: Unroll the loop over time; needs a fixed number of steps.
        use_cudnn: `"auto"`, `True` or `False`, as in Keras: whether cuDNN may compute
            (where there is a GPU), must, or must not.
        zero_output_for_mask: With `return_sequences`, give zeros at masked steps
            instead of the last output before them.
        engine: What computes the sequence: `"loop"`, the cell step by step; the name of
            a file in `lstm_keras/engines`, which gives the same results faster and is
            an error where it can't; or `"auto"`, the first engine that can, or else
            the loop. `explain_engine()` tells which.
        **kwargs: Arguments of `keras.layers.Layer` (`name`, `dtype`, `trainable`).

    Call arguments:
        sequences: `(batch, time, features)`.
        initial_state: `[h, c]`, each `(batch, units)`; zeros if `None`.
        mask: Boolean `(batch, time)`; at a `False` step the states stay as they are.
        training: Whether dropout is active.

    Returns of a call:
        The output, and with `return_state` a tuple of the output, `h` and `c`.

    Raises:
        ValueError: An argument of the constructor is invalid; the sequences are not
            `(batch, time, features)` with the `features` that the layer was built with;
            an initial state is not `(batch, units)`; a stateful layer has no fixed
            batch size; the engine can't do it.
    """

    def __init__(
        self,
        units,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        unit_forget_bias=True,
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        seed=None,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        stateful=False,
        unroll=False,
        use_cudnn="auto",
        zero_output_for_mask=False,
        engine="auto",
        **kwargs,
    ):
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
        if engine not in engines.NAMES:
            raise ValueError(
                f"expected engine to be one of {engines.NAMES}; received {engine!r}"
            )
        self.use_cudnn = use_cudnn
        self.engine = engine
        if engine != "auto":
            self.explain_engine(training=True)  # an error if it can't
        if keras.backend.backend() == "tensorflow":
            # Keras then leaves the model uncompiled: see engines/xla.py. cuDNN's
            # operators can't be compiled.
            self.supports_jit = use_cudnn is not True and (
                self.explain_engine(training=True).engine == engines.LOOP
            )
        self.input_spec = keras.InputSpec(ndim=3)

    def build(self, sequences_shape, initial_state_shape=None):
        """Create the cell's weights and, if stateful, the states."""
        if self.stateful and sequences_shape[0] is None:
            raise ValueError(
                "expected a fixed batch size, for instance keras.Input(..., "
                "batch_size=32), for a stateful layer; "
                f"received inputs of shape {sequences_shape}"
            )
        super().build(sequences_shape, initial_state_shape)
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: sequences_shape[-1]})

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        """Return the shape of the output, and of the states if they are returned."""
        if initial_state_shape is not None:
            one_tensor = not isinstance(initial_state_shape[0], (tuple, list))
            shapes = [initial_state_shape] if one_tensor else initial_state_shape
            self._check_initial_state(shapes, sequences_shape[0])
        return super().compute_output_shape(sequences_shape, initial_state_shape)

    def call(self, sequences, initial_state=None, mask=None, training=False):
        """Run the cell over the time axis."""
        if initial_state is not None:
            shapes = [tuple(state.shape) for state in keras.tree.flatten(initial_state)]
            self._check_initial_state(shapes, sequences.shape[0])
        self.cell.next_dropout_masks()
        return super().call(
            sequences, initial_state=initial_state, mask=mask, training=training
        )

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Go through time, with one set of dropout masks for all steps."""
        if keras.tree.is_nested(mask):
            mask = mask[0]
        choice = self.explain_engine(training=training)
        if choice.engine != engines.LOOP:
            return self._run_engine(
                choice.engine, sequences, initial_state, mask, training
            )
        dropout_masks = (
            self.cell.held_dropout_masks(sequences[:, 0], initial_state[0])
            if training
            else contextlib.nullcontext()
        )
        with dropout_masks:
            return super().inner_loop(sequences, initial_state, mask, training=training)

    def explain_engine(self, training=False):
        """Tell which way a call takes, and why not another.

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
        if training and self.dropout:
            masks, _ = self.cell.dropout_masks(sequences[:, 0], states[0])
            if masks:
                sequences = sequences * masks[0][:, None]
        if self.stateful:
            # The gradient needs them, and torch will change them in place.
            states = [ops.copy(state) for state in states]
        if mask is not None:
            if len(mask.shape) == 3:
                mask = ops.squeeze(mask, axis=-1)
            mask = ops.broadcast_to(ops.cast(mask, "bool"), ops.shape(sequences)[:2])
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)
        cell = self.cell
        kernel = ops.convert_to_tensor(cell.kernel)
        hidden, states = engines.run(
            engine,
            sequences,
            mask,
            states,
            kernel,
            ops.convert_to_tensor(cell.recurrent_kernel),
            ops.zeros_like(kernel[0])
            if cell.bias is None
            else ops.convert_to_tensor(cell.bias),
            self.return_sequences,
        )
        last = states[0]
        shown = None if mask is None else self._shown(mask)
        if shown is not None:
            last = ops.where(shown[:, -1:], last, 0)
            if hidden is not None:
                hidden = ops.where(shown[..., None], hidden, 0)
        return last, last[:, None] if hidden is None else hidden, states

    def _shown(self, mask):
        """At which steps a masked output is shown (`None`: at all), and not zero."""
        if self.zero_output_for_mask:
            return mask
        if keras.backend.backend() == "jax":
            return None  # before the first unmasked step it is the initial state
        return ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0

    def get_initial_state(self, batch_size):
        """Return zeros for `[h, c]`, each `(batch_size, units)`."""
        return [
            ops.zeros((batch_size, size), dtype=self.cell.compute_dtype)
            for size in self.cell.state_size
        ]

    def get_config(self):
        """Return every argument of the constructor (`engine` if it is not "auto")."""
        config = super().get_config()
        del config["cell"]
        cell_config = self.cell.get_config()
        return {
            **config,
            **{name: cell_config[name] for name in _CELL_ARGUMENTS},
            "activity_regularizer": keras.regularizers.serialize(
                self.activity_regularizer
            ),
            "use_cudnn": self.use_cudnn,
            # Left out if it is the default, so that Keras's layer takes the rest.
            **({} if self.engine == "auto" else {"engine": self.engine}),
        }

    @classmethod
    def from_config(cls, config):
        """Make a layer from what `get_config` returned."""
        return cls(**config)

    def _check_initial_state(self, shapes, batch_size):
        expected = (batch_size, self.units)
        fits = len(shapes) == 2 and all(
            len(shape) == 2
            and all(
                None in pair or len(set(pair)) == 1
                for pair in zip(shape, expected, strict=True)
            )
            for shape in shapes
        )
        if not fits:
            raise ValueError(
                "expected initial_state to be [h, c], each of shape (batch, units) = "
                f"{expected}; received shapes {list(shapes)}"
            )

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
