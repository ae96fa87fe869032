"""The sentiment experiment, from the command line to the files it leaves."""

import csv
import os
import re
import signal
import sys

import keras
import markupsafe
import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.common import lifecycle
from experiments.common.errors import DivergedError
from experiments.imdb_sentiment import run, train
from experiments.imdb_sentiment.settings import EXPERIMENT, RECIPES, Settings
from experiments.imdb_sentiment.train import build_model
from lstm_keras import LSTM, load_run
from lstm_keras.datasets import load_reviews
from tests.helpers import runs
from tests.helpers.runs import metrics_of

# The loop is compiled sooner than an engine.
TINY = tuple(
    (
        "--data embedded --limit 40 --maxlen 8 --units 3 --epochs 2 --engine loop "
        "--no-baselines"
    ).split()
)
FILES = set(
    (
        "config.json metrics.json history.csv model.keras vocabulary.json "
        "report.html figures"
    ).split()
)


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch):
    """Save time: the figures of `sentiment_run`, which is made before, are drawn."""

    def write_nothing(figure, path, **options):
        path.write_bytes(b"")

    monkeypatch.setattr(Figure, "savefig", write_nothing)


def make(output, *options):
    return runs.make("imdb_sentiment", output, *TINY, *options)


def make_unfinished(output, *options, status="130"):
    """Make a run that ends with another exit status than 0."""
    with pytest.raises(SystemExit, match=status):
        make(output, *options)
    return output / "imdb_sentiment" / "one"


def history_of(folder):
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def page_of(folder):
    return (folder / "report.html").read_text("utf-8")


def assert_told(folder, ending, terminal):
    """How the run ended stands wherever a reader may look."""
    assert metrics_of(folder)["ending"] == ending
    assert ending in terminal
    assert markupsafe.escape(ending) in page_of(folder)


def test_a_run_leaves_its_files_and_nothing_beside_them(sentiment_run):
    assert {path.name for path in sentiment_run.iterdir()} == FILES
    assert [path.name for path in sentiment_run.parent.iterdir()] == ["one"]
    assert len(list((sentiment_run / "figures").glob("*.png"))) == 5


def test_metrics_name_data_engine_versions_seed_and_time(sentiment_run):
    metrics = metrics_of(sentiment_run)
    assert metrics["data"]["real"] is False
    assert "embedded" in metrics["data"]["name"]
    sizes = {key: metrics["data"][key] for key in ("train", "validation", "test")}
    assert sizes == {"train": 64, "validation": 16, "test": 80}
    assert metrics["engine"]["layer"] == "lstm_keras.LSTM"
    assert metrics["environment"]["versions"]["keras"] == keras.__version__
    assert [run["seed"] for run in metrics["runs"]] == [0]
    assert 0 < metrics["runs"][0]["training_seconds"] < metrics["seconds"]
    assert "python -m experiments.imdb_sentiment --data" in metrics["command"]
    assert (metrics["interrupted"], metrics["ending"]) == (False, "")


def test_the_history_has_a_row_for_each_epoch(sentiment_run):
    rows = history_of(sentiment_run)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert int(best["epoch"]) == metrics_of(sentiment_run)["runs"][0]["best_epoch"]


def test_the_saved_model_has_the_reported_accuracy(sentiment_run):
    test = load_reviews("embedded", limit=80).test
    predictions = load_run(sentiment_run).predict(list(test.texts))
    right = [
        (one.label == "positive") == label
        for one, label in zip(predictions, test.labels, strict=True)
    ]
    assert np.mean(right) == pytest.approx(
        metrics_of(sentiment_run)["runs"][0]["test"]["accuracy"]
    )


def test_the_report_says_that_the_reviews_are_generated(sentiment_run):
    page = page_of(sentiment_run)
    assert "generated reviews, not from IMDB" in page
    assert page.count("<img ") == 5
    assert markupsafe.escape(metrics_of(sentiment_run)["command"]) in page


def test_baselines_stand_beside_the_network(sentiment_run):
    names = [result["name"] for result in metrics_of(sentiment_run)["baselines"]]
    assert names[0] == "Majority class"
    assert [name.startswith("TF-IDF") for name in names[1:]] == [True] * 3
    assert "last 30 only" in names[2]


