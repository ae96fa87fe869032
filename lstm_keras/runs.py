"""Open a finished run's folder, to classify texts or to generate them."""

import contextlib
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import keras
import numpy as np

import lstm_keras.layer
import lstm_keras.pooling  # noqa: F401  registers the layers, for load_model
from lstm_keras.language_model.generation import (
    Sampling,
    Stepper,
    beam_search,
    most_probable,
    sample,
)
from lstm_keras.preprocessing.tokenizers import tokenize
from lstm_keras.preprocessing.vocabulary import (
    END,
    FIRST_WORD,
    OOV,
    PADDING,
    START,
    START_NAME,
    UNKNOWN,
    Vocabulary,
    check_whole,
    pad,
)

# Between these probabilities of "positive", ends included, a text has neither label.
UNDECIDED = (0.45, 0.55)

# Exactly what Keras writes: it would unpack a file with other members into a temporary
# folder.
_MODEL_FILES = ["config.json", "metadata.json", "model.weights.h5"]
# Keras does not compress. These limits refuse a zip bomb, but not a recompressed file.
MAX_MODEL_BYTES = 4 << 30
MAX_EXPANSION = 10
_SMALL_MODEL_BYTES = 16 << 20


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one text.

    Attributes:
        text: The text, unchanged.
        label: "positive", "negative", or "undecided" (a `probability` from 0.45 to
            0.55); None if the model knows none of the words that it read.
        probability: Probability of "positive".
        words: Number of words in the text.
        unknown: Number of them that are not in the vocabulary.
        read: Number of them that the model read: it reads the last `maxlen` ids.
    """

    text: str
    label: str | None
    probability: float
    words: int
    unknown: int
    read: int


@dataclass(frozen=True, repr=False)
class _Run:
    """A trained model with its vocabulary and settings."""

    path: Path
    config: dict
    vocabulary: Vocabulary
    model: keras.Model

    def __repr__(self) -> str:
        """Return kind and folder, the sizes of the model, and its score if known."""
        layers = (
            (type(layer).__name__, getattr(layer, "forward_layer", layer))
            for layer in self.model.layers
        )
        facts = [
            f"{len(self.vocabulary.words):,} words",
            *(
                f"{name}({layer.units})"
                for name, layer in layers
                if isinstance(layer, keras.layers.RNN)
            ),
            f"{self.model.count_params():,} parameters",
        ]
        # Not every run has the metrics, and a broken file is no reason to fail here.
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            text = (self.path / "metrics.json").read_text("utf-8")
            facts.append(self._score(json.loads(text)))
        return f"{type(self).__name__}({str(self.path)!r}: {', '.join(facts)})"

    def _score(self, metrics: dict) -> str:
        """Return the score of the model, given the content of `metrics.json`."""
        raise NotImplementedError


class SentimentRun(_Run):
    """A sentiment model, from ids `(batch, maxlen)` to probabilities `(batch, 1)`.

    Attributes:
        path: The run folder.
        config: The settings of the training run, from `config.json`.
        vocabulary: From `vocabulary.json`.
        model: From `model.keras`.
    """

    def read(self, text: str) -> tuple[np.ndarray, list[str]]:
        """Return a text as the model's input.

        Returns:
            The padded ids, `(maxlen,)` int32, and a name for each that is not padding:
            the token itself, marked if it is not in the vocabulary.

        Raises:
            TypeError: `text` is not a string.
        """
        ids = pad(self.vocabulary.encode_all([text]), self.config["maxlen"])[0]
        tokens = tokenize(text, self.vocabulary.tokenizer)
        marked = [t if t in self.vocabulary else f"{t} {UNKNOWN}" for t in tokens]
        return ids, [START_NAME, *marked][-np.count_nonzero(ids) :]

    @overload  # a string is an iterable of strings, too
    def predict(  # type: ignore[overload-overlap]
        self, texts: str, batch_size: int = 64
    ) -> Prediction: ...

    @overload
    def predict(
        self, texts: Iterable[str], batch_size: int = 64
    ) -> list[Prediction]: ...

    def predict(
        self, texts: str | Iterable[str], batch_size: int = 64
    ) -> Prediction | list[Prediction]:
        """Classify texts.

        Args:
            texts: Any number of texts of any length, or a single string.
            batch_size: Texts at a time.

        Returns:
            A `Prediction` for each text, in a list; for a single string it alone.

        Raises:
            TypeError: `texts` contains something other than strings.
            ValueError: `batch_size` is not a whole number of at least 1.
        """
        check_whole("batch_size", batch_size, 1)
        if isinstance(texts, str):
            return self.predict([texts], batch_size)[0]
        texts = list(texts)
        sequences = self.vocabulary.encode_all(texts)
        if not sequences:
            return []
        probabilities = self.model.predict(
            pad(sequences, self.config["maxlen"]),
            batch_size=min(batch_size, len(sequences)),
            verbose=0,
        )[:, 0]
        return [
            self._prediction(text, ids, float(probability))
            for text, ids, probability in zip(
                texts, sequences, probabilities, strict=True
            )
        ]

    def _prediction(self, text: str, ids: np.ndarray, probability: float) -> Prediction:
        read = ids[-self.config["maxlen"] :]
        label = "positive" if probability > 0.5 else "negative"
        if UNDECIDED[0] <= probability <= UNDECIDED[1]:
            label = "undecided"
        return Prediction(
            text=text,
            label=label if np.any(read >= FIRST_WORD) else None,
            probability=probability,
            words=len(ids) - 1,
            unknown=int((ids == OOV).sum()),
            read=int((read != START).sum()),
        )

    def _score(self, metrics: dict) -> str:
        (saved,) = (
            one for one in metrics["runs"] if one["seed"] == metrics["saved_seed"]
        )
        return f"test accuracy {saved['test']['accuracy']:.4f}"


@dataclass(frozen=True)
class GeneratedText:
    """A model's continuation of a prompt.

    Attributes:
        text: The prompt, stripped of white space, and the continuation; the other way
            round if the model reads backwards.
        continuation: The new part.
        tokens: Number of new tokens.
        log_probability: Log-probability of the new tokens under the model, in nats.
        ended: Whether the model ended the text by itself.
    """

    text: str
    continuation: str
    tokens: int
    log_probability: float
    ended: bool


@dataclass(frozen=True, repr=False)
class NextWordRun(_Run):
    """A next-word model, from ids `(batch, time)` to logits `(batch, time, ids)`.

    Attributes:
        path: The run folder.
        config: The settings of the training run, from `config.json`.
        vocabulary: From `vocabulary.json`.
        model: From `model.keras`.
        stepper: Runs the model step by step.
    """

    stepper: Stepper

    def read(self, text: str) -> tuple[np.ndarray, list[str]]:
        """Return a text as the model's input.

        Returns:
            The ids, `(time,)` int32, and a name for each.

        Raises:
            TypeError: `text` is not a string.
        """
        ids = self._encode(text)
        return ids, [self.name_of(i) for i in ids]

    def name_of(self, i: int) -> str:
        """Return the word of an id, or the name of a special id."""
        special = {PADDING: "[PAD]", START: START_NAME, OOV: UNKNOWN, END: "[END]"}
        return special.get(i) or self.vocabulary.words[i - FIRST_WORD]

    def generate(
        self,
        prompt: str = "",
        tokens: int = 20,
        *,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        beam: int | None = None,
        seed: int | None = None,
    ) -> GeneratedText:
        """Continue a prompt at the cost of one step for each new token.

        The out-of-vocabulary token is never generated; unknown words in the prompt are
        read as such. A model that reads backwards writes what comes before the prompt.

        Args:
            prompt: The beginning of the text, or backwards its end; may be empty, and
                of any length.
            tokens: Maximum number of new tokens; a model of sentences may end earlier.
            temperature: Divisor of the logits before sampling. By default 1 with
                `top_k` or `top_p`; without them the most probable token is chosen.
            top_k: See `generation.Sampling`.
            top_p: See `generation.Sampling`.
            beam: Use beam search with this width instead of sampling.
            seed: Seed of the sampling.

        Raises:
            TypeError: The prompt is not a string.
            ValueError: A number is out of its range, or `beam` comes with sampling.
        """
        check_whole("tokens", tokens, 1)
        if seed is not None:
            check_whole("seed", seed, 0)
        ids, stop_at_end = self._encode(prompt), not self._stream
        drawing = (temperature, top_k, top_p, seed)
        if beam is not None:
            check_whole("beam", beam, 1)
            if any(value is not None for value in drawing):
                raise ValueError(
                    "expected beam search alone, which samples nothing; received beam "
                    "with temperature, top_k, top_p or seed"
                )
            written = beam_search(
                self.stepper, ids, tokens, beam, stop_at_end=stop_at_end
            )
        else:
            if temperature is None:
                temperature = 0.0 if (top_k, top_p) == (None, None) else 1.0
            if seed is not None and not temperature:
                raise ValueError(
                    "expected a seed with a temperature, top_k or top_p; received "
                    f"seed={seed} without sampling"
                )
            written = sample(
                self.stepper,
                ids,
                tokens,
                Sampling(temperature, top_k, top_p),
                stop_at_end=stop_at_end,
                seed=seed,
            )
        continuation = self.continuation(ids, written.ids)
        if self.backwards:
            text = (continuation + prompt.lstrip()).rstrip()
        else:
            text = (prompt.rstrip() + continuation).lstrip()
        return GeneratedText(
            text=text,
            continuation=continuation,
            tokens=len(written.ids),
            log_probability=written.log_probability,
            ended=written.ended,
        )

    def next_words(self, prompt: str = "", count: int = 5) -> list[tuple[str, float]]:
        """Return the most probable next tokens and their probabilities.

        The end of a sentence or line is shown as "[END]".

        Raises:
            TypeError: The prompt is not a string.
            ValueError: `count` is not a whole number of at least 1.
        """
        check_whole("count", count, 1)
        log_probabilities = self.stepper.feed(
            self._encode(prompt)[None], self.stepper.start()
        )[0][0]
        return [
            (self.name_of(i), float(np.exp(log_probabilities[i])))
            for i in most_probable(log_probabilities, count)
        ]

    def unknown_words(self, text: str) -> list[str]:
        """Return the distinct tokens of a text that are not in the vocabulary."""
        tokens = dict.fromkeys(tokenize(text, self.vocabulary.tokenizer))
        return [token for token in tokens if token not in self.vocabulary]

    def _score(self, metrics: dict) -> str:
        trained = metrics["results"][0]
        if trained["held_out"]:
            return f"held-out perplexity {trained['held_out']['perplexity']:.1f}"
        return f"training perplexity {trained['train']['perplexity']:.1f}"

    @property
    def backwards(self) -> bool:
        """Whether the model reads from the end, and predicts the word before."""
        return self.config.get("backwards", False)

    @property
    def _stream(self) -> bool:
        return self.config["split"] == "stream"

    def _encode(self, prompt: str) -> np.ndarray:
        if self._stream:  # in which every line follows the end of another
            lines = self.vocabulary.encode_all(prompt.split("\n"))
            ids = np.concatenate([[END, *line[1:]] for line in lines]).astype(np.int32)
        else:
            ids = self.vocabulary.encode(prompt)
        if self.backwards:
            ids[1:] = ids[:0:-1].copy()
        return ids

    def continuation(self, prompt: np.ndarray, new: Sequence[int]) -> str:
        """Return tokens after a prompt as text, with the space between them if any.

        Args:
            prompt: Ids `(time,)` as the model reads them, with the one that begins a
                text.
            new: The ids after them.
        """
        if self.backwards:
            return self.vocabulary.decode(new[::-1]) + " "
        before = self.vocabulary.decode(prompt[1:])
        whole = self.vocabulary.decode([*prompt[1:], *new])
        if whole.startswith(before):
            return whole[len(before) :]
        return " " + self.vocabulary.decode(new)


def load_run(path: str | Path) -> SentimentRun | NextWordRun:
    """Open a run folder that an experiment wrote.

    The model is loaded in Keras's safe mode.

    Returns:
        A `SentimentRun`, which can `predict`, for `experiments.imdb_sentiment`, or a
        `NextWordRun`, which can `generate`, for `experiments.next_word`.

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
    if config["experiment"] == "next_word":
        _check_fit(model, vocabulary, None, (None, None, len(vocabulary)), path)
        try:
            stepper = Stepper(model)
        except ValueError as error:
            raise ValueError(f"{error}, in {path}") from error
        return NextWordRun(path, config, vocabulary, model, stepper)
    _check_fit(model, vocabulary, config["maxlen"], (None, 1), path)
    return SentimentRun(path, config, vocabulary, model)


