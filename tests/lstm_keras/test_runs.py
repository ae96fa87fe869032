"""Opening a run folder and predicting with it."""

import json

import keras
import numpy as np
import pytest

import lstm_keras
from lstm_keras.language_model.model import build_language_model
from lstm_keras.language_model.training import LanguageModelTrainer
from lstm_keras.preprocessing.vocabulary import END, Vocabulary, pad
from tests.helpers.models import write_untrained_run

MAXLEN = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder with an untrained model of our layer."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    return write_untrained_run(folder, "good bad film the a not", MAXLEN)


def test_probabilities_are_those_of_the_saved_model(folder):
    texts = ["A good film!", "not a bad film", "the good, the bad, the film, the end"]
    run = lstm_keras.load_run(folder)
    predictions = run.predict(texts)
    model = keras.models.load_model(folder / "model.keras")
    ids = pad([run.vocabulary.encode(text) for text in texts], MAXLEN)
    expected = model.predict(ids, verbose=0)[:, 0]
    np.testing.assert_allclose(
        [one.probability for one in predictions], expected, rtol=1e-6
    )
    assert [one.text for one in predictions] == texts
    for one in predictions:
        assert one.label == ("positive" if one.probability > 0.5 else "negative")


def test_a_text_does_not_change_with_its_neighbors(folder):
    run = lstm_keras.load_run(folder)
    alone = run.predict(["a good film"])[0].probability
    among = run.predict(["bad", "a good film", "not"] * 50, batch_size=7)
    assert among[1].probability == pytest.approx(alone, rel=1e-5)
    assert len(among) == 150


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
    folder, text, words, unknown, read
):
    (one,) = lstm_keras.load_run(folder).predict([text])
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
def test_a_text_is_read_as_ids_with_a_name_for_each(folder, text, ids, names):
    read, read_names = lstm_keras.load_run(folder).read(text)
    assert read.dtype == np.int32
    assert read.tolist() == ids
    assert read_names == names


@pytest.mark.parametrize("text", [None, 3, ["a good film"], b"film"], ids=str)
def test_texts_must_be_strings(folder, next_word, text):
    for path in (folder, next_word):
        with pytest.raises(TypeError, match="expected"):
            lstm_keras.load_run(path).read(text)


def test_no_texts_give_no_predictions(folder):
    assert lstm_keras.load_run(folder).predict([]) == []


def test_texts_may_come_from_a_generator(folder):
    run = lstm_keras.load_run(folder)
    texts = ["a good film", "the film"]
    assert run.predict(text for text in texts) == run.predict(texts)


def test_one_string_instead_of_a_list_is_refused(folder):
    with pytest.raises(TypeError, match="received one string"):
        lstm_keras.load_run(folder).predict("a good film")


def next_word_folder(path, split, **config):
    """A run folder with a model that knows one way on: a b c, then the end."""
    vocabulary = Vocabulary("a b c .".split(), tokenizer="text")
    keras.utils.set_random_seed(0)
    parts = build_language_model(
        len(vocabulary),
        8,
        [lstm_keras.LSTM(8, return_sequences=True, return_state=True)],
    )
    ids = vocabulary.encode("a b c.")
    trainer = LanguageModelTrainer(parts)
    trainer.compile(keras.optimizers.Adam(0.05))
    trainer.fit(ids[None], np.array([[*ids[1:], END]]), epochs=60, verbose=0)
    path.mkdir()
    parts.model.save(path / "model.keras")
    vocabulary.save(path / "vocabulary.json")
    config = {"experiment": "next_word", "split": split, **config}
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.fixture(scope="module")
def next_word(tmp_path_factory):
    return next_word_folder(tmp_path_factory.mktemp("runs") / "lines", "lines")


@pytest.mark.parametrize(
    ("prompt", "text"),
    [("", "A b c."), ("a", "a b c."), ("A b ", "A b c."), ("a b c.", "a b c.")],
)
def test_a_prompt_is_continued_as_text_to_the_end_of_the_sentence(
    next_word, prompt, text
):
    written = lstm_keras.load_run(next_word).generate(prompt)
    assert written.text == text
    assert written.ended
    assert -1 < written.log_probability < 0


def test_the_next_words_come_with_their_probabilities(next_word):
    run = lstm_keras.load_run(next_word)
    (word, probability), *others = run.next_words("a b", 3)
    assert word == "c" and probability > 0.9
    assert len(others) == 2
    logits = run.model.predict(run.vocabulary.encode("a b")[None], verbose=0)[0, -1]
    exponentials = np.exp(logits.astype("float64"))
    assert probability == pytest.approx(
        exponentials[run.vocabulary.id_of("c")] / exponentials.sum(), rel=1e-4
    )
    assert run.next_words("a b c.", 1)[0][0] == "[END]"


def test_unknown_words_are_read_and_named_but_never_written(next_word):
    run = lstm_keras.load_run(next_word)
    assert run.unknown_words("a xyzzy b? xyzzy") == ["xyzzy", "?"]
    assert "[UNK]" not in run.generate("xyzzy", temperature=3.0, seed=0).continuation


def test_a_prompt_is_read_as_ids_with_a_name_for_each(next_word):
    run = lstm_keras.load_run(next_word)
    ids, names = run.read("A xyzzy c.")
    assert ids.dtype == np.int32
    assert ids.tolist() == [1, 4, 2, 6, 7]
    assert names == ["[START]", "a", "[UNK]", "c", "."]
    assert run.read("")[1] == ["[START]"]


def test_every_id_has_a_name(next_word):
    run = lstm_keras.load_run(next_word)
    names = [run.name_of(i) for i in range(8)]
    assert names == ["[PAD]", "[START]", "[UNK]", "[END]", "a", "b", "c", "."]
    assert run.name_of(np.int64(6)) == "c"


@pytest.mark.thorough
def test_a_stream_goes_on_after_the_end_of_a_line(tmp_path):
    run = lstm_keras.load_run(next_word_folder(tmp_path / "one", "stream"))
    ids, names = run.read("a b\nc")
    assert ids.tolist() == [END, 4, 5, END, 6]
    assert names == ["[END]", "a", "b", "[END]", "c"]
    written = run.generate("a", tokens=6)
    assert written.tokens == 6 and not written.ended
    assert written.text.startswith("a b c.\n")
