"""The sentiment experiment, from the command line to the files it leaves."""

import functools
import os
import re
import signal
import sys
from pathlib import Path
from unittest.mock import Mock

import keras
import markupsafe
import numpy as np
import pandas
import pytest
from keras import layers
from matplotlib.figure import Figure

from experiments.common import lifecycle
from experiments.common.errors import DivergedError
from experiments.common.fit import Fit
from experiments.imdb_sentiment import baselines, run, train
from experiments.imdb_sentiment.settings import (
    EXPERIMENT,
    RECIPES,
    Settings,
    vocabulary_note,
)
from experiments.imdb_sentiment.train import Trained, compiled_model
from lstm_keras import LSTM, attribute, load_run
from lstm_keras.datasets import load_reviews
from lstm_keras.evaluation import evaluate_classification, tfidf_classifier
from lstm_keras.runs import UNDECIDED
from tests.helpers import runs
from tests.helpers.browser import assert_page_is_sound, in_a_browser
from tests.helpers.runs import metrics_of

# The loop is compiled sooner than an engine.
TINY = """--data embedded --limit 40 --maxlen 8 --units 3 --epochs 2 --engine loop
    --no-baselines""".split()
FILES = """config.json metrics.json history.csv model.keras vocabulary.json report.html
    figures""".split()
# Short reviews as people write them.
EVERYDAY = {
    "positive": """Great! | I loved it. | The best film ever | A masterpiece! |
        Not bad at all | wonderful film | I really enjoyed it | This movie is great. |
        It was perfect | Highly recommended. | Don't miss it! | A must see. |
        Funny and entertaining. | I was not bored | My favorite film |
        The acting was superb | One of the best movies of the year |
        I would see it again | It never gets boring | It isn't boring.""",
    "negative": """boring | What a waste of time | The worst film ever | I hated it |
        awful | So boring. | terrible acting | This movie is bad | It was not good |
        I did not like it | Don't waste your time | A complete waste of money. |
        Very disappointing. | not funny at all | stupid and predictable |
        The acting was terrible | The plot makes no sense | It could have been better. |
        I would not recommend it | My friends loved it, but I hated it.""",
}


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch):
    """Save time: the figures of `sentiment_run`, which is made before, are drawn."""

    def draw_nothing(figure, target, **options):
        if isinstance(target, Path):
            target.touch()

    monkeypatch.setattr(Figure, "savefig", draw_nothing)


def make(output, *options):
    return runs.make("imdb_sentiment", output, *TINY, *options)


def end_early(capsys, output, *options, ending, status="130"):
    """Make a run that ends early, check what it says, and return its metrics."""
    with pytest.raises(SystemExit, match=status):
        make(output, *options)
    folder = output / "imdb_sentiment" / "one"
    metrics, said = metrics_of(folder), capsys.readouterr().out
    assert metrics["ending"] == ending
    assert ending in said
    assert markupsafe.escape(ending) in page_of(folder)
    assert metrics["interrupted"] is (status == "130")
    assert (folder / "checkpoint").exists() is (status == "130")
    assert "This model knows only" in said
    assert not metrics["interrupted"] or said.endswith(f" --resume {folder}\n")
    return metrics


def history_of(folder):
    return pandas.read_csv(folder / "history.csv")


def page_of(folder):
    return (folder / "report.html").read_text("utf-8")


def test_a_run_leaves_its_files_and_nothing_beside_them(sentiment_run):
    assert {path.name for path in sentiment_run.iterdir()} == {*FILES}
    assert [path.name for path in sentiment_run.parent.iterdir()] == ["one"]
    assert len(list((sentiment_run / "figures").glob("*.png"))) == 6


def test_the_order_of_words_counts_for_the_models_that_see_it(sentiment_run):
    """Oracle: a model that counts words says the same whatever their order."""
    metrics = metrics_of(sentiment_run)
    shuffled = {one["name"]: one for one in metrics["shuffled"]}
    ordered = {one["name"]: one for one in metrics["baselines"]}
    words, pairs = "TF-IDF + logistic regression, 5000 words", "all 1-2 grams"
    assert shuffled[words] == ordered[words]
    assert shuffled[f"TF-IDF + logistic regression, {pairs}"]["size"] == 80
    network = metrics["runs"][0]["test"]
    assert shuffled[network["name"]]["log_loss"] != network["log_loss"]
    assert "Words shuffled" in page_of(sentiment_run)