def _load_config(path: Path) -> dict:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
        raise ValueError(f"expected JSON in {path}; received {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"expected settings in {path}; received {config!r:.80}")
    # Runs of version 0.1.0 do not name it.
    experiment = config.setdefault("experiment", "imdb_sentiment")
    if experiment == "next_word":
        if config.get("split") not in ("lines", "paragraphs", "stream"):
            raise ValueError(
                f"expected split as lines, paragraphs or stream in {path}; received "
                f"{config.get('split')!r}"
            )
        return config
    if experiment != "imdb_sentiment":
        raise ValueError(
            f"expected a run of imdb_sentiment or next_word in {path}; received "
            f"{experiment!r}"
        )
    maxlen = config.get("maxlen")
    if type(maxlen) is not int or maxlen < 1:
        raise ValueError(
            f"expected a positive integer maxlen in {path}; received {maxlen!r}"
        )
    return config


def _load_model(path: Path) -> keras.Model:
    # Keras and h5py raise many undocumented kinds of errors for damaged files.
    try:
        _check_model_file(path)
        model = keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(f"expected a Keras model in {path}; {error}") from error
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(
            f"expected a built Keras model in {path}; received {model!r:.80}"
        )
    return model


def _check_model_file(path: Path) -> None:
    """Raise a ValueError for an invalid `.keras` file, judged by its zip directory."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    names = sorted(member.filename for member in members)
    if names != _MODEL_FILES:
        raise ValueError(f"expected the files {_MODEL_FILES}; received {names!s:.200}")
    size = sum(member.file_size for member in members)
    most = max(_SMALL_MODEL_BYTES, MAX_EXPANSION * path.stat().st_size)
    most = min(most, MAX_MODEL_BYTES)
    if size > most:
        raise ValueError(f"expected at most {most} bytes in all; received {size}")


def _check_fit(
    model: keras.Model,
    vocabulary: Vocabulary,
    maxlen: int | None,
    outputs: tuple,
    path: Path,
) -> None:
    sizes = [
        layer.input_dim
        for layer in model.layers
        if isinstance(layer, keras.layers.Embedding)
    ]
    inputs, found = model.input_shape, model.output_shape
    fits = inputs in ((None, maxlen), (None, None)) and found == outputs
    if not fits or set(sizes) != {len(vocabulary)}:
        raise ValueError(
            f"expected a model in {path} with embeddings of the vocabulary's "
            f"{len(vocabulary)} ids, inputs (None, {maxlen}) and outputs {outputs}; "
            f"received embeddings of {sizes} ids, inputs {inputs} and outputs {found}"
        )
