"""Turn text into padded word ids, examples and batches.

Ids follow `keras.datasets.imdb` at `index_from=3`: 0 pads, 1 starts every text,
2 stands for a word outside the vocabulary, and the words start at 4, the most frequent
first. 3, which Keras leaves unused, ends a sentence or a line for language models.
"""

from lstm_keras.preprocessing.batches import (
    EpochBatches,
    ExampleBatches,
    PrefixBatches,
    SentenceBatches,
    StreamWindows,
)
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
    shuffle_sentences,
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
    "EpochBatches",
    "ExampleBatches",
    "PrefixBatches",
    "SentenceBatches",
    "StreamWindows",
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
    "shuffle_sentences",
    "tokenize",
]
