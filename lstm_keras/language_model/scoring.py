"""Score every token of a text with a next-word model."""

import numpy as np

from lstm_keras.evaluation.language import TokenScores
from lstm_keras.language_model.model import LanguageModel, zero_states
from lstm_keras.preprocessing.batches import SentenceBatches, StreamWindows
from lstm_keras.preprocessing.next_word import sentences

EVALUATION_BATCH = 32  # sentences scored at a time
EVALUATION_STEPS = 256  # steps of a stream scored at a time


def score(parts: LanguageModel, ids: np.ndarray, *, stream: bool) -> TokenScores:
    """Score every token of a text.

    Args:
        parts: The model.
        ids: The text `(tokens,)`.
        stream: Whether the states are carried through the whole text; if not, every
            sentence begins with zero states.
    """
    scores = (_score_stream if stream else _score_sentences)(parts, ids)
    return TokenScores(
        targets=ids,
        log_probability=scores[:, 0],
        rank=scores[:, 1].astype(np.int32),
        top_probability=np.minimum(scores[:, 2], 1),
    )


def _score_sentences(parts: LanguageModel, ids: np.ndarray) -> np.ndarray:
    texts = sentences(ids)
    batches = SentenceBatches(texts, EVALUATION_BATCH)
    scores = [np.empty(0)] * len(texts)
    for chosen, (inputs, targets) in zip(batches.order(0), batches, strict=True):
        states = zero_states(parts.carry, len(chosen))
        rows, *_ = parts.scorer.predict_on_batch([inputs, targets, *states])
        for i, row in zip(chosen, rows, strict=True):
            scores[i] = row[: len(texts[i])]
    return np.concatenate(scores)


def _score_stream(parts: LanguageModel, ids: np.ndarray) -> np.ndarray:
    states, scores = zero_states(parts.carry, 1), []
    for inputs, targets in StreamWindows(ids, 1, EVALUATION_STEPS):
        rows, *states = parts.scorer.predict_on_batch([inputs, targets, *states])
        scores.append(rows[0])
    return np.concatenate(scores)[: len(ids)]