def test_metrics_name_data_engine_versions_seed_and_time(sentiment_run):
    metrics = metrics_of(sentiment_run)
    facts = {"real": False, "train": 64, "validation": 16, "test": 80}
    assert metrics["data"].items() >= facts.items()
    assert metrics["engine"]["layer"] == "lstm_keras.LSTM"
    assert metrics["environment"]["versions"]["keras"] == keras.__version__
    assert [run["seed"] for run in metrics["runs"]] == [0]
    assert 0 < metrics["runs"][0]["training_seconds"] < metrics["seconds"]
    assert "python -m experiments.imdb_sentiment --data" in metrics["command"]
    assert (metrics["interrupted"], metrics["ending"]) == (False, "")
    names = [result["name"] for result in metrics["baselines"]]
    assert [name.split()[0] for name in names] == ["Majority"] + ["TF-IDF"] * 3
    assert "last 30 only" in names[2]


def test_averaged_runs_predict_the_mean_of_their_log_odds(tmp_path):
    places = [
        make(tmp_path / name, "--mask-padding", *options)
        for name, options in (("one", ()), ("other", ("--pooling", "mean_max")))
    ]
    both = ",".join(map(str, places))
    mean = make(tmp_path / "mean", "--mask-padding", "--average", both)
    texts = load_reviews("embedded", limit=40).test.texts
    found, *expected = (
        [one.probability for one in load_run(folder).predict(texts)]
        for folder in (mean, *places)
    )
    odds = [np.log(np.divide(p, np.subtract(1, p))) for p in (found, *expected)]
    np.testing.assert_allclose(odds[0], np.mean(odds[1:], axis=0), atol=1e-5)
    assert len(attribute(load_run(mean), texts[0], "prefix").scores)
    (run,) = metrics_of(mean)["runs"]
    (first,) = metrics_of(places[0])["runs"]
    assert run["validation"]["size"] == first["validation"]["size"]
    assert "One of them is SentimentRun" in page_of(mean)
    for options, message in (
        (["--average", both, "--seed", "1"], r"expected --seed 0, as in .*received 1"),
        (["--average", f"{both},{places[0]}"], "expected different runs"),
        (["--average", ","], "expected different runs"),
    ):
        with pytest.raises(SystemExit, match=message):
            make(tmp_path / "mean", "--mask-padding", *options)


def test_history_and_saved_model_agree_with_the_metrics(sentiment_run):
    (trained,) = metrics_of(sentiment_run)["runs"]
    history = history_of(sentiment_run).set_index("epoch")
    assert [*history.index] == [1, 2]
    assert history.val_loss.idxmin() == trained["best_epoch"]
    test = load_reviews("embedded", limit=80).test
    predictions = load_run(sentiment_run).predict(test.texts)
    right = np.equal([one.probability > 0.5 for one in predictions], test.labels)
    assert right.mean() == pytest.approx(trained["test"]["accuracy"])


def test_the_report_says_what_the_model_does_not_know(sentiment_run):
    page = page_of(sentiment_run)
    assert "generated reviews, not from IMDB" in page
    known = len(load_run(sentiment_run).vocabulary.words)
    assert f"This model knows only {known} words, and reads" in page
    assert not vocabulary_note(4996)  # of a model of IMDB
    assert page.count("<svg ") == 6
    assert markupsafe.escape(metrics_of(sentiment_run)["command"]) in page


def test_the_report_begins_with_the_test_accuracy(sentiment_run):
    metrics = metrics_of(sentiment_run)
    best = max(metrics["baselines"], key=lambda one: one["accuracy"])
    finding = (
        f"lstm_keras.LSTM classifies {metrics['runs'][0]['test']['accuracy']:.1%} of "
        f"{metrics['data']['test']} generated reviews correctly, the best baseline "
        f"{best['accuracy']:.1%} ({best['name']})."
    )
    assert finding in page_of(sentiment_run).partition("<h2>")[0]


@pytest.mark.thorough
@in_a_browser
def test_the_report_is_sound_in_a_browser(sentiment_run):
    assert_page_is_sound(sentiment_run / "report.html")


