"""Generate text token by token with a next-word model, carrying its states along."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from lstm_keras.language_model.model import TiedEmbedding, carry_states, zero_states
from lstm_keras.preprocessing.vocabulary import END, OOV, PADDING, START, check_whole

# A prompt is read in pieces of this length, then token by token: only two shapes are
# compiled.
_PIECE = 32


class Stepper:
    """A next-word model that takes its states as inputs and returns them.

    Args:
        model: A Keras model from ids `(batch, time)` to logits `(batch, time,
            vocabulary)`, with the layers of `build_language_model`.

    Attributes:
        model: A Keras model from ids and states to the logits of the next token,
            `(batch, vocabulary)`, and the new states.

    Raises:
        ValueError: The model has other layers.
    """

    def __init__(self, model: keras.Model):
        *chain, head = _parts(model)
        carry = carry_states(chain)
        last = carry.outputs[0][:, -1]
        logits = head(last, reverse=True) if head is chain[0] else head(last)
        self.model = keras.Model(carry.inputs, [logits, *carry.outputs[1:]])
        self._carry = carry

    def start(self, batch_size: int = 1) -> list[np.ndarray]:
        """Return the states before the first token: zeros `(batch_size, units)`."""
        return zero_states(self._carry, batch_size)

    def feed(
        self, ids: np.ndarray, states: list[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Read ids `(batch, time)`, `time >= 1`, starting with these states.

        Returns:
            The log-probabilities of the next token, float64 `(batch, vocabulary)`, in
            nats, and the states after the last.
        """
        end = ids.shape[1] - ids.shape[1] % _PIECE
        pieces = [ids[:, i : i + _PIECE] for i in range(0, end, _PIECE)]
        pieces += [ids[:, i : i + 1] for i in range(end, ids.shape[1])]
        for piece in pieces:
            logits, *states = self.model.predict_on_batch([piece, *states])
        logits = np.asarray(logits, np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logits, states


def _parts(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers in order: embedding, recurrent layers, logits."""
    inert = keras.layers.InputLayer | keras.layers.Dropout
    parts = [layer for layer in model.layers if not isinstance(layer, inert)]
    if isinstance(parts[0], TiedEmbedding):
        parts.append(parts[0])
    fits = (
        len(parts) >= 3
        and isinstance(parts[0], keras.layers.Embedding)
        and all(isinstance(layer, keras.layers.RNN) for layer in parts[1:-1])
        and all(layer.return_state for layer in parts[1:-1])
        and isinstance(parts[-1], keras.layers.Dense | TiedEmbedding)
    )
    if not fits:
        raise ValueError(
            "expected a model of an embedding, recurrent layers that return their "
            "states, and logits; received the layers "
            f"{[layer.__class__.__name__ for layer in model.layers]}"
        )
    return parts


@dataclass(frozen=True)
class Continuation:
    """A continuation of a prompt.

    Attributes:
        ids: The new ids, without the prompt and the final `END`.
        log_probability: Log-probability of these tokens and the final `END`, under the
            model at temperature 1, in nats.
        ended: Whether the model ended the text by itself.
    """

    ids: list[int]
    log_probability: float
    ended: bool


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: Divisor of the logits; 0 chooses the most probable token.
        top_k: Sample only from this number of most probable tokens.
        top_p: Sample only from the smallest set of most probable tokens whose total
            probability is at least this (nucleus sampling: Holtzman et al., "The
            Curious Case of Neural Text Degeneration", ICLR 2020).

    Raises:
        ValueError: A negative or infinite temperature, 0 with `top_k` or `top_p`,
            `top_k < 1`, or `top_p` outside (0, 1].
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self):
        if not 0 <= self.temperature < math.inf:
            raise ValueError(
                f"expected a temperature of at least 0; received {self.temperature!r}"
            )
        if not self.temperature and (self.top_k, self.top_p) != (None, None):
            raise ValueError(
                "expected a temperature above 0 with top_k or top_p; "
                f"received {self.temperature!r}"
            )
        if self.top_k is not None:
            check_whole("top_k", self.top_k, 1)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"expected top_p in (0, 1]; received {self.top_p!r}")

    def probabilities(self, log_probabilities: np.ndarray) -> np.ndarray:
        """Return the probabilities `(vocabulary,)` to sample the next token with."""
        if not self.temperature:
            probabilities = np.zeros(len(log_probabilities))
            probabilities[np.argmax(log_probabilities)] = 1
            return probabilities
        scaled = (log_probabilities - log_probabilities.max()) / self.temperature
        probabilities = np.exp(scaled)
        probabilities /= probabilities.sum()
        order = np.argsort(-probabilities, kind="stable")
        if self.top_k is not None:
            probabilities[order[self.top_k :]] = 0
        if self.top_p is not None:
            before = np.cumsum(probabilities[order]) - probabilities[order]
            probabilities[order[before >= self.top_p * probabilities.sum()]] = 0
        return probabilities / probabilities.sum()


def sample(
    stepper: Stepper,
    prompt: np.ndarray,
    tokens: int,
    sampling: Sampling,
    *,
    stop_at_end: bool,
    seed: int | None = None,
) -> Continuation:
    """Continue a prompt token by token.

    Args:
        stepper: The model.
        prompt: Ids `(time,)`, at least one.
        tokens: Maximum number of new tokens.
        sampling: How each token is chosen.
        stop_at_end: Whether `END` ends the text, or is a token like any other.
        seed: Seed of the sampling.
    """
    texts = stream(
        stepper, prompt, tokens, sampling, stop_at_end=stop_at_end, seed=seed
    )
    last = deque(texts, maxlen=1)
    return last[0] if last else Continuation([], 0.0, ended=False)


def stream(
    stepper: Stepper,
    prompt: np.ndarray,
    tokens: int,
    sampling: Sampling,
    *,
    stop_at_end: bool,
    seed: int | None = None,
) -> Iterator[Continuation]:
    """Yield what `sample` returns after each token, to show a text that grows."""
    rng = np.random.default_rng(seed)
    log_probabilities, states = stepper.feed(prompt[None], stepper.start())
    ids: list[int] = []
    total = 0.0
    for _ in range(tokens):
        allowed = only_writable(log_probabilities[0])
        chosen = int(rng.choice(len(allowed), p=sampling.probabilities(allowed)))
        total += float(log_probabilities[0, chosen])
        if chosen == END and stop_at_end:
            yield Continuation(ids, total, ended=True)
            return
        ids = [*ids, chosen]
        yield Continuation(ids, total, ended=False)
        if len(ids) < tokens:
            log_probabilities, states = stepper.feed(np.array([[chosen]]), states)


def beam_search(
    stepper: Stepper,
    prompt: np.ndarray,
    tokens: int,
    width: int,
    *,
    stop_at_end: bool,
) -> Continuation:
    """Search for the most probable continuation, keeping `width` of them at a time.

    Continuations of different lengths are compared by their mean log-probability per
    token, since every token decreases the sum.

    Args:
        stepper: The model.
        prompt: Ids `(time,)`, at least one.
        tokens: Maximum number of new tokens.
        width: Number of continuations in the beam.
        stop_at_end: Whether `END` ends a continuation.
    """
    texts = beam_stream(stepper, prompt, tokens, width, stop_at_end=stop_at_end)
    return deque(texts, maxlen=1)[0]


def beam_stream(
    stepper: Stepper,
    prompt: np.ndarray,
    tokens: int,
    width: int,
    *,
    stop_at_end: bool,
) -> Iterator[Continuation]:
    """Yield the best continuation so far after each step of `beam_search`."""
    log_probabilities, states = stepper.feed(prompt[None], stepper.start())
    beams, finished = [Continuation([], 0.0, ended=False)], []
    for step in range(tokens):
        if not beams:
            break
        totals = np.array([[beam.log_probability] for beam in beams])
        totals = totals + np.stack([only_writable(row) for row in log_probabilities])
        best = np.argsort(-totals, axis=None, kind="stable")[: 2 * width]
        parents: list[int] = []
        extended: list[Continuation] = []
        for parent, token in zip(*np.unravel_index(best, totals.shape), strict=True):
            total = float(totals[parent, token])
            ids = beams[parent].ids
            if token == END and stop_at_end:
                finished.append(Continuation(ids, total, ended=True))
            elif len(extended) < width and total > -math.inf:
                extended.append(Continuation([*ids, int(token)], total, ended=False))
                parents.append(parent)
        beams = extended
        yield max(
            finished + beams,
            key=lambda beam: beam.log_probability / (len(beam.ids) + beam.ended),
        )
        if step + 1 < tokens and beams:
            states = [state[parents] for state in states]
            last = np.array([[beam.ids[-1]] for beam in beams])
            log_probabilities, states = stepper.feed(last, states)


def only_writable(log_probabilities: np.ndarray) -> np.ndarray:
    """Return a copy in which padding, start and out-of-vocabulary are impossible."""
    allowed = log_probabilities.copy()
    allowed[[PADDING, START, OOV]] = -np.inf
    return allowed


def most_probable(log_probabilities: np.ndarray, count: int) -> Sequence[int]:
    """Return the ids that can be written, the most probable first, at most `count`."""
    allowed = only_writable(log_probabilities)
    order = np.argsort(-allowed, kind="stable")[:count]
    return order[np.isfinite(allowed[order])].tolist()
