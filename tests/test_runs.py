"""Opening a run folder and predicting with it."""

import json
import shutil

import keras
import numpy as np
import pytest

import lstm_keras
from lstm_keras.preprocessing import START, Vocabulary, pad

MAXLEN = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder with an untrained model of our layer."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    folder.mkdir()
    vocabulary = Vocabulary("good bad film the a not".split())
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((MAXLEN,), dtype="int32"),
            keras.layers.Embedding(len(vocabulary), 8, embeddings_initializer="normal"),
            lstm_keras.LSTM(5),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.save(folder / "model.keras")
    vocabulary.save(folder / "vocabulary.json")
    (folder / "config.json").write_text(json.dumps({"maxlen": MAXLEN}))
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the run folder that a test may break."""
    return shutil.copytree(folder, tmp_path / "copy")


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


def test_no_texts_give_no_predictions(folder):
    assert lstm_keras.load_run(folder).predict([]) == []


def test_texts_may_come_from_a_generator(folder):
    run = lstm_keras.load_run(folder)
    texts = ["a good film", "the film"]
    assert run.predict(text for text in texts) == run.predict(texts)


def test_one_string_instead_of_a_list_is_refused(folder):
    with pytest.raises(TypeError, match="received one string"):
        lstm_keras.load_run(folder).predict("a good film")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"none at {tmp_path / 'nowhere'}"):
        lstm_keras.load_run(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "model.keras"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"expected {name} in the run folder"):
        lstm_keras.load_run(copy)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"maxlen": 0}', '{"maxlen": "6"}']
)
def test_a_config_that_is_none_is_refused(copy, content):
    (copy / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"expected .*config\.json"):
        lstm_keras.load_run(copy)


def test_a_vocabulary_that_does_not_fit_the_model_is_refused(copy):
    Vocabulary(["good", "bad"]).save(copy / "vocabulary.json")
    with pytest.raises(ValueError, match=r"6 ids .*received embeddings of \[10\] ids"):
        lstm_keras.load_run(copy)


def test_a_length_that_does_not_fit_the_model_is_refused(copy):
    (copy / "config.json").write_text(json.dumps({"maxlen": MAXLEN + 1}))
    with pytest.raises(ValueError, match=rf"\(None, 7\); .*inputs \(None, {MAXLEN}\)"):
        lstm_keras.load_run(copy)


def test_a_damaged_model_is_refused_and_named(copy):
    whole = (copy / "model.keras").read_bytes()
    (copy / "model.keras").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        ValueError, match=r"expected a Keras model in .*no whole zip file"
    ):
        lstm_keras.load_run(copy)


def test_a_model_that_carries_code_is_refused(copy):
    model = keras.Sequential(
        [keras.Input((MAXLEN,)), keras.layers.Lambda(lambda x: x + START)]
    )
    model.save(copy / "model.keras")
    with pytest.raises(ValueError, match="safe_mode"):
        lstm_keras.load_run(copy)
