"""TensorFlow: the loop over any pure cell, compiled by XLA, in shares of the batch.

It is `lstm_keras.engines.xla` for cells whose equations it does not know: the cell's
own `call` is traced into the step. The forward pass stores the states and the results
of `LSTMCell.affine`. The backward pass computes the rest of the step again, lets
TensorFlow differentiate it, and collects the gradients of the results of `affine` over
a block of steps, so that the gradients of its weights are one large product per block.
Weights that are used otherwise get a gradient in every step.
"""

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from lstm_keras import equations
from lstm_keras.engines import shares

# Keras's cells, which only compute where they drop nothing.
_OF_KERAS = (keras.layers.GRUCell, keras.layers.LSTMCell, keras.layers.SimpleRNNCell)


class Kind(NamedTuple):
    """What the programs of a cell depend on, besides the sizes of their inputs."""

    features: int
    dtype: tf.DType
    masked: bool
    dropped: tuple
    return_sequences: bool
    training: bool


class Affine(NamedTuple):
    """A call of `affine` in a step.

    Attributes:
        sources: For each product what is multiplied: "x", the number of a state, or
            None for what the step computes from them.
        kernels: The number of each kernel among the weights.
        bias: The number of the bias, or None.
    """

    sources: tuple[str | int | None, ...]
    kernels: tuple[int, ...]
    bias: int | None


class Plan(NamedTuple):
    """What a step does, found by tracing it once.

    Attributes:
        affines: The calls of `affine`, in order; None for one with other arguments than
            whole weights, which is differentiated like the rest of the step.
        others: The numbers of the weights that are used outside of `affine`.
        uses_x: Whether the inputs are.
        refusal: Why the cell cannot be compiled, or None.
    """

    affines: tuple[Affine | None, ...] = ()
    others: tuple[int, ...] = ()
    uses_x: bool = False
    refusal: str | None = None


def refusal(cell: keras.Layer, features: int | None, training: bool) -> str | None:
    """Return why a cell cannot be compiled, or None.

    Args:
        cell: The cell; a built one is traced to find out.
        features: Size of the last axis of its inputs, if it is built.
        training: Whether it is called in training.
    """
    drops = getattr(cell, "dropout", 0) or getattr(cell, "recurrent_dropout", 0)
    if not vars(type(cell)).get("pure", type(cell) in _OF_KERAS and not drops):
        name = type(cell).__name__
        return f"the class {name} does not say pure = True: see lstm_keras.LSTMCell"
    if not cell.built or features is None:
        return None
    return _cached(_planned, cell, features, training).refusal


def run(
    cell: keras.Layer,
    sequences: Any,
    mask: Any,
    states: list,
    masks: Any,
    return_sequences: bool,
    training: bool,
) -> tuple[Any, list]:
    """Run over all steps; return every output or None, and the last states.

    Args:
        cell: A built cell for which `refusal` is None.
        sequences: `(batch, time, features)`.
        mask: Boolean `(batch, time)`, or None.
        states: The initial states, each `(batch, size)`.
        masks: The cell's dropout masks, nested at will, each `(batch, size)`, or None.
        return_sequences: Whether to return every output.
        training: Whether the cell is called in training.
    """
    given = [one for one in keras.tree.flatten(masks) if one is not None]
    dropped = tuple((one.shape[-1], one.dtype) for one in given)
    batch, time, features = sequences.shape
    masked, dtype = mask is not None, sequences.dtype
    kind = Kind(features, dtype, masked, dropped, return_sequences, training)
    programs = _cached(Programs, cell, kind)
    programs.drops = keras.tree.map_structure(lambda one: one is not None, masks)
    weights = [ops.cast(weight.value, dtype) for weight in cell.weights]
    # Eagerly, the shares would run one after the other.
    eager = tf.executing_eagerly()
    run_shares = programs.as_graph if eager else programs.in_graph
    results = run_shares([mask] * masked + given, [sequences, *states, *weights])
    every, last = results[:return_sequences], results[return_sequences:]
    for state, size in zip(last, _sizes(cell), strict=True):
        state.set_shape([batch, size])
    for output in every:
        output.set_shape([batch, time, _sizes(cell)[0]])
    return every[0] if every else None, last