@pytest.mark.thorough
def test_the_same_command_gives_the_same_numbers_whatever_the_layer(tmp_path):
    first, again = history_of(make(tmp_path / "a")), history_of(make(tmp_path / "b"))
    assert first.equals(again)
    folder = make(tmp_path / "c", "--layer", "builtin")
    assert metrics_of(folder)["engine"]["layer"] == "keras.layers.LSTM"
    losses = first.val_loss, history_of(folder).val_loss
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.thorough
def test_several_seeds_give_mean_and_deviation(tmp_path):
    metrics = metrics_of(make(tmp_path, "--seeds", "2", "--seed", "5"))
    assert [run["seed"] for run in metrics["runs"]] == [5, 6]
    found = metrics["summary"]["test_accuracy"]
    accuracies = [run["test"]["accuracy"] for run in metrics["runs"]]
    assert found["mean"] == pytest.approx(np.mean(accuracies))
    assert found["standard_deviation"] == pytest.approx(np.std(accuracies, ddof=1))
    losses = {run["seed"]: run["validation"]["log_loss"] for run in metrics["runs"]}
    assert metrics["saved_seed"] == min(losses, key=losses.get)


@pytest.fixture
def restored_dtype_policy():
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


@pytest.mark.thorough
@pytest.mark.usefixtures("restored_dtype_policy")
@pytest.mark.parametrize(
    "options",
    [
        "--layer gru",
        "--layer simple_rnn",
        "--layers 2 --bidirectional --mask-padding",
        "--recipe tuned --epochs 1",
        "--dtype mixed_bfloat16",
        "--jit",
    ],
)
def test_every_kind_of_model_trains_and_is_read_back(tmp_path, options):
    trained = load_run(make(tmp_path, *options.split()))
    assert 0 <= trained.predict("the film was wonderful").probability <= 1


def test_the_plain_model_is_the_one_of_the_textbook():
    model = compiled_model(Settings(), 5000, steps=1)
    _, embedding, *others = model.layers
    assert [*map(type, others)] == [LSTM, layers.Dense]
    assert model.count_params() == 5000 * 32 + 4 * 64 * (32 + 64 + 1) + 65
    assert model.input_shape == (None, 200)
    assert not (embedding.mask_zero or model.jit_compile)


@pytest.mark.parametrize(
    ("layer", "kind"), [("custom", LSTM), ("builtin", layers.LSTM), ("gru", layers.GRU)]
)
def test_every_setting_reaches_the_model(layer, kind):
    sizes = {"maxlen": 9, "embedding": 7, "units": 5, "layers": 2}
    rates = {"word_dropout": 0.1, "embedding_dropout": 0.2, "dropout": 0.3}
    flags = dict.fromkeys(("mask_padding", "bidirectional", "jit"), True)
    settings = Settings(layer=layer, recurrent_dropout=0.4, **sizes, **rates, **flags)
    model = compiled_model(settings, 50, steps=1)
    _, embedding, words, entries, *recurrent, state, _ = model.layers
    assert model.input_shape == (None, None)  # a batch is as long as its texts
    assert model.jit_compile
    assert (embedding.output_dim, embedding.mask_zero) == (7, True)
    assert [one.rate for one in (words, entries, state)] == [0.1, 0.2, 0.3]
    assert words.noise_shape == (None, None, 1)
    assert [*map(type, recurrent)] == [layers.Bidirectional] * 2
    inner = [one.forward_layer for one in recurrent]
    found = [(type(one), one.units, one.recurrent_dropout) for one in inner]
    assert found == [(kind, 5, 0.4)] * 2


@pytest.mark.parametrize(
    ("schedule", "rates"), [("constant", [0.5] * 3), ("cosine", [0.5, 0.25, 0])]
)
def test_the_learning_rate_follows_the_schedule(schedule, rates):
    settings = Settings(learning_rate=0.5, schedule=schedule)
    optimizer = compiled_model(settings, 50, steps=20).optimizer
    for step, rate in zip((0, 10, 20), rates, strict=True):
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(rate)


