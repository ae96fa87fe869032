"""Attribute a trained model's output to the words of its input."""

import contextlib
import dataclasses
import numbers
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
from keras import ops

from lstm_keras.interpret.decomposition import decompose_states
from lstm_keras.interpret.gradients import gradients
from lstm_keras.interpret.hooks import LSTM_CELLS, replaced
from lstm_keras.language_model.generation import most_probable
from lstm_keras.preprocessing.vocabulary import PADDING
from lstm_keras.runs import NextWordRun, SentimentRun

METHODS = ("prefix", "gradient", "decomposition")
"""The names of the methods of `attribute`."""

# Numbers of points on the path from the baseline, tried until the scores sum up.
POINTS = (16, 32, 64, 128, 256)
COMPLETE = 0.01
ROWS = 64  # computed at a time


@dataclass(frozen=True)
class Attribution:
    """What each token contributed to a model's output.

    Attributes:
        method: One of `METHODS`.
        target: What is explained: "positive", or the next word.
        words: The tokens of the text that the model has read.
        scores: The contribution of each, `(words,)`, in the output's unit.
        output: The logit of a sentiment; the log-probability of a next word, in nats.
        baseline: The output without any word, as the method defines it (with "prefix"
            and a next-word model, or one that takes a mean over words: after its first
            token), so that `output` = `baseline` + the sum of `scores` + `rest`.
        rest: The part that the scores leave unexplained. With "decomposition" the
            interactions of words, which belong to no single one.
        outputs: With "prefix" the output after each word, `(words,)`.
    """

    method: str
    target: str
    words: tuple[str, ...]
    scores: np.ndarray
    output: float
    baseline: float
    rest: float
    outputs: np.ndarray | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the scores explain `output` - `baseline` within 1%."""
        return abs(self.rest) <= COMPLETE * abs(self.output - self.baseline)


def attribute(
    model: SentimentRun | NextWordRun | keras.Model,
    text: str | Sequence[int],
    method: str = "prefix",
    *,
    target: str | int | None = None,
) -> Attribution:
    """Attribute a model's output to the words of a text.

    `"prefix"`: the output if the text ended after each word; a word's score is the
    change that it makes. The scores sum up exactly.

    `"gradient"`: integrated gradients of the word vectors,

        score of t = sum over j of (x_tj - x'_tj) * mean over a of
                     d output / d x_tj at x' + a (x - x'),   a from 0 to 1

    where every vector of x' is that of the padding. The mean is taken at the points of
    a Gauss-Legendre rule, with more and more points until the scores sum to the
    difference of the outputs at x and x' within 1%; if 256 are not enough, a warning
    gives the missing part, which is in `rest`. Source: Sundararajan, Taly & Yan,
    "Axiomatic Attribution for Deep Networks", ICML 2017, equation 1.

    `"decomposition"`: a word's part of the LSTM's last state in a contextual
    decomposition; `decompose_phrases` computes it for phrases. For sentiment models
    with one unidirectional LSTM.

    Args:
        model: A run opened by `lstm_keras.load_run`; or a Keras model from ids
            `(batch, time)` to probabilities `(batch, 1)` by a sigmoid (sentiment), or
            to logits `(batch, time, vocabulary)` (next word).
        text: A text; for a Keras model its ids, `(time,)`.
        method: One of `METHODS`.
        target: The next word, or its id, whose log-probability is explained; the most
            probable one by default. For next-word models only.

    Raises:
        ValueError: The method is unknown, there are no ids (an empty text still has its
            START), or the method does not support the model or the target.
        TypeError: `text` is not a string where one is needed.
    """
    if method not in METHODS:
        raise ValueError(f"expected method as one of {METHODS}; received {method!r}")
    subject = _subject(model, text, target)
    return {
        "prefix": _prefix,
        "gradient": _integrated_gradients,
        "decomposition": _decomposition,
    }[method](subject)


def decompose_phrases(
    model: SentimentRun | NextWordRun | keras.Model,
    text: str | Sequence[int],
    phrases: Sequence[tuple[int, int]],
) -> list[tuple[float, float]]:
    """Return each phrase's contribution to a sentiment model's logit, and the rest.

    The two and the bias of the last layer sum to the logit exactly. See
    `decomposition.decompose_states` for the method and `attribute` for the errors.

    Args:
        model: See `attribute`.
        text: See `attribute`.
        phrases: Start and end (exclusive) of each, as positions in `words` of the
            result of `attribute`.
    """
    subject = _subject(model, text, None)
    count = len(subject.words)
    steps = np.zeros((len(phrases), len(subject.ids)), bool)
    for row, (start, end) in zip(steps, phrases, strict=True):
        if not 0 <= start < end <= count:
            raise ValueError(
                f"expected phrases within the {count} tokens {subject.words}; received "
                f"{(start, end)}"
            )
        row[subject.positions[start:end]] = True
    parts, rests, _ = _decomposed(subject, steps)
    return list(zip(parts.tolist(), rests.tolist(), strict=True))


@dataclass(frozen=True)
class _Subject:
    """A text as a model's input, and the output to explain.

    Attributes:
        model: The Keras model.
        ids: Its input, `(time,)` int32.
        words: A name for each token that is not padding.
        target: The next word's id, or None for sentiment.
        target_name: Its name.
    """

    model: keras.Model
    ids: np.ndarray
    words: Sequence[str]
    target: int | None
    target_name: str

    @property
    def positions(self) -> np.ndarray:
        """The steps of the tokens, `(words,)`."""
        return np.flatnonzero(self.ids != PADDING)

    @cached_property
    def embeddings(self) -> list[keras.layers.Embedding]:
        """The layers that look up word vectors, which here are one behind the other."""
        found = [
            layer
            for layer in self.model.layers
            if isinstance(layer, keras.layers.Embedding)
        ]
        if not found:
            raise ValueError(
                "expected a model with an Embedding among its layers; received "
                f"{_listed(self.model)}"
            )
        return found

    def vectors(self, ids) -> np.ndarray:
        """Return the word vectors of ids `(batch, time)`, `(batch, time, size)`."""
        with keras.StatelessScope():
            found = [ops.convert_to_numpy(one(ids)) for one in self.embeddings]
        return np.concatenate(found, axis=-1).astype(np.float32)

    def outputs(self, ids):
        """Return the output to explain, `(batch,)`, of each row of ids."""
        if self.target is not None:
            logits = self.model(ids, training=False)[:, self.positions[-1]]
            return ops.log_softmax(logits)[:, self.target]
        head = _sigmoid_head(self.model)
        # Not computed from the probability, which may round to 0 or 1.
        with replaced(head, activation=keras.activations.linear):
            return self.model(ids, training=False)[:, 0]

    def logits(self) -> np.ndarray:
        """Return a next-word model's logits after each id, `(time, vocabulary)`."""
        with keras.StatelessScope():
            return ops.convert_to_numpy(self.model(self.ids[None], training=False)[0])

    def numbers(self, ids) -> np.ndarray:
        """Return `outputs` as a NumPy array, computed in batches."""
        with keras.StatelessScope():
            batches = [
                ops.convert_to_numpy(self.outputs(ids[start : start + ROWS]))
                for start in range(0, len(ids), ROWS)
            ]
        return np.concatenate(batches).astype(np.float64)

    def outputs_of_vectors(self, vectors):
        """Return `outputs` for these word vectors, `(batch, time, size)`."""
        calls, start = [], 0

        def looking_up(look_up, own):
            def call(inputs, **kwargs):  # tied embeddings also compute the logits
                if kwargs:
                    return look_up(inputs, **kwargs)
                calls.append(inputs)
                return own

            return call

        with contextlib.ExitStack() as stack:
            for one in self.embeddings:
                own = vectors[..., start : start + one.output_dim]
                call = looking_up(one.call, own)
                stack.enter_context(replaced(one, call=call))
                start += one.output_dim
            ids = np.repeat(self.ids[None], vectors.shape[0], axis=0)
            outputs = self.outputs(ids)
        if len(calls) != len(self.embeddings):
            raise ValueError(
                "expected a model that looks its ids up once in each embedding; "
                f"received {len(calls)} calls of {len(self.embeddings)}"
            )
        return outputs