# By cell, since nothing else tells for certain what it computes.
_FOUND: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _cached(function, cell, *arguments):
    """Return `function(cell, *arguments)`, anew if the cell's attributes changed."""
    try:
        config = repr(cell.get_config())
    except NotImplementedError:  # a custom cell need not have one
        config = ""
    of_cell = _FOUND.setdefault(cell, {})
    key = function, config, *arguments
    if key not in of_cell:
        of_cell[key] = function(cell, *arguments)
    return of_cell[key]


def _sizes(cell):
    return keras.tree.flatten(cell.state_size)


def _call(cell, x, states, weights, masks, training, affine):
    """Call a cell with other weights, dropout masks and `affine`.

    Returns:
        The output, the new states, and whether all variables are as they were.
    """
    given = list(zip(cell.weights, weights, strict=True))
    takes_training = "training" in inspect.signature(cell.call).parameters
    call = {"training": training} if takes_training else {}
    token = equations.AFFINE.set(affine)
    try:
        with keras.StatelessScope(given) as scope:
            if masks is None:
                output, new = cell(x, list(states), **call)
            else:
                with cell.holding(masks):
                    output, new = cell(x, list(states), **call)
    finally:
        equations.AFFINE.reset(token)
    kept = dict(zip(map(id, cell.weights), weights, strict=True))
    changed = [
        variable.path
        for variable in cell.variables
        if scope.get_current_value(variable) is not kept.get(id(variable))
    ]
    return output, keras.tree.flatten(new), changed


def _planned(cell, features, training):
    """Return the `Plan` of a cell."""
    affines, found = [], {}

    def specs(*shapes):
        return [tf.TensorSpec(shape, cell.compute_dtype) for shape in shapes]

    def numbered(tensor, tensors):
        return next((n for n, one in enumerate(tensors) if one is tensor), None)

    @tf.function(
        input_signature=[
            *specs((None, features)),
            specs(*((None, size) for size in _sizes(cell))),
            specs(*(weight.shape for weight in cell.weights)),
        ],
        autograph=False,
    )
    def traced(x, states, weights):
        def affine(products, bias):
            factors = [(a, kernel, masks) for a, kernel, *masks in products]
            kernels = [numbered(kernel, cell.weights) for _, kernel, _ in factors]
            add = None if bias is None else numbered(bias, cell.weights)
            whole = not any(
                masks and masks[0] and len(masks[0]) > 1 for *_, masks in factors
            )
            if not whole or None in kernels or (add is None) != (bias is None):
                affines.append(None)
                return equations.affine(products, bias)
            sources = [
                None if masks and masks[0] else "x" if a is x else numbered(a, states)
                for a, _, masks in factors
            ]
            affines.append(Affine(tuple(sources), tuple(kernels), add))
            # Without the weights and the inputs, to see who else uses them.
            read = [_dropped(a, *masks)[:, :1] for a, _, masks in factors if a is not x]
            return tf.zeros(
                [tf.shape(states[0])[0], factors[0][1].shape[-1]], x.dtype
            ) + sum(read)

        masks = None
        if training and hasattr(cell, "dropout_masks"):
            masks = cell.dropout_masks(x, states[0])
        before = len(x.graph.get_operations())
        output, new, changed = _call(cell, x, states, weights, masks, training, affine)
        stateful = [
            op.type for op in x.graph.get_operations()[before:] if op.op_def.is_stateful
        ]
        if changed:
            found["refusal"] = f"its step changes the variable {changed[0]}"
        elif stateful:
            found["refusal"] = f"its step does more than compute: {stateful[0]}"
        elif output is not new[0]:
            found["refusal"] = "its output is not its first state"
        found["others"] = [n for n, w in enumerate(weights) if w.consumers()]
        found["uses_x"] = bool(x.consumers())
        return new

    try:
        traced.get_concrete_function()
    except Exception as error:  # whatever the cell raises
        return Plan(refusal=f"its step cannot be traced: {error}")
    return Plan(tuple(affines), tuple(found.pop("others")), **found)