@pytest.mark.thorough
def test_the_same_command_gives_the_same_numbers_whatever_the_layer(tmp_path):
    first, again = make(tmp_path / "a"), make(tmp_path / "b")
    assert history_of(first) == history_of(again)
    builtin = make(tmp_path / "c", "--layer", "builtin")
    assert metrics_of(builtin)["engine"]["layer"] == "keras.layers.LSTM"
    losses = [
        [float(row["val_loss"]) for row in history_of(one)] for one in (first, builtin)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.thorough
def test_several_seeds_give_mean_and_deviation(tmp_path):
    metrics = metrics_of(make(tmp_path, "--seeds", "2", "--seed", "5"))
    assert [run["seed"] for run in metrics["runs"]] == [5, 6]
    accuracies = [run["test"]["accuracy"] for run in metrics["runs"]]
    assert metrics["summary"]["test_accuracy"] == {
        "mean": pytest.approx(np.mean(accuracies)),
        "standard_deviation": pytest.approx(np.std(accuracies, ddof=1)),
    }
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
        ("--layer", "gru"),
        ("--layer", "simple_rnn"),
        ("--layers", "2", "--bidirectional", "--mask-padding"),
        ("--recipe", "tuned", "--epochs", "1"),
        ("--dtype", "mixed_bfloat16"),
        ("--jit",),
    ],
    ids=" ".join,
)
def test_every_kind_of_model_trains_and_is_read_back(tmp_path, options):
    folder = make(tmp_path, *options)
    (prediction,) = load_run(folder).predict(["the film was wonderful"])
    assert 0 <= prediction.probability <= 1


def test_the_plain_model_is_the_one_of_the_textbook():
    model = build_model(Settings(), 5000, steps=1)
    kinds = [type(layer) for layer in model.layers]
    assert kinds == [keras.layers.Embedding, LSTM, keras.layers.Dense]
    assert model.count_params() == 5000 * 32 + 4 * 64 * (32 + 64 + 1) + 65
    assert model.output_shape == (None, 1)


@pytest.mark.parametrize(
    ("setting", "value", "read"),
    [
        ("maxlen", 9, lambda model: model.input_shape[1]),
        ("embedding", 7, lambda model: model.layers[0].output_dim),
        ("mask_padding", True, lambda model: model.layers[0].mask_zero),
        ("mask_padding", False, lambda model: model.layers[0].mask_zero),
        ("units", 5, lambda model: model.layers[1].units),
        ("recurrent_dropout", 0.3, lambda model: model.layers[1].recurrent_dropout),
        ("layers", 3, lambda model: sum(type(one) is LSTM for one in model.layers)),
        ("jit", True, lambda model: model.jit_compile),
        ("jit", False, lambda model: model.jit_compile),
        ("learning_rate", 0.25, lambda model: float(model.optimizer.learning_rate)),
    ],
)
def test_the_model_is_built_as_the_settings_say(setting, value, read):
    model = build_model(Settings(**{setting: value}), 50, steps=1)
    assert read(model) == value


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("custom", LSTM),
        ("builtin", keras.layers.LSTM),
        ("gru", keras.layers.GRU),
        ("simple_rnn", keras.layers.SimpleRNN),
    ],
)
def test_every_layer_of_a_bidirectional_model_reads_both_ways(name, kind):
    settings = Settings(layer=name, layers=2, bidirectional=True)
    recurrent = build_model(settings, 50, steps=1).layers[1:-1]
    assert [type(one) for one in recurrent] == [keras.layers.Bidirectional] * 2
    assert [type(one.forward_layer) for one in recurrent] == [kind] * 2


def test_each_dropout_stands_at_its_place():
    settings = Settings(
        maxlen=9, word_dropout=0.1, embedding_dropout=0.2, dropout=0.3, layers=2
    )
    model = build_model(settings, 50, steps=1)
    dropouts = {
        place: (layer.rate, layer.noise_shape)
        for place, layer in enumerate(model.layers)
        if isinstance(layer, keras.layers.Dropout)
    }
    # Of Embedding, words, entries, LSTM, LSTM, last state, Dense.
    assert dropouts == {1: (0.1, (None, 9, 1)), 2: (0.2, None), 5: (0.3, None)}


