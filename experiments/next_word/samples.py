"""What a trained model writes, and which words it expects, in a text that exists."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lstm_keras.preprocessing import OOV, START, sentences
from lstm_keras.runs import NextWordRun

COUNT = 5  # sentences to look at
SHORTEST, LONGEST = 3, 12  # tokens of a beginning
TOKENS = 20  # of a continuation
ALONE = 60  # of a text that begins with nothing
TEMPERATURE = 0.8


@dataclass(frozen=True)
class Sample:
    """The beginning of a sentence, how it goes on, and what the model makes of it.

    Of a text that is read backwards it is the end, and what comes before.

    Attributes:
        beginning: The first words.
        rest: The words after them in the text, as many as the model may write.
        following: The first of these, or "[END]".
        probability: The model's probability of it.
        expected: The most probable next words, with their probabilities.
        greedy: The model's continuation by the most probable word each time.
        sampled: Its continuation at `TEMPERATURE`.
    """

    beginning: str
    rest: str
    following: str
    probability: float
    expected: list[tuple[str, float]]
    greedy: str
    sampled: str


def alone(run: NextWordRun, seed: int) -> str:
    """Return what a model writes at `TEMPERATURE` after nothing."""
    return run.generate("", ALONE, temperature=TEMPERATURE, seed=seed).text


def samples(run: NextWordRun, ids: np.ndarray, seed: int) -> list[Sample]:
    """Return what a model makes of sentences of a text, chosen by the seed.

    There are fewer than `COUNT` if the text has no more.

    Args:
        run: The model.
        ids: The text `(tokens,)`.
        seed: Seed of the choice and of the sampling.
    """
    found: dict[str, Sample] = {}
    for sentence, cut in cuts(run, ids, seed):
        beginning = in_reading_order(run, sentence[:cut])
        if beginning in found:
            continue
        rest = sentence[cut : cut + TOKENS]
        expected = run.next_words(beginning, len(run.vocabulary))
        following = run.name_of(sentence[cut])
        greedy, sampled = (
            run.generate(beginning, TOKENS, **sampling).continuation.strip()
            for sampling in ({}, {"temperature": TEMPERATURE, "seed": seed})
        )
        found[beginning] = Sample(
            beginning,
            run.continuation(np.append(START, sentence[:cut]), rest).strip(),
            following,
            dict(expected)[following],
            expected[:5],
            greedy,
            sampled,
        )
        if len(found) == COUNT:
            break
    return [*found.values()]


def in_reading_order(run: NextWordRun, ids: np.ndarray) -> str:
    """Return ids in the model's order as text."""
    return run.vocabulary.decode(ids[::-1] if run.backwards else ids)


def cuts(
    run: NextWordRun, ids: np.ndarray, seed: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield sentences of a text and the place to cut each, in an order by the seed.

    What is before the cut has known words only, as has the token after it, and becomes
    the same words again if it is written and read.
    """
    rng = np.random.default_rng(seed)
    texts = [text for text in sentences(ids) if len(text) > SHORTEST]
    for number in rng.permutation(len(texts)):
        text = texts[number]
        cut = int(rng.integers(SHORTEST, min(len(text), LONGEST + 1)))
        read, _ = run.read(in_reading_order(run, text[:cut]))
        if OOV not in text[: cut + 1] and np.array_equal(read[1:], text[:cut]):
            yield text, cut