@pytest.mark.usefixtures("restored_dtype_policy")
def test_the_dtype_reaches_every_layer_but_the_probability():
    lifecycle.load(EXPERIMENT, Settings(dtype="float64"))
    model = compiled_model(Settings(), 50, steps=1)
    policies = [layer.dtype_policy.name for layer in model.layers[1:]]
    assert policies == ["float64", "float64", "float32"]


def test_the_options_of_the_training_reach_it(tmp_path, monkeypatch):
    seen = {}

    def fit(model, batches, validation, **options):
        seen.update(options, steps=len(batches), optimizer=model.optimizer)
        raise DivergedError("seen enough")

    monkeypatch.setattr(train, "fit", fit)
    options = "--epochs 3 --batch-size 5 --patience 7 --schedule cosine".split()
    with pytest.raises(SystemExit, match="seen enough"):
        make(tmp_path, *options)
    optimizer, checkpoint = seen.pop("optimizer"), seen.pop("to")
    assert (checkpoint.path.name, checkpoint.seconds) == ("seed-0.npz", 60)
    assert seen == {"epochs": 3, "patience": 7, "steps": 7}  # for 32 reviews
    assert float(optimizer.learning_rate) == pytest.approx(0.001)
    optimizer.iterations.assign(3 * 7)  # the decay ends with the training
    assert float(optimizer.learning_rate) == pytest.approx(0, abs=1e-9)