def _subject(model, text, target) -> _Subject:
    if isinstance(model, SentimentRun):
        _refuse_target(target)
        subject = _Subject(model.model, *model.read(text), None, "positive")
    elif isinstance(model, NextWordRun):
        subject = _Subject(model.model, *model.read(text), None, "")
        if isinstance(target, str):
            target = _id_of(target, model.vocabulary)
        subject = _with_target(subject, target, model.name_of)
    else:
        subject = _subject_of_ids(model, text, target)
    return _check_words(subject)


def _check_words(subject: _Subject) -> _Subject:
    if not len(subject.words):
        raise ValueError("expected a text with at least one token; received none")
    if np.ptp(subject.positions) >= len(subject.words):
        raise ValueError(
            f"expected padding before or behind the tokens; received {subject.ids}"
        )
    return subject


def _subject_of_ids(model, ids, target) -> _Subject:
    if not isinstance(model, keras.Model):
        raise ValueError(
            "expected a run of lstm_keras.load_run or a Keras model; received "
            f"{type(model).__name__}"
        )
    if isinstance(ids, str):
        raise ValueError(
            "expected ids (time,) for a Keras model, which has no vocabulary (a run of "
            f"lstm_keras.load_run has one); received {ids!r:.80}"
        )
    ids = np.asarray(ids)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"expected whole numbers of shape (time,); received {ids.dtype} of shape "
            f"{ids.shape}"
        )
    sizes = [e.input_dim for e in model.layers if isinstance(e, keras.layers.Embedding)]
    most = min(sizes, default=np.inf)
    if not all(0 <= i < most for i in ids):
        raise ValueError(f"expected ids in [0, {most}); received {ids}")
    if getattr(model, "output_shape", None) is None:  # a subclass, or not built
        raise ValueError(
            "expected a built Sequential or functional model; received "
            f"{model.name!r}, whose output shape is unknown"
        )
    subject = _Subject(
        model, ids.astype(np.int32), [str(i) for i in ids if i != PADDING], None, ""
    )
    if len(model.output_shape) == 3:
        return _with_target(subject, target, str)
    _refuse_target(target)
    return dataclasses.replace(subject, target_name="positive")


