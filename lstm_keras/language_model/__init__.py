"""Next-word models: build, train, evaluate and generate text with them."""

from lstm_keras.language_model.generation import (
    Continuation,
    Sampling,
    Stepper,
    beam_search,
    sample,
    stream,
)
from lstm_keras.language_model.losses import (
    linear_cross_entropy,
    sampled_cross_entropy,
    score_tokens,
)
from lstm_keras.language_model.model import (
    LanguageModel,
    TiedEmbedding,
    TokenScorer,
    build_language_model,
    carry_states,
    scoring_model,
    zero_states,
)
from lstm_keras.language_model.scoring import score
from lstm_keras.language_model.training import (
    LanguageModelTrainer,
    ResetStates,
    start_at_unigrams,
)

__all__ = [
    "Continuation",
    "LanguageModel",
    "LanguageModelTrainer",
    "ResetStates",
    "Sampling",
    "Stepper",
    "TiedEmbedding",
    "TokenScorer",
    "beam_search",
    "build_language_model",
    "carry_states",
    "linear_cross_entropy",
    "sample",
    "sampled_cross_entropy",
    "score",
    "score_tokens",
    "scoring_model",
    "start_at_unigrams",
    "stream",
    "zero_states",
]
