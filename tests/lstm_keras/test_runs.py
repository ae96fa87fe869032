"""Opening a run folder and predicting with it.

Oracles: the saved model's own predictions, and words and ids counted by hand.
"""

import json

import keras
import numpy as np
import pytest

import lstm_keras
from lstm_keras.language_model.model import build_language_model
from lstm_keras.preprocessing.tokenizers import tokenize
from lstm_keras.preprocessing.vocabulary import END, Vocabulary, pad
from tests.helpers.models import write_untrained_run

MAXLEN = 6


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """The folder of a run with an untrained model of our layer."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    return write_untrained_run(folder, "good bad film the a not", MAXLEN)


@pytest.fixture(scope="module")
def sentiment(untrained):
    return lstm_keras.load_run(untrained)


def next_word_run(folder, split, **config):
    """A run whose model knows one way on, by weights made by hand: a b c, the end."""
    vocabulary = Vocabulary("a b c .".split(), tokenizer="text")
    size = len(vocabulary)
    layer = lstm_keras.LSTM(size, return_sequences=True, return_state=True)
    model = build_language_model(size, size, [layer]).model
    one_hot, zeros = np.eye(size), np.zeros((size, size))
    ids = vocabulary.encode("a b c.")
    # Forgets, and shows the last word's unit as tanh(tanh(5)) = 0.76.
    kernel = np.hstack([zeros, zeros, 5 * one_hot, zeros])
    bias = np.repeat([1e3, -1e3, 0.0, 1e3], size)
    logits = np.zeros((size, size))
    logits[ids, [*ids[1:], END]] = 8.5
    model.set_weights([one_hot, kernel, 0 * kernel, bias, logits, np.zeros(size)])
    model.save(folder / "model.keras")
    vocabulary.save(folder / "vocabulary.json")
    config |= {"experiment": "next_word", "split": split}
    (folder / "config.json").write_text(json.dumps(config))
    return lstm_keras.load_run(folder)


@pytest.fixture(scope="module")
def next_word(tmp_path_factory):
    return next_word_run(tmp_path_factory.mktemp("lines"), "lines")


def test_probabilities_are_those_of_the_saved_model(sentiment):
    texts = ["A good film!", "not a bad film", "the good, the bad, the film, the end"]
    predictions = sentiment.predict(text for text in texts)
    model = keras.models.load_model(sentiment.path / "model.keras")
    ids = pad([sentiment.vocabulary.encode(text) for text in texts], MAXLEN)
    expected = keras.ops.convert_to_numpy(model(ids))[:, 0]
    found = [one.probability for one in predictions]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert [one.text for one in predictions] == texts
    assert sentiment.predict([]) == []


def test_a_text_alone_and_with_others_has_the_same_prediction(sentiment):
    alone = sentiment.predict("a good film")
    among = sentiment.predict(["bad", "a good film", "not"] * 5, batch_size=7)
    assert among[1].probability == pytest.approx(alone.probability, rel=1e-5)
    assert len(among) == 15


def test_near_a_half_and_without_a_known_word_there_is_no_label(untrained):
    run, labels = lstm_keras.load_run(untrained), []
    head, texts = run.model.layers[-1], ["a good film", "zebra", "good" + " x" * MAXLEN]
    kernel, bias = head.get_weights()
    for probability in (0.2, 0.449, 0.451, 0.549, 0.551):
        logit = np.log(probability / (1 - probability))
        head.set_weights([0 * kernel, 0 * bias + logit])
        known, unknown, cut = run.predict(texts)
        assert known.probability == pytest.approx(probability, rel=1e-5)
        labels.append(known.label)
        assert unknown.label is cut.label is None
    assert labels == ["negative"] * 2 + ["undecided"] * 2 + ["positive"]


@pytest.mark.parametrize(
    ("text", "words", "unknown", "read"),
    [
        ("", 0, 0, 0),
        ("a good film", 3, 0, 3),
        ("zebra 😀 שלום", 3, 3, 3),
        ("the film <br /> not good", 4, 0, 4),
        ("good " * 100_000, 100_000, 0, MAXLEN),
    ],
    ids=["empty", "known", "unknown", "line break", "long"],
)
def test_words_unknown_words_and_words_read_are_counted(
    sentiment, text, words, unknown, read
):
    (one,) = sentiment.predict([text])
    assert (one.words, one.unknown, one.read) == (words, unknown, read)
    assert 0 <= one.probability <= 1


@pytest.mark.parametrize(
    ("text", "ids", "names"),
    [
        ("", [0, 0, 0, 0, 0, 1], ["[START]"]),
        ("A good FILM!", [0, 0, 1, 8, 4, 6], ["[START]", "a", "good", "film"]),
        ("not zebra", [0, 0, 0, 1, 9, 2], ["[START]", "not", "zebra [UNK]"]),
        (
            "good bad film the a not good",
            [5, 6, 7, 8, 9, 4],
            ["bad", "film", "the", "a", "not", "good"],
        ),
    ],
    ids=["empty", "known", "unknown", "long"],
)
def test_a_text_is_read_as_ids_with_a_name_for_each(sentiment, text, ids, names):
    read, read_names = sentiment.read(text)
    assert read.dtype == np.int32
    assert read.tolist() == ids
    assert read_names == names


@pytest.mark.parametrize("text", [None, 3, ["a good film"], b"film"], ids=str)
def test_texts_must_be_strings(sentiment, next_word, text):
    for run in (sentiment, next_word):
        with pytest.raises(TypeError, match="expected"):
            run.read(text)


def test_a_run_is_shown_in_one_line(sentiment, next_word):
    classifier = "SentimentRun({}: 6 words, LSTM(5), 366 parameters"
    language_model = "NextWordRun({}: 4 words, LSTM(8), 680 parameters"
    tested = {"saved_seed": 3, "runs": [{"seed": 3, "test": {"accuracy": 0.91}}]}
    trained = {"results": [{"held_out": None, "train": {"perplexity": 2.5}}]}
    held_out = {"results": [{"held_out": {"perplexity": 70}}]}
    for run, metrics, shown in [
        (sentiment, {}, f"{classifier})"),
        (sentiment, tested, f"{classifier}, test accuracy 0.9100)"),
        (next_word, trained, f"{language_model}, training perplexity 2.5)"),
        (next_word, held_out, f"{language_model}, held-out perplexity 70.0)"),
    ]:
        (run.path / "metrics.json").write_text(json.dumps(metrics))
        assert repr(run) == shown.format(repr(str(run.path)))


@pytest.mark.parametrize(
    ("prompt", "text"),
    [("", "A b c."), ("a", "a b c."), ("A b ", "A b c."), ("a b c.", "a b c.")],
)
def test_a_prompt_is_continued_as_text_to_the_end_of_the_sentence(
    next_word, prompt, text
):
    written = next_word.generate(prompt)
    assert written.text == text
    assert written.ended
    assert -1 < written.log_probability < 0


def test_the_next_words_come_with_their_probabilities(next_word):
    (word, probability), *others = next_word.next_words("a b", 3)
    assert word == "c" and probability > 0.9
    assert len(others) == 2
    ids = next_word.vocabulary.encode("a b")[None]
    logits = keras.ops.convert_to_numpy(next_word.model(ids))[0, -1]
    exponentials = np.exp(logits.astype("float64"))
    expected = exponentials[next_word.vocabulary.id_of("c")] / exponentials.sum()
    assert probability == pytest.approx(expected, rel=1e-4)
    assert next_word.next_words("a b c.", 1)[0][0] == "[END]"


def test_unknown_words_are_read_and_named_but_never_written(next_word):
    assert next_word.unknown_words("a xyzzy b? xyzzy") == ["xyzzy", "?"]
    written = next_word.generate("xyzzy", temperature=3.0, seed=0)
    assert "[UNK]" not in written.continuation


def test_a_prompt_is_read_as_ids_with_a_name_for_each(next_word):
    ids, names = next_word.read("A xyzzy c.")
    assert ids.dtype == np.int32
    assert ids.tolist() == [1, 4, 2, 6, 7]
    assert names == ["[START]", "a", "[UNK]", "c", "."]
    assert next_word.read("")[1] == ["[START]"]
    every = [next_word.name_of(np.int64(i)) for i in range(8)]
    assert every == ["[PAD]", "[START]", "[UNK]", "[END]", "a", "b", "c", "."]


@pytest.mark.parametrize("split", ["lines", "stream"])
def test_backwards_what_comes_before_a_prompt_is_written(tmp_path, split):
    run = next_word_run(tmp_path, split, backwards=True)
    written = run.generate("b a", 2)
    assert tokenize(written.text, "text") == [".", "c", "b", "a"]
    assert tokenize(written.continuation, "text") == [".", "c"]
    ids, names = run.read("b a")
    assert names[1:] == ["a", "b"]
    logits = keras.ops.convert_to_numpy(run.model(ids[None]))[0, -1]
    ((word, _),) = run.next_words("b a", 1)
    assert word == run.name_of(np.argmax(logits)) == "c"


def test_a_stream_goes_on_after_the_end_of_a_line(tmp_path):
    run = next_word_run(tmp_path, "stream")
    ids, names = run.read("a b\nc")
    assert ids.tolist() == [END, 4, 5, END, 6]
    assert names == ["[END]", "a", "b", "[END]", "c"]
    written = run.generate("a", tokens=6)
    assert written.tokens == 6 and not written.ended
    assert written.text.startswith("a b c.\n")