def _with_target(subject: _Subject, target: int | None, name_of: Callable) -> _Subject:
    """Return a next-word subject with its target, by default the most probable one."""
    logits = _check_words(subject).logits()[subject.positions[-1]]
    if target is None:
        target = most_probable(logits, 1)[0]
    if not isinstance(target, numbers.Integral) or not 0 <= target < len(logits):
        raise ValueError(
            f"expected a target in [0, {len(logits)}); received {target!r}"
        )
    return dataclasses.replace(
        subject, target=int(target), target_name=name_of(int(target))
    )


def _id_of(word: str, vocabulary) -> int:
    if word not in vocabulary:
        raise ValueError(
            f"expected a target of the model's vocabulary; received {word!r}"
        )
    return vocabulary.id_of(word)


def _refuse_target(target) -> None:
    if target is not None:
        raise ValueError(
            "expected a target for a next-word model only; a sentiment model explains "
            f"its logit of positive; received target={target!r}"
        )


def _prefix(subject: _Subject) -> Attribution:
    count = len(subject.words)
    if subject.target is None:
        outputs = subject.numbers(
            np.stack([_beginning(subject, n) for n in range(count + 1)])
        )
        baseline, outputs = outputs[0], outputs[1:]
        if np.isnan(baseline):  # the mean over no words
            baseline = outputs[0]
    else:
        # Each step depends only on the words up to it, the first of which is START.
        outputs = ops.log_softmax(subject.logits())[:, subject.target]
        outputs = ops.convert_to_numpy(outputs)
        outputs = outputs.astype(np.float64)[subject.positions]
        baseline = outputs[0]
    scores = np.diff(outputs, prepend=baseline)
    return _attribution("prefix", subject, scores, outputs[-1], baseline, outputs)


def _beginning(subject: _Subject, count: int) -> np.ndarray:
    """Return the ids of the first `count` tokens, padded on the text's padded side."""
    ids = np.full_like(subject.ids, PADDING)
    tokens = subject.ids[subject.positions][:count]
    padded_behind = subject.ids[0] != PADDING and subject.ids[-1] == PADDING
    start = 0 if padded_behind else len(ids) - count
    ids[start : start + count] = tokens
    return ids


def _integrated_gradients(subject: _Subject) -> Attribution:
    ids = np.stack([subject.ids, np.full_like(subject.ids, PADDING)])
    text, padding = subject.vectors(ids)
    with keras.StatelessScope():
        ends = ops.convert_to_numpy(
            subject.outputs_of_vectors(np.stack([padding, text]))
        )
    baseline, output = ends.astype(np.float64)
    for points in POINTS:
        scores = (text - padding) * _mean_gradient(subject, padding, text, points)
        scores = scores.sum(axis=-1, dtype=np.float64)
        rest = output - baseline - scores.sum()
        if abs(rest) <= COMPLETE * abs(output - baseline):
            break
    else:
        warnings.warn(
            f"the gradients at {points} points leave {rest:.3g} of the difference of "
            f"{output - baseline:.3g} unexplained",
            stacklevel=3,
        )
    return _attribution(
        "gradient", subject, scores[subject.positions], output, baseline
    )