def test_recipes_only_name_settings():
    for recipe in RECIPES.values():
        Settings(**recipe)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--data", "nowhere.csv", r"expected --data as one of .*'nowhere\.csv'"),
        ("--validation-split", "0.001", "leaves reviews on both sides"),
    ],
)
def test_bad_options_end_the_program_and_leave_nothing(
    option, value, message, tmp_path
):
    with pytest.raises(SystemExit, match=message):
        make(tmp_path, option, value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# Predictions. Without a run that fits: common/test_trained_run.py.


def predict(*arguments):
    runs.main("imdb_sentiment", "predict", *arguments)


def test_predict_prints_a_line_for_each_text(sentiment_run, capsys):
    predict(sentiment_run, "The film was xyzzy", "xyzzy \x1b[2J", " ")
    out, err = capsys.readouterr()
    known, unknown, empty = out.splitlines()
    assert re.fullmatch(
        r"(positive |negative |undecided)  0\.[5-9]\d\d  The film was xyzzy  "
        r"\(unknown words: 1 of 4\)",
        known,
    )
    assert unknown == (
        "no label   -      xyzzy \ufffd[2J  "
        "(unknown words: 2 of 2, nothing to judge by)"
    )
    assert empty == "no label   -      (empty)  (no words, nothing to judge by)"
    words = len(load_run(sentiment_run).vocabulary.words)
    assert re.fullmatch(f"This model knows only {words} words, .*\n", err)


def test_predict_states_when_it_is_undecided(capsys):
    with pytest.raises(SystemExit, match="0"):
        predict("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert 'probability of "positive" is between {} and {}'.format(*UNDECIDED) in said


@pytest.mark.parametrize(
    ("text", "remarks"),
    [
        ("the film\n\n \t\n" + "film " * 31, ["unknown", "last 30 read"]),
        # Characters at which str.splitlines would split.
        ("good\x85film\x0cthe\u2028end", ["unknown"]),
    ],
    ids=["two reviews", "odd characters"],
)
def test_predict_reads_a_review_a_line_from_standard_input(
    text, remarks, sentiment_run, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr("experiments.imdb_sentiment.settings.SMALL_VOCABULARY", 10)
    (tmp_path / "reviews").write_text(text + "\n", "utf-8")
    with (tmp_path / "reviews").open(encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdin", file)
        predict(sentiment_run, "-")
    out, err = capsys.readouterr()
    for line, remark in zip(out.splitlines(), remarks, strict=True):
        assert remark in line
    assert not err  # a vocabulary that is not small


# Interruptions and failures. An exception stands for Ctrl-C or a divergence.


@pytest.fixture
def errors(monkeypatch):
    """Replace training; return a dict for the errors that seeds shall end with."""
    errors = {}

    def train_one(settings, train, test, input_dim, seed, *others):
        if seed in errors:
            raise errors[seed]
        keys = ("loss", "val_loss", "accuracy", "val_accuracy")
        fit = Fit({key: [0.5] for key in keys}, 1, interrupted=False, seconds=1.0)
        probabilities = np.full(len(test.labels), 0.4)
        result = evaluate_classification(test.labels, probabilities, name="")
        model = compiled_model(settings, input_dim, steps=1)
        return Trained(seed, model, fit, result, result, probabilities)

    monkeypatch.setattr(run, "train_one", train_one)
    return errors


@pytest.mark.parametrize(
    ("error", "status", "seeds", "ending"),
    [
        (KeyboardInterrupt(), "130", [0], "was interrupted; it and later ones are"),
        (DivergedError("<nan>"), "1", [0, 2], "diverged: <nan>; it is"),
    ],
)
def test_an_error_keeps_the_seeds_before_and_a_divergence_those_after(
    error, status, seeds, ending, tmp_path, errors, capsys
):
    errors[1] = error
    ending = f"Seed 1 {ending} left out."
    metrics = end_early(capsys, tmp_path, "--seeds", "3", ending=ending, status=status)
    assert [run["seed"] for run in metrics["runs"]] == seeds


def test_a_mistake_in_a_later_seed_is_not_taken_for_a_divergence(tmp_path, errors):
    errors[1] = ValueError("a mistake")
    with pytest.raises(SystemExit, match="a mistake"):
        make(tmp_path, "--seeds", "3")


def test_ctrl_c_in_a_seed_keeps_it_and_leaves_out_the_later_ones(
    tmp_path, monkeypatch, capsys
):
    def press(epoch, logs):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=press)
    pressed = functools.partial(train.fit, callbacks=[callback])
    monkeypatch.setattr(train, "fit", pressed)
    ending = (
        "The training of seed 4 was interrupted in epoch 2; later seeds are left out."
    )
    options = "--seeds 3 --seed 4 --epochs 5".split()
    metrics = end_early(capsys, tmp_path, *options, ending=ending)
    assert [(run["seed"], run["epochs"]) for run in metrics["runs"]] == [(4, 2)]


@pytest.mark.usefixtures("errors")
def test_ctrl_c_during_the_baselines_keeps_the_training(tmp_path, monkeypatch, capsys):
    first = tfidf_classifier(["good", "bad"], [1, 0])
    monkeypatch.setattr(
        baselines, "tfidf_classifier", Mock(side_effect=[first, KeyboardInterrupt])
    )
    ending = "The baselines were interrupted; the rest is left out."
    metrics = end_early(capsys, tmp_path, "--baselines", ending=ending)
    assert len(metrics["baselines"]) == 2


@pytest.mark.usefixtures("errors")
def test_ctrl_c_while_writing_is_ignored(tmp_path, monkeypatch):
    write_csv = lifecycle.write_csv

    def pressed(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        write_csv(*arguments)

    monkeypatch.setattr(lifecycle, "write_csv", pressed)
    folder = make(tmp_path)
    assert {path.name for path in folder.iterdir()} == {*FILES}
    assert metrics_of(folder)["interrupted"] is False


def test_ctrl_c_while_loading_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "load_reviews", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(SystemExit, match="130"):
        make(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# What is learned.


@pytest.mark.thorough
def test_the_demo_reads_new_templates_and_everyday_sentences(tmp_path):
    """Seeds 0 to 4 gave 0.972 to 0.991, and no sentence wrong."""
    options = "--data embedded --recipe embedded --no-baselines".split()
    folder = runs.make("imdb_sentiment", tmp_path, *options)
    assert metrics_of(folder)["summary"]["test_accuracy"]["mean"] > 0.95
    trained = load_run(folder)
    wrong = [
        one.text
        for label, texts in EVERYDAY.items()
        for one in trained.predict(text.strip() for text in texts.split("|"))
        if one.label != label
    ]
    assert len(wrong) <= 1, wrong


@pytest.mark.real
def test_two_epochs_on_some_thousand_real_reviews_learn_the_sentiment(
    data_folder, tmp_path
):
    """The line is 0.78: seeds 0, 1 and 2 gave 0.823, 0.819 and 0.817."""
    options = "--limit 8000 --epochs 2 --no-baselines".split()
    metrics = metrics_of(runs.make("imdb_sentiment", tmp_path, *options))
    assert metrics["data"]["real"] is True
    assert metrics["summary"]["test_accuracy"]["mean"] > 0.78