@pytest.mark.parametrize(
    ("schedule", "rates"), [("constant", [0.5] * 3), ("cosine", [0.5, 0.25, 0])]
)
def test_the_learning_rate_follows_the_schedule(schedule, rates):
    settings = Settings(learning_rate=0.5, schedule=schedule)
    optimizer = build_model(settings, 50, steps=20).optimizer
    for step, rate in zip((0, 10, 20), rates, strict=True):
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(rate)


@pytest.mark.usefixtures("restored_dtype_policy")
def test_the_dtype_reaches_every_layer_but_the_probability():
    lifecycle.load(EXPERIMENT, Settings(dtype="float64"))
    policies = [
        layer.dtype_policy.name for layer in build_model(Settings(), 50, 1).layers
    ]
    assert policies == ["float64", "float64", "float32"]


def test_the_options_of_the_training_reach_it(tmp_path, monkeypatch):
    fit, seen = train.fit, {}

    def spy(model, *arguments, **options):
        seen.update(options, optimizer=model.optimizer)
        return fit(model, *arguments, **options)

    monkeypatch.setattr(train, "fit", spy)
    make(tmp_path, *"--epochs 3 --batch-size 5 --patience 7 --schedule cosine".split())
    optimizer, checkpoint = seen.pop("optimizer"), seen.pop("to")
    assert (checkpoint.path.name, checkpoint.seconds) == ("seed-0.npz", 60)
    assert seen == {"epochs": 3, "patience": 7}
    # 32 reviews are 7 batches; the decay ends with the training.
    assert int(optimizer.iterations) == 3 * 7
    assert float(optimizer.learning_rate) == pytest.approx(0, abs=1e-9)


def test_recipes_only_name_settings():
    for recipe in RECIPES.values():
        Settings(**recipe)


def test_an_existing_run_is_refused_and_unchanged(sentiment_run):
    before = {path: path.stat().st_mtime_ns for path in sentiment_run.rglob("*")}
    with pytest.raises(SystemExit, match=r"one exists already.*--overwrite"):
        make(sentiment_run.parent.parent)
    after = {path: path.stat().st_mtime_ns for path in sentiment_run.rglob("*")}
    assert after == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "nowhere.csv"), r"expected --data as one of .*'nowhere\.csv'"),
        (("--validation-split", "0.001"), "leaves reviews on both sides"),
        (("--learning-rate", "10", "--epochs", "0"), "2"),
        (("--name", "../up"), "expected a plain folder name"),
    ],
)
def test_bad_options_end_the_program_and_leave_nothing(tmp_path, options, message):
    with pytest.raises(SystemExit, match=message):
        runs.main("imdb_sentiment", *TINY, "--output", tmp_path, *options)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# Predictions.


def predict(capsys, *arguments):
    runs.main("imdb_sentiment", "predict", *arguments)
    return capsys.readouterr().out.splitlines()


def test_predict_prints_label_probability_and_unknown_words(sentiment_run, capsys):
    (line,) = predict(capsys, sentiment_run, "The film was xyzzy")
    assert re.fullmatch(
        r"(positive|negative)  0\.[5-9]\d\d  The film was xyzzy  "
        r"\(1 of 4 words unknown\)",
        line,
    )


@pytest.mark.parametrize(
    ("text", "remarks"),
    [
        ("the film\n\n" + "film " * 31, ["unknown", "says nothing", "last 30 read"]),
        # Characters at which str.splitlines would split.
        ("good\x85film\x0cthe\u2028end", ["unknown"]),
    ],
    ids=["three reviews", "odd characters"],
)
def test_predict_reads_a_review_a_line_from_standard_input(
    text, remarks, sentiment_run, capsys, monkeypatch, tmp_path
):
    (tmp_path / "reviews").write_text(text + "\n", "utf-8")
    with (tmp_path / "reviews").open(encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdin", file)
        lines = predict(capsys, sentiment_run, "-")
    for line, remark in zip(lines, remarks, strict=True):
        assert remark in line


def test_predict_without_a_run_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match="expected a run folder"):
        runs.main("imdb_sentiment", "predict", tmp_path / "nowhere", "text")


# Interruptions and failures: functions that end at a certain call, as a key press or a
# divergence would make them.


