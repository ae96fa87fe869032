"""A sentiment model that begins with language models.

Oracles: the language model's own hidden states, Adam for each layer by itself, and the
command line.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

from experiments.imdb_sentiment import pretraining
from experiments.imdb_sentiment.model import build_model
from experiments.imdb_sentiment.settings import RECIPES, Settings
from experiments.imdb_sentiment.train import Examples, LayerwiseAdam, compiled_model
from lstm_keras import LSTM, attribute, load_run, trace_gates
from lstm_keras.language_model import build_language_model
from lstm_keras.preprocessing import END, START, Vocabulary, pad
from lstm_keras.runs import SentimentRun
from tests.helpers import runs
from tests.helpers.review_sources import write_archive
from tests.helpers.runs import metrics_of

WORDS = "a the film was good bad not and very dull".split()
MAXLEN = 9
UNITS = (5, 4)  # of the layers; the vectors are tied to the last
TEXTS = ("the film was not good", "very very dull and bad", "good", "a zebra was")


def write_language_model(folder, backwards, words=WORDS, layer="custom"):
    """Write what `load_run` reads of a `next_word` run; nothing is trained."""
    vocabulary = Vocabulary(words, "html")
    keras.utils.set_random_seed(3 + backwards)
    chain = [LSTM(u, return_sequences=True, return_state=True) for u in UNITS]
    parts = build_language_model(len(vocabulary), UNITS[-1], chain, tied=True)
    folder.mkdir()
    parts.model.save(folder / "model.keras")
    vocabulary.save(folder / "vocabulary.json")
    config = {"experiment": "next_word", "split": "stream", "backwards": backwards}
    (folder / "config.json").write_text(json.dumps(config | {"layer": layer}))
    return str(folder)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("next_word")
    return {
        "pretrained": write_language_model(folder / "reviews", False),
        "pretrained_backwards": write_language_model(folder / "backwards", True),
    }


def settings_of(**changes):
    options = {"mask_padding": True, "maxlen": MAXLEN, "pooling": "last_mean_max"}
    return Settings(**options | changes)


def sentiment_run(settings, opened):
    vocabulary = opened[0].vocabulary
    model = build_model(settings, len(vocabulary), opened)
    return SentimentRun(None, {"maxlen": MAXLEN}, vocabulary, model)


def hidden_states(run, ids):
    """The hidden states of a language model after each id, `(time, units)`."""
    model, *states = run.stepper._carry, *run.stepper.start()
    found, *_ = model([ids[None], *states])
    return ops.convert_to_numpy(found)[0]


@pytest.mark.parametrize(
    "names",
    [["pretrained"], ["pretrained_backwards"], ["pretrained", "pretrained_backwards"]],
)
def test_the_features_are_those_of_the_language_models(paths, names):
    settings = settings_of(**{name: paths[name] for name in names})
    opened = pretraining.opened(settings)
    run = sentiment_run(settings, opened)
    features = keras.Model(run.model.input, run.model.layers[-1].input)
    ids = pad(run.vocabulary.encode_all(TEXTS), MAXLEN)
    found = ops.convert_to_numpy(features(ids))
    for row, text in zip(found, TEXTS, strict=True):
        expected = []
        for one in opened:
            read = one.vocabulary.encode(text)
            read[read == START] = END
            read = read[::-1].copy() if one.backwards else read
            states = hidden_states(one, read)
            expected += [states[-1], states.mean(0), states.max(0)]
        np.testing.assert_allclose(row, np.concatenate(expected), atol=1e-5)


def test_gates_and_words_are_explained_with_a_model_for_each_direction(paths):
    run = sentiment_run(settings_of(**paths), pretraining.opened(settings_of(**paths)))
    found = attribute(run, TEXTS[0], "gradient")
    assert found.words == ("[START]", *TEXTS[0].split())
    assert abs(found.rest) < 0.02 * abs(found.output - found.baseline)
    ids, _ = run.read(TEXTS[0])
    traced = trace_gates(run.model, ids[None])
    assert len(traced) == 4
    opened = pretraining.opened(settings_of(**paths))
    read = run.vocabulary.encode(TEXTS[0])
    read[0] = END
    for name, one in zip(("forwards_2", "backwards_2"), opened, strict=True):
        order = slice(None, None, -1 if one.backwards else 1)
        expected = hidden_states(one, read[order].copy())[order]
        states = traced[name].h[0, -len(read) :]
        np.testing.assert_allclose(states, expected, atol=1e-5)


def test_each_layer_has_its_own_learning_rate(paths):
    settings = settings_of(**paths, depth_factor=0.5, learning_rate=0.1)
    model = compiled_model(settings, 4 + len(WORDS), 1, pretraining.opened(settings))
    adam = model.optimizer
    assert isinstance(adam, LayerwiseAdam)
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    variables = model.trainable_variables
    adam.apply([ops.ones(v.shape) for v in variables], variables)
    # The first step of Adam is as long as its learning rate.
    rates = {"embedding": 0.0125, "first": 0.025, "second": 0.05, "dense": 0.1}
    seen = {"lstm": 0}
    for layer in model.layers:
        if isinstance(layer, LSTM):
            name = "first" if layer.units == UNITS[0] else "second"
        else:
            name = "embedding" if isinstance(layer, layers.Embedding) else "dense"
        for variable in layer.trainable_variables:
            place = [v is variable for v in model.trainable_variables].index(True)
            step = before[place] - ops.convert_to_numpy(variable)
            np.testing.assert_allclose(step, rates[name], rtol=1e-3)
            seen[name] = seen.get(name, 0) + 1
    assert {name: seen[name] for name in rates} == {
        "embedding": 2,
        "first": 6,
        "second": 6,
        "dense": 2,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained": "backwards"}, "without --backwards as --pretrained; rec"),
        ({"pretrained_backwards": "forwards"}, "with --backwards as --pretrained-b"),
        ({"pretrained": "forwards", "layer": "gru"}, "expected --layer custom"),
        ({"pretrained": "forwards", "bidirectional": True}, "for each direction"),
        ({"pretrained": "none"}, "there is none"),
    ],
)
def test_language_models_that_do_not_fit_are_refused_early(paths, changes, message):
    places = dict(zip(("forwards", "backwards"), paths.values(), strict=True))
    changes = {name: places.get(value, value) for name, value in changes.items()}
    with pytest.raises((ValueError, OSError), match=message):
        settings_of(**changes).checked()


def test_language_models_of_different_words_are_refused(paths, tmp_path):
    other = write_language_model(tmp_path / "other", True, [*WORDS[1:], "other"])
    with pytest.raises(ValueError, match="the same vocabulary"):
        pretraining.opened(settings_of(**paths | {"pretrained_backwards": other}))


# One command for both trainings


@pytest.mark.parametrize(
    ("directions", "names"),
    [
        ("forwards", ["reviews"]),
        ("backwards", ["reviews-backwards"]),
        ("both", ["reviews", "reviews-backwards"]),
    ],
)
def test_language_models_are_trained_once(monkeypatch, tmp_path, directions, names):
    commands = []

    def train(command):
        commands.append(" ".join(command))
        name = command[command.index("--name") + 1]
        (tmp_path / "next_word" / name).mkdir(parents=True)
        return 0

    monkeypatch.setattr(pretraining, "run_here", train)
    settings = Settings(
        output=str(tmp_path), pretrain="reviews", directions=directions, seed=7
    )
    for _ in range(2):
        found = pretraining.with_language_models(settings)
        places = (found.pretrained, found.pretrained_backwards)
        assert [*filter(None, places)] == [
            str(tmp_path / "next_word" / name) for name in names
        ]
    assert len(commands) == len(names)
    for command, name in zip(commands, names, strict=True):
        assert f"--recipe reviews --name {name} --output {tmp_path} --seed 7" in command
        assert ("--backwards" in command) == ("backwards" in name)


def test_one_that_was_interrupted_goes_on_and_a_failure_ends_the_run(
    monkeypatch, tmp_path
):
    path = tmp_path / "next_word" / "reviews"
    (tmp_path / "next_word" / ".reviews.partial").mkdir(parents=True)
    settings = Settings(output=str(tmp_path), pretrain="reviews")
    commands, statuses = [], iter((130, 1))

    def train(command):
        commands.append(command)
        return next(statuses)

    monkeypatch.setattr(pretraining, "run_here", train)
    with pytest.raises(KeyboardInterrupt):
        pretraining.with_language_models(settings)
    with pytest.raises(ValueError, match="ended with status 1"):
        pretraining.with_language_models(settings)
    resume = ["experiments.next_word", "--resume", str(path)]
    assert commands == [resume, resume]


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    """A folder of reviews whose sentiment is one word, in `LSTM_KERAS_DATA`."""
    rng = np.random.default_rng(0)
    words = {"pos": "good great", "neg": "bad dull", "unsup": "good great bad dull"}
    files = {}
    for folder in "train/pos train/neg train/unsup test/pos test/neg".split():
        for i in range(20):
            told = rng.choice(words[folder.split("/")[1]].split())
            filler = " ".join(rng.choice("the film was so very".split(), 6))
            files[f"aclImdb/{folder}/{i}_5.txt"] = f"{filler} {told}.<br />The end"
    write_archive(tmp_path / "aclImdb_v1.tar.gz", files=files, mode="w:gz")
    monkeypatch.setenv("LSTM_KERAS_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.thorough
@pytest.mark.parametrize("recipe", ["pretrained", "best"])
def test_one_command_trains_all_models_and_the_run_is_read_back(
    reviews, monkeypatch, recipe
):
    small = {"embedding": 6, "units": 6, "epochs": 1, "min_count": 1}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in small.items()]
    monkeypatch.setattr(
        pretraining, "run_here", lambda command: pretraining_run(command, flags)
    )
    options = f"--recipe {recipe} --directions both --epochs 1 --labelled 20"
    folder = runs.make("imdb_sentiment", reviews / "out", *options.split())
    assert {path.name for path in (reviews / "out" / "next_word").iterdir()} == {
        "reviews",
        "reviews-backwards",
    }
    metrics = metrics_of(folder)
    assert metrics["data"]["train"] + metrics["data"]["validation"] == 20
    assert metrics["data"]["tokenizer"] == "html"
    if recipe == "best":
        assert metrics["data"]["unlabelled"] == 60
        history = (folder / "history.csv").read_text().splitlines()[0]
        assert "log_loss" in history.split(",")
    assert len(metrics["data"]["language models"]) == 2
    run = load_run(folder)
    assert 0 <= run.predict("The film was good.").probability <= 1
    assert (
        run.vocabulary.words
        == load_run(reviews / "out" / "next_word" / "reviews").vocabulary.words
    )


def pretraining_run(command, flags):
    """Train in this process, smaller."""
    name = command[command.index("--name") + 1]
    output = command[command.index("--output") + 1]
    more = ["--backwards"] * ("--backwards" in command)
    runs.make("next_word", Path(output), "--recipe", "reviews", *flags, *more, run=name)
    return 0


@pytest.mark.parametrize("recipe", ["pretrained", "best"])
def test_the_recipes_are_settings(recipe):
    assert Settings(**RECIPES[recipe]).checked().pretrain == "reviews"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unlabelled": 8}, "expected --virtual-adversarial or --entropy"),
        ({"unlabelled": 8, "adversarial": 1.0}, "expected --virtual-adversarial or"),
        (
            {"unlabelled": 8, "entropy": 1.0, "mask_padding": False},
            "expected --mask-padding",
        ),
        ({"entropy": 1.0, "data_parallel": True}, "expected --data-parallel without"),
        (
            {"unlabelled": 8, "entropy": 1.0, "data": "embedded"},
            "expected the IMDB reviews .* received embedded",
        ),
    ],
)
def test_objectives_that_cannot_be_are_refused_early(changes, message):
    with pytest.raises(ValueError, match=message):
        settings_of(**changes).checked()


def test_no_review_to_validate_or_test_on_is_among_the_unlabelled():
    texts = [np.array([1, i], "int32") for i in range(9)]
    train = Examples(texts[:3], np.zeros(3), texts)
    left = train.unlabelled_but([texts[1], texts[7]])
    assert [ids[1] for ids in left] == [0, 2, 3, 4, 5, 6, 8]
