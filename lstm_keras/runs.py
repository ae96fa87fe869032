"""A finished sentiment run, read back from its folder to classify new texts."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

import lstm_keras.layer  # noqa: F401  registers the layer, for load_model
from lstm_keras.preprocessing import OOV, START, Vocabulary, pad


@dataclass(frozen=True)
class Prediction:
    """What a model says about one text.

    Attributes:
        text: The text, unchanged.
        label: "positive" or "negative".
        probability: Probability of "positive".
        words: Number of words in the text.
        unknown: How many of them the vocabulary lacks.
        read: How many of them the model read: it reads the last `maxlen` ids.
    """

    text: str
    label: str
    probability: float
    words: int
    unknown: int
    read: int


@dataclass(frozen=True)
class SentimentRun:
    """A trained model with all it needs to be used.

    Attributes:
        path: The run folder.
        config: The settings of the training, from `config.json`.
        vocabulary: From `vocabulary.json`.
        model: From `model.keras`; maps ids `(batch, maxlen)` int32 to probabilities
            `(batch, 1)`.
    """

    path: Path
    config: dict
    vocabulary: Vocabulary
    model: keras.Model

    def predict(self, texts: Sequence[str], batch_size: int = 64) -> list[Prediction]:
        """Classify texts.

        A text without a known word is classified, too: `words` and `unknown` tell.

        Args:
            texts: Any number of texts of any length.
            batch_size: How many the model sees at once.

        Raises:
            TypeError: `texts` is one string, or holds something else than strings.
        """
        texts = texts if isinstance(texts, str) else list(texts)
        sequences = self.vocabulary.encode_all(texts)
        if not sequences:
            return []
        maxlen = self.config["maxlen"]
        probabilities = self.model.predict(
            pad(sequences, maxlen), batch_size=batch_size, verbose=0
        )[:, 0]
        return [
            Prediction(
                text=text,
                label="positive" if probability > 0.5 else "negative",
                probability=float(probability),
                words=len(ids) - 1,
                unknown=int((ids == OOV).sum()),
                read=int((ids[-maxlen:] != START).sum()),
            )
            for text, ids, probability in zip(
                texts, sequences, probabilities, strict=True
            )
        ]


def load_run(path: str | Path) -> SentimentRun:
    """Open a run folder that `python -m experiments.imdb_sentiment` wrote.

    The model is loaded in Keras's safe mode.

    Raises:
        FileNotFoundError: The folder, or a file in it, is missing.
        ValueError: A file cannot be read, or the vocabulary does not fit the model.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"expected a run folder; there is none at {path}")
    for name in ("config.json", "vocabulary.json", "model.keras"):
        if not (path / name).is_file():
            raise FileNotFoundError(f"expected {name} in the run folder {path}")
    config = _load_config(path / "config.json")
    vocabulary = Vocabulary.load(path / "vocabulary.json")
    model = _load_model(path / "model.keras")
    _check_fit(model, vocabulary, config["maxlen"], path)
    return SentimentRun(path, config, vocabulary, model)


def _load_config(path: Path) -> dict:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"expected JSON in {path}; received {error}") from error
    maxlen = config.get("maxlen") if isinstance(config, dict) else None
    if type(maxlen) is not int or maxlen < 1:
        raise ValueError(
            f"expected a positive integer maxlen in {path}; received {maxlen!r}"
        )
    return config


def _load_model(path: Path) -> keras.Model:
    if not zipfile.is_zipfile(path):  # Keras would say that there is no such file
        raise ValueError(
            f"expected a Keras model in {path}; received no whole zip file"
        )
    try:
        return keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"expected a Keras model in {path}; {error}") from error


def _check_fit(
    model: keras.Model, vocabulary: Vocabulary, maxlen: int, path: Path
) -> None:
    sizes = [
        layer.input_dim
        for layer in model.layers
        if isinstance(layer, keras.layers.Embedding)
    ]
    if sizes != [len(vocabulary)] or model.input_shape != (None, maxlen):
        raise ValueError(
            f"expected a model in {path} with one embedding of the vocabulary's "
            f"{len(vocabulary)} ids and inputs (None, {maxlen}); received embeddings "
            f"of {sizes} ids and inputs {model.input_shape}"
        )