def _dropped(inputs, masks=None):
    return inputs * masks[0] if masks else inputs


class Programs:
    """The programs of a share for one cell and kind; see `shares.Programs`."""

    def __init__(self, cell: keras.Layer, kind: Kind):
        self.kind = kind
        self.state_count = len(_sizes(cell))
        self.drops: Any = None  # where there are dropout masks, as the cell nests them
        self.in_graph = functools.partial(shares.in_shares, self, kind.training)
        self._cell = weakref.ref(cell)
        self._sizes = _sizes(cell)
        self._shapes = [tuple(weight.shape) for weight in cell.weights]
        self._plan = _cached(_planned, cell, kind.features, kind.training)
        self._known = [affine for affine in self._plan.affines if affine]
        self._compiled: dict[str, Callable] = {}

    @functools.cached_property
    def as_graph(self) -> Callable:
        """`in_graph` for all batch sizes and lengths."""
        (_, *constants), inputs = self._signature()
        return tf.function(
            self.in_graph, input_signature=[constants, inputs], autograph=False
        )

    def results(self, *given: list) -> list:
        """See `shares.Programs`."""
        return self._program("results", lambda *given: self.loop(*given)[0])(*given)

    def forward(self, *given: list) -> tuple[list, Any]:
        """See `shares.Programs`."""
        return self._program("forward", self.loop)(*given)

    def backward(self, *given: Any) -> list:
        """See `shares.Programs`."""
        dx, *others = self._program("backward", self._backward)(*given)
        return [tf.transpose(dx, [1, 0, 2]), *others]

    def _program(self, name, function):
        if name not in self._compiled:
            self._compiled[name] = tf.function(
                function,
                input_signature=self._signature(name == "backward"),
                jit_compile=True,
                autograph=False,
            )
        return self._compiled[name]

    def _signature(self, backward=False):
        """Return the types of a program's arguments; a backward pass has two more."""
        kind = self.kind

        def spec(*shape):
            return tf.TensorSpec(shape, kind.dtype)

        constants = [
            tf.TensorSpec((), tf.int32),
            *[tf.TensorSpec((None, None), tf.bool)] * kind.masked,
            *(tf.TensorSpec((None, size), dtype) for size, dtype in kind.dropped),
        ]
        states = [spec(None, size) for size in self._sizes]
        weights = [spec(*shape) for shape in self._shapes]
        signature = [constants, [spec(None, None, kind.features), *states, *weights]]
        if backward:
            widths = [*self._sizes, *map(self._width, self._known)]
            every = [spec(None, None, self._sizes[0])] * kind.return_sequences
            signature += [[spec(None, None, width) for width in widths], every + states]
        return signature

    def _width(self, affine):
        return self._shapes[affine.kernels[0]][-1]

    def _named(self, constants, inputs):
        """Return x, states, weights, steps, mask or None, and dropout masks or None."""
        steps, *given = constants
        x, *tensors = inputs
        mask = given.pop(0) if self.kind.masked else None
        masks = keras.tree.map_structure(
            lambda drops: given.pop(0) if drops else None, self.drops
        )
        states, weights = tensors[: self.state_count], tensors[self.state_count :]
        return x, states, weights, steps, mask, masks

    def _step(self, t, x, states, weights, mask, masks, affine):
        """Return the states after step t.

        `affine` takes an `Affine` and the inputs of its products.
        """
        calls = iter(self._plan.affines)

        def intercepted(products, bias):
            known = next(calls)
            if known is None:
                return equations.affine(products, bias)
            return affine(known, [_dropped(a, *masks) for a, _, *masks in products])

        _, new, _ = _call(
            self._cell(), x, states, weights, masks, self.kind.training, intercepted
        )
        if mask is None:
            return new
        on = mask[:, t, tf.newaxis]
        return [tf.where(on, *pair) for pair in zip(new, states, strict=True)]

    # Buffers are time-major, (time, batch, …). Those of the states begin with the
    # initial state, so they have one more step.

    def loop(self, constants: list, inputs: list) -> tuple[list, list]:
        """Return the results, and every state and every result of `affine`."""
        x, states, weights, steps, mask, masks = self._named(constants, inputs)
        rows, time = tf.unstack(tf.shape(x)[:2])
        # One product for a sum of some, as in lstm_keras.engines.xla.
        joined = {
            one: tf.concat([weights[n] for n in one.kernels], axis=0)
            for one in self._known
        }

        def step(t, states, every, stored):
            found = []

            def affine(known, inputs):
                z = tf.concat(inputs, axis=-1) @ joined[known]
                found.append(z if known.bias is None else z + weights[known.bias])
                return found[-1]

            x_t = shares.unmasked(mask, x, t)
            new = self._step(t, x_t, states, weights, mask, masks, affine)
            every = [b.write(t + 1, s) for b, s in zip(every, new, strict=True)]
            stored = [b.write(t, z) for b, z in zip(stored, found, strict=True)]
            return t + 1, new, every, stored

        every = [shares.new_buffer(s, time + 1).write(0, s) for s in states]
        stored = [self._buffer(time, rows, self._width(one)) for one in self._known]
        _, last, every, stored = tf.while_loop(
            lambda t, *_: t < steps, step, (0, states, every, stored)
        )
        every = [buffer.stack() for buffer in every]
        outputs = [tf.transpose(every[0][1:], [1, 0, 2])] * self.kind.return_sequences
        return [*outputs, *last], every + [buffer.stack() for buffer in stored]

    def _buffer(self, size, rows, width):
        return shares.new_buffer(tf.zeros([rows, width], self.kind.dtype), size)

    def _backward(self, constants, inputs, stored, d_results):
        """Return the gradients of x (time-major), the states and the weights."""
        x, _, weights, steps, mask, _ = self._named(constants, inputs)
        every, plan = stored[: self.state_count], self._plan
        rows, time = tf.unstack(tf.shape(x)[:2])
        features = self.kind.features
        number, size = shares.in_blocks(time)
        back = self._steps_back(constants, inputs, stored, d_results)

        def sources(first, affine, computed):
            """Yield what a call of `affine` read in a block, and ones for its bias."""
            for source in affine.sources:
                if source == "x":
                    x_then = tf.slice(x, [0, first, 0], [rows, size, features])
                    if mask is not None:
                        on = tf.slice(mask, [0, first], [rows, size])[..., tf.newaxis]
                        x_then = tf.where(on, x_then, tf.zeros_like(x_then))
                    yield tf.transpose(x_then, [1, 0, 2])
                elif source is None:
                    yield computed.pop(0)
                else:
                    width = self._sizes[source]
                    yield tf.slice(every[source], [first, 0, 0], [size, rows, width])
            if affine.bias is not None:
                yield tf.ones([size, rows, 1], x.dtype)

        def block(number, d_states, d_weights, d_x):
            first = number * size
            end = tf.minimum(first + size, steps)
            d_states, d_others, dx, dz, computed = back(first, end, size, d_states)
            d_weights = list(d_weights)
            for n, d in zip(plan.others, d_others, strict=True):
                d_weights[n] += d
            for affine, d in zip(self._known, dz, strict=True):
                for source, n in zip(affine.sources, affine.kernels, strict=True):
                    if source == "x":
                        dx += shares.times(d, tf.transpose(weights[n]))
                read = tf.concat([*sources(first, affine, computed)], axis=-1)
                of_weights = tf.matmul(
                    shares.flat(read), shares.flat(d), transpose_a=True
                )
                add = [] if affine.bias is None else [affine.bias]
                numbers = [*affine.kernels, *add]
                heights = [self._shapes[n][0] for n in affine.kernels] + [1] * len(add)
                for n, part in zip(numbers, tf.split(of_weights, heights), strict=True):
                    d_weights[n] += tf.reshape(part, self._shapes[n])
            return number - 1, d_states, d_weights, d_x.write(number, shares.flat(dx))

        d_last = list(d_results[self.kind.return_sequences :])
        _, d_states, d_weights, d_x = tf.while_loop(
            lambda number, *_: number >= 0,
            block,
            (
                -(-steps // size) - 1,
                d_last,
                [tf.zeros_like(weight) for weight in weights],
                self._buffer(number, size * rows, features),
            ),
        )
        d_x = tf.reshape(d_x.stack(), [time, rows, features])
        return [d_x, *d_states, *d_weights]

    def _steps_back(self, constants, inputs, stored, d_results):
        """Return a function that back-propagates through the steps of a block."""
        x, _, weights, _, mask, masks = self._named(constants, inputs)
        every, results = stored[: self.state_count], stored[self.state_count :]
        d_every = d_results[0] if self.kind.return_sequences else None
        plan, rows = self._plan, tf.shape(x)[0]
        transposed = {
            n: tf.transpose(weights[n]) for one in self._known for n in one.kernels
        }

        def step(t, d_states):
            d_states, zs, computed = list(d_states), [], []
            if d_every is not None:
                d_states[0] += d_every[:, t]

            def affine(known, inputs):
                """Return the stored result, whose gradient goes to all but x."""
                apart = [
                    (a, source, transposed[n])
                    for a, source, n in zip(inputs, *known[:2], strict=True)
                    if source != "x"
                ]
                computed.extend(a for a, source, _ in apart if source is None)

                @tf.custom_gradient
                def given(z, *_):
                    return tf.identity(z), lambda d: (None, *(d @ w for *_, w in apart))

                zs.append(given(results[len(zs)][t], *(a for a, *_ in apart)))
                return zs[-1]

            x_t = tf.identity(shares.unmasked(mask, x, t))
            before = [buffer[t] for buffer in every]
            # Within the loop's body, to be differentiated by.
            inner = [tf.identity(weight) for weight in weights]
            new = self._step(t, x_t, before, inner, mask, masks, affine)
            by = [
                *before,
                *zs,
                *([x_t] * plan.uses_x),
                *(inner[n] for n in plan.others),
            ]
            found = tf.gradients(new, by, d_states, unconnected_gradients=shares.ZERO)
            before, zs = len(before), len(before) + len(zs)
            others = zs + plan.uses_x
            return (
                found[:before],
                found[before:zs],
                found[zs:others],
                found[others:],
                computed,
            )

        widths = [
            self._shapes[n][0]
            for one in self._known
            for n, source in zip(one.kernels, one.sources, strict=True)
            if source is None
        ]

        def back(first, end, size, d_states):
            def one(t, d_states, d_others, dx, dz, read):
                d_states, d_zs, d_x, d_more, computed = step(t, d_states)
                d_others = [a + b for a, b in zip(d_others, d_more, strict=True)]
                buffers = [
                    [b.write(t - first, value) for b, value in zip(*pair, strict=True)]
                    for pair in ((dx, d_x), (dz, d_zs), (read, computed))
                ]
                return t - 1, d_states, d_others, *buffers

            def buffers(widths):
                return [self._buffer(size, rows, width) for width in widths]

            _, d_states, d_others, *collected = tf.while_loop(
                lambda t, *_: t >= first,
                one,
                (
                    end - 1,
                    d_states,
                    [tf.zeros_like(weights[n]) for n in plan.others],
                    buffers([self.kind.features] * plan.uses_x),
                    buffers(map(self._width, self._known)),
                    buffers(widths),
                ),
            )
            dx, dz, read = [[b.stack() for b in each] for each in collected]
            zeros = tf.zeros([size, rows, self.kind.features], self.kind.dtype)
            return d_states, d_others, dx[0] if dx else zeros, dz, read

        return back
