"""Text to padded word ids: tokenize, count, encode, pad, make examples.

Ids follow `keras.datasets.imdb` at `index_from=3`: 0 pads, 1 starts every text,
2 stands for a word outside the vocabulary, and the words come from 4 on, the most
frequent first. 3, which Keras leaves unused, ends a sentence or a line where the next
word is predicted.
"""

from lstm_keras.preprocessing.next_word import (
    Streams,
    length_batches,
    prefixes,
    sentences,
    shift,
)
from lstm_keras.preprocessing.tokenizers import (
    TOKENIZERS,
    join_tokens,
    tokenize,
)
from lstm_keras.preprocessing.vocabulary import (
    END,
    FIRST_WORD,
    OOV,
    PADDING,
    START,
    Vocabulary,
    check_whole,
    length_mask,
    limit_ids,
    pad,
)

__all__ = [
    "END",
    "FIRST_WORD",
    "OOV",
    "PADDING",
    "START",
    "TOKENIZERS",
    "Streams",
    "Vocabulary",
    "check_whole",
    "join_tokens",
    "length_batches",
    "length_mask",
    "limit_ids",
    "pad",
    "prefixes",
    "sentences",
    "shift",
    "tokenize",
]