def fail_at_the_second(monkeypatch, module, name, error=KeyboardInterrupt):
    """Make the second call of a function end in an error, by default Ctrl-C."""
    function, calls = getattr(module, name), []

    def pressed(*arguments, **options):
        calls.append(name)
        if len(calls) == 2:
            raise error
        return function(*arguments, **options)

    monkeypatch.setattr(module, name, pressed)


def test_ctrl_c_between_seeds_keeps_the_seeds_before(tmp_path, monkeypatch, capsys):
    fail_at_the_second(monkeypatch, train, "build_model")
    folder = make_unfinished(tmp_path, "--seeds", "3")
    assert [run["seed"] for run in metrics_of(folder)["runs"]] == [0]
    assert metrics_of(folder)["interrupted"] is True
    ending = "Seed 1 was interrupted; it and later ones are left out."
    assert_told(folder, ending, capsys.readouterr().out)


def test_ctrl_c_in_a_seed_keeps_it_and_leaves_out_the_later_ones(
    tmp_path, monkeypatch, capsys
):
    fit = train.fit

    class PressCtrlC(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                os.kill(os.getpid(), signal.SIGINT)

    def pressed(*arguments, **options):
        return fit(*arguments, **options, callbacks=[PressCtrlC()])

    monkeypatch.setattr(train, "fit", pressed)
    folder = make_unfinished(tmp_path, "--seeds", "3", "--seed", "4", "--epochs", "5")
    assert metrics_of(folder)["interrupted"] is True
    found = [(run["seed"], run["epochs"]) for run in metrics_of(folder)["runs"]]
    assert found == [(4, 2)]
    ending = (
        "The training of seed 4 was interrupted in epoch 2; later seeds are left out."
    )
    said = capsys.readouterr().out
    assert_told(folder, ending, said)
    command = f"python -m experiments.imdb_sentiment --resume {folder}"
    assert said.endswith(f"{command}\n")


def test_a_seed_that_diverges_leaves_the_others_alone(tmp_path, monkeypatch, capsys):
    error = DivergedError("no <finite> loss")
    fail_at_the_second(monkeypatch, train, "fit", error)
    folder = make_unfinished(tmp_path, "--seeds", "3", status="1")
    metrics = metrics_of(folder)
    assert [run["seed"] for run in metrics["runs"]] == [0, 2]
    assert metrics["interrupted"] is False  # to resume would change nothing
    ending = "Seed 1 diverged: no <finite> loss; it is left out."
    assert_told(folder, ending, capsys.readouterr().out)
    assert not (folder / "checkpoint").exists()


def test_a_mistake_in_a_later_seed_is_not_taken_for_a_divergence(tmp_path, monkeypatch):
    fail_at_the_second(monkeypatch, train, "fit", ValueError("a mistake"))
    make_unfinished(tmp_path, "--seeds", "3", status="a mistake")


def test_ctrl_c_during_the_baselines_keeps_the_training(tmp_path, monkeypatch, capsys):
    fail_at_the_second(monkeypatch, run, "tfidf_baseline")
    folder = make_unfinished(tmp_path, "--baselines")
    assert metrics_of(folder)["interrupted"] is True
    assert len(metrics_of(folder)["baselines"]) == 2
    ending = "The baselines were interrupted; the rest is left out."
    assert_told(folder, ending, capsys.readouterr().out)


@pytest.mark.thorough
def test_ctrl_c_while_writing_is_ignored(tmp_path, monkeypatch):
    write_csv = lifecycle.write_csv

    def pressed(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        write_csv(*arguments)

    monkeypatch.setattr(lifecycle, "write_csv", pressed)
    folder = make(tmp_path)
    assert {path.name for path in folder.iterdir()} == FILES
    assert metrics_of(folder)["interrupted"] is False


def test_ctrl_c_while_loading_leaves_nothing(tmp_path, monkeypatch):
    def pressed(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "load_reviews", pressed)
    make_unfinished(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.real
def test_two_epochs_on_some_thousand_real_reviews_learn_the_sentiment(
    data_folder, tmp_path
):
    """The line is 0.78: seeds 0, 1 and 2 gave 0.823, 0.819 and 0.817."""
    options = "--limit 8000 --epochs 2 --no-baselines".split()
    metrics = metrics_of(runs.make("imdb_sentiment", tmp_path, *options))
    assert metrics["data"]["real"] is True
    assert metrics["summary"]["test_accuracy"]["mean"] > 0.78
