"""Export a model as ONNX, with ONNX's own operators for recurrent layers."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from lstm_keras.convert.onnx import keras_graph
from lstm_keras.convert.onnx.verification import (
    TOLERANCE,
    can_run,
    checked_examples,
    largest_difference,
    random_examples,
)
from lstm_keras.runs import NextWordRun, SentimentRun

__all__ = ["Exported", "export_onnx"]


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: The file.
        inputs: The names of its inputs.
        outputs: The names of its outputs.
        largest_error: The largest difference between its outputs and the model's on the
            examples, relative to the largest output where that is above 1; None if
            onnxruntime is not installed.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    largest_error: float | None


@dataclass(frozen=True)
class _Source:
    """What is exported, and the names that its inputs and outputs shall have."""

    model: keras.Model
    inputs: list[str]
    outputs: list[str]
    metadata: Mapping[str, str] = field(default_factory=dict)


def export_onnx(
    model_or_run: keras.Model | SentimentRun | NextWordRun,
    path: str | Path,
    *,
    examples: Any = None,
    quantize: bool = False,
) -> Exported:
    """Write a model as an ONNX file that needs neither Keras nor this package.

    Recurrent layers become the operators `LSTM` and `GRU`, never a loop, whatever their
    mask; the results are the model's on the backend that exports, in inference. Batch
    and time are dynamic where they are in the model; a batch must not be empty, with
    which onnxruntime's operators crash. Layers: `LSTM` and `keras.layers.LSTM` with any
    of their arguments but `stateful`, `GRU`, `RNN` of such a cell, `Bidirectional`,
    `Embedding`, `ReversibleEmbedding`, `Masking`, `Dense`, `TimeDistributed` of layers
    that act on the last axis, the dropout layers, `Activation`, `LayerNormalization`,
    `GlobalAveragePooling1D`, `GlobalMaxPooling1D`, `Reshape`, `Flatten`, `Concatenate`,
    `Add` and its like, models inside the model, arithmetic and slices.

    Inputs and outputs are named as in the model: an input as its layer; an output as
    its key or else as the layer that computes it, with a number behind a name that has
    occurred.

    A run gets speaking names, and `vocabulary.json` beside the file. That of
    `next_word` becomes a model of one step, for generation: `ids` `(batch, time)` and
    the states go in; `logits` of the next word, `(batch, vocabulary)`, and the states
    as `…_next` come out. The states before a text are zeros `(batch, units)`.

    The file is checked before it has its name: by ONNX's checker, and, where
    onnxruntime is installed, by comparing its outputs with the model's.

    Args:
        model_or_run: A Sequential or functional model that is built, or what `load_run`
            returns.
        path: The file; an existing one is replaced.
        examples: Inputs as the model takes them, to compare outputs on; random ones by
            default, of up to 8 steps. For a step model they are a list of the ids and
            the states.
        quantize: Whether to let onnxruntime quantize the weights to 8 bits, a quarter
            of the size; the file then only has to run, and `largest_error` says what
            that costs.

    Raises:
        ModuleNotFoundError: `onnx`, or to quantize `onnxruntime`, is not installed.
        ValueError: The model cannot be exported: it is stateful, computes in another
            dtype than float32, has a layer called with `training=True`, or a layer, an
            activation or another argument without a translation; the message names the
            layer. Or `examples` do not fit the model, or the outputs of the file
            differ. No file is written.
        OSError: It cannot be written.
    """
    try:
        import onnx

        from lstm_keras.convert.onnx.translation import translated
    except ModuleNotFoundError as error:
        raise _missing("export_onnx", error) from error
    path, source = Path(path), _source(model_or_run)
    if path.is_dir():
        raise IsADirectoryError(f"expected a file to write; received the folder {path}")
    functional = keras_graph.functional(source.model)
    # In a graph an input and an output cannot have the same name.
    names = keras_graph.distinct([*source.inputs, *source.outputs])
    count = len(source.inputs)
    inputs = dict(zip(names[:count], functional.inputs, strict=True))
    given = None if examples is None else checked_examples(examples, inputs)
    graph, values = translated(source.model, inputs)
    outputs = dict(zip(names[count:], values, strict=True))
    proto = graph.model(inputs, outputs, source.metadata)
    onnx.checker.check_model(proto, full_check=True)
    batches = [given] if given else random_examples(inputs, graph.id_limits)
    # Ends as the file will, since onnxruntime looks at the ending.
    partial = path.with_name(f".{path.stem}.partial.onnx")
    error = None
    try:
        partial.write_bytes(proto.SerializeToString())
        if quantize:
            _quantize(partial)
        if can_run():
            error = largest_difference(partial, functional, batches)
            _check(error, quantize)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if not isinstance(model_or_run, keras.Model):
        model_or_run.vocabulary.save(path.with_name("vocabulary.json"))
    return Exported(path, tuple(inputs), tuple(outputs), error)


def _missing(what, error):
    """Return the error for a part of the extra that is not installed."""
    return ModuleNotFoundError(
        f"{what} needs {error.name}, which is not installed: "
        "pip install 'lstm_keras[onnx]'",
        name=error.name,
    )


def _source(model_or_run):
    """Return the model to export and the names of its inputs and outputs."""
    if isinstance(model_or_run, SentimentRun):
        maxlen = str(model_or_run.config["maxlen"])
        facts = {"experiment": "imdb_sentiment", "maxlen": maxlen}
        return _Source(model_or_run.model, ["ids"], ["probability"], facts)
    if isinstance(model_or_run, NextWordRun):
        return _step_model(model_or_run)
    graph = keras_graph.functional(model_or_run)
    return _Source(
        model_or_run,
        keras_graph.input_names(graph),
        keras_graph.output_names(model_or_run),
    )


def _step_model(run):
    states = [
        f"{layer.name}_{state}"
        for layer in run.model.layers
        if isinstance(layer, keras.layers.RNN)
        for state, _ in zip("hc", keras.tree.flatten(layer.state_size), strict=False)
    ]
    return _Source(
        run.stepper.model,
        ["ids", *states],
        ["logits", *(f"{name}_next" for name in states)],
        {
            "experiment": "next_word",
            "split": run.config["split"],
            "backwards": str(run.backwards),
        },
    )


def _check(error, quantized):
    limit = float("inf") if quantized else TOLERANCE
    if not error < limit:
        raise ValueError(
            f"expected the file to compute what the model does, to {TOLERANCE:g}; "
            f"received outputs that differ by {error:g}. Nothing was written"
        )


def _quantize(path):
    """Quantize the weights of a file, in place."""
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ModuleNotFoundError as error:
        raise _missing("quantize=True", error) from error
    logger = logging.getLogger()  # where it advises to preprocess, in vain
    level, _ = logger.level, logger.setLevel(logging.ERROR)
    try:
        quantize_dynamic(path, path, weight_type=QuantType.QInt8)
    finally:
        logger.setLevel(level)