def _mean_gradient(subject: _Subject, start, end, points: int) -> np.ndarray:
    """Return the mean gradient by the word vectors on the path, `(time, size)`."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    total = np.zeros(())
    for first in range(0, points, ROWS):
        at = (nodes[first : first + ROWS, None, None] + 1) / 2
        (found,) = gradients(
            lambda vectors: ops.sum(subject.outputs_of_vectors(vectors)),
            [(start + at * (end - start)).astype(np.float32)],
        )
        # The rule is for an interval of length 2.
        total = total + np.tensordot(weights[first : first + ROWS] / 2, found, axes=1)
    return total


def _decomposition(subject: _Subject) -> Attribution:
    words = np.zeros((len(subject.words), len(subject.ids)), bool)
    words[np.arange(len(words)), subject.positions] = True
    scores, rests, bias = _decomposed(subject, words)
    output = scores[0] + rests[0] + bias
    return _attribution("decomposition", subject, scores, output, bias)


def _decomposed(subject: _Subject, steps: np.ndarray) -> tuple:
    """Return the phrases' contributions, `(phrases,)`, the rests, and the bias."""
    embedding, lstm, head = _parts(subject)
    vectors = ops.convert_to_numpy(embedding(subject.ids[None]))[0]
    mask = (
        subject.ids != PADDING if embedding.mask_zero else np.ones(len(steps[0]), bool)
    )
    order = slice(None, None, -1 if lstm.go_backwards else 1)
    cell = lstm.cell
    kernel, recurrent_kernel, *bias = map(
        ops.convert_to_numpy,
        (w for w in (cell.kernel, cell.recurrent_kernel, cell.bias) if w is not None),
    )
    beta, gamma = decompose_states(
        vectors[order],
        kernel,
        recurrent_kernel,
        bias[0] if bias else None,
        steps[:, order],
        mask[order],
    )
    weights = ops.convert_to_numpy(head.kernel).astype(np.float64)[:, 0]
    bias = 0.0 if head.bias is None else float(ops.convert_to_numpy(head.bias)[0])
    return beta @ weights, gamma @ weights, bias


def _parts(subject: _Subject) -> tuple:
    """Return embedding, LSTM and head of a model that can be decomposed."""
    chain = [
        layer
        for layer in subject.model.layers
        if not isinstance(layer, (keras.layers.InputLayer, keras.layers.Dropout))
    ]
    kinds = (keras.layers.Embedding, keras.layers.RNN, keras.layers.Dense)
    fits = (
        subject.target is None
        and len(chain) == 3
        and all(map(isinstance, chain, kinds))
        and _decomposable(chain[1])
    )
    if not fits:
        raise ValueError(
            "expected a sentiment model to decompose: Embedding, one LSTM with tanh "
            "and sigmoid that returns its last output only, Dense(1); received "
            f"{_listed(subject.model)}"
        )
    return chain[0], chain[1], _sigmoid_head(subject.model)


def _decomposable(lstm) -> bool:
    return (
        type(lstm.cell) in LSTM_CELLS
        and not lstm.return_sequences
        and not lstm.return_state
        and not lstm.stateful
        and not getattr(lstm, "learn_initial_state", False)
        and lstm.cell.activation is keras.activations.tanh
        and lstm.cell.recurrent_activation is keras.activations.sigmoid
    )


def _sigmoid_head(model):
    head = model.layers[-1]
    fits = (
        isinstance(head, keras.layers.Dense)
        and head.units == 1
        and head.activation is keras.activations.sigmoid
    )
    if not fits:
        raise ValueError(
            "expected a model that ends with Dense(1, activation='sigmoid'), or one "
            f"with logits (batch, time, vocabulary); received {_listed(model)}"
        )
    return head


def _listed(model) -> str:
    return ", ".join(f"{type(one).__name__} {one.name!r}" for one in model.layers)


def _attribution(method, subject, scores, output, baseline, outputs=None):
    return Attribution(
        method=method,
        target=subject.target_name,
        words=tuple(subject.words),
        scores=scores,
        output=float(output),
        baseline=float(baseline),
        rest=float(output - baseline - scores.sum()),
        outputs=outputs,
    )
