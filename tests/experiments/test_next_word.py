"""The next-word experiment, from the command line to the files it leaves."""

import csv
import html
import re
import signal
from pathlib import Path

import keras
import numpy as np
import pytest

from experiments.next_word import train as training
from experiments.next_word.run import data_facts, load
from experiments.next_word.samples import cuts, samples
from experiments.next_word.settings import RECIPES, Settings
from lstm_keras import LSTM, load_run
from lstm_keras.datasets import load_text
from lstm_keras.language_model import ResetStates, TiedEmbedding
from lstm_keras.preprocessing import (
    END,
    OOV,
    PADDING,
    START,
    Vocabulary,
    sentences,
    shift,
)
from lstm_keras.runs import NextWordRun
from tests.helpers import runs
from tests.helpers.browser import assert_page_is_sound, in_a_browser
from tests.helpers.runs import metrics_of

SENTENCES = (
    "The cat sat on the mat .",
    "The dog sat on the rug .",
    "A cat ran home !",
    "A dog ran home !",
    "The bird sang a song .",
    "A bird sat on the mat .",
)
SMALL = """--embedding 8 --units 10 --epochs 3 --min-count 1 --batch-size 4 --dropout 0
    --recurrent-dropout 0""".split()
STREAM = "--split stream --steps 6 --layers 2 --tied".split()
FILES = """config.json metrics.json history.csv model.keras vocabulary.json report.html
    figures""".split()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Five paragraphs of six sentences."""
    path = tmp_path_factory.mktemp("text") / "pets.txt"
    path.write_text(("\n".join(SENTENCES) + "\n\n") * 5, encoding="utf-8")
    return path


def train(output, text, *options):
    return runs.make("next_word", output, "--text", text, *SMALL, *options)


def history_of(folder):
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, text):
    return train(tmp_path_factory.mktemp("runs"), text)


@pytest.fixture(scope="module")
def stream(tmp_path_factory, text):
    return train(tmp_path_factory.mktemp("runs"), text, *STREAM)


def test_a_run_leaves_every_file_and_nothing_beside_them(folder):
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
    assert len(list((folder / "figures").glob("*.png"))) == 4


def test_metrics_name_text_engine_and_the_tokens_of_every_model(folder):
    metrics = metrics_of(folder)
    data, results = metrics["data"], metrics["results"]
    assert data["name"] == "text (pets.txt)"
    assert (data["train"]["segments"], data["held_out"]["segments"]) == (27, 3)
    assert metrics["engine"]["layer"] == "lstm_keras.LSTM"
    assert metrics["environment"]["versions"]["keras"] == keras.__version__
    assert 0 < metrics["training_seconds"] < metrics["seconds"]
    assert metrics["ending"] == "" and metrics["interrupted"] is False
    names = [result["name"] for result in results]
    assert names == ["lstm_keras.LSTM", "Kneser-Ney trigram", "Unigram"]
    for part in ("train", "held_out"):
        for result in results:
            for fact in ("tokens", "oov_rate"):
                assert result[part][fact] == data[part][fact]


def test_the_best_epoch_is_the_one_of_the_lowest_held_out_perplexity(folder):
    rows = history_of(folder)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    best = min(rows, key=lambda row: float(row["val_perplexity"]))
    metrics = metrics_of(folder)
    assert int(best["epoch"]) == metrics["best_epoch"]
    result = metrics["results"][0]["held_out"]
    for name in ("loss", "perplexity"):  # of all tokens alike
        assert float(best[f"val_{name}"]) == pytest.approx(result[name], rel=1e-4)


@pytest.mark.parametrize(
    "run", ["folder", pytest.param("stream", marks=pytest.mark.thorough)]
)
def test_the_saved_model_gives_the_reported_perplexity(run, text, request):
    """Each sentence, or the whole stream, in one pass: no batches, windows, scorer."""
    folder = request.getfixturevalue(run)
    loaded = load_run(folder)
    corpus = load_text(text, split=loaded.config["split"], min_count=1)
    whole = loaded.config["split"] == "stream"
    pairs = map(shift, [corpus.held_out] if whole else sentences(corpus.held_out))
    losses = []
    for inputs, targets in pairs:
        logits = loaded.model.predict(inputs[None], verbose=0)[0].astype("float64")
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        losses.extend(-logits[np.arange(len(targets)), targets])
    reported = metrics_of(folder)["results"][0]["held_out"]
    assert len(losses) == reported["tokens"]
    assert np.exp(np.mean(losses)) == pytest.approx(reported["perplexity"], rel=1e-4)


def test_the_report_shows_results_figures_and_command(folder):
    page = html.unescape((folder / "report.html").read_text("utf-8"))
    assert page.count("<svg ") == 4
    metrics = metrics_of(folder)
    assert metrics["command"] in page
    ours, trigram, _ = (one["held_out"]["perplexity"] for one in metrics["results"])
    assert f"held-out text lstm_keras.LSTM has a perplexity of {ours:.1f}" in page
    assert f"Kneser-Ney trigram, has {trigram:.1f}." in page


@pytest.mark.thorough
@in_a_browser
def test_the_report_is_sound_in_a_browser(folder):
    assert_page_is_sound(folder / "report.html")


def test_samples_are_what_the_model_makes_of_sentences(folder, text):
    run, corpus = load_run(folder), load_text(text, min_count=1)
    lines = [run.vocabulary.decode(line).split() for line in sentences(corpus.train)]
    lines = {"".join(line) for line in lines}
    found = samples(run, corpus.train, seed=0)
    assert len({one.beginning for one in found}) == 5
    for one in found:
        assert "".join(f"{one.beginning} {one.rest}".split()) in lines
        logits = run.model.predict(run.read(one.beginning)[0][None], verbose=0)[0, -1]
        shares = np.exp(logits) / np.exp(logits).sum()
        best = [i for i in np.argsort(-shares) if i not in (PADDING, START, OOV)][:5]
        assert [word for word, _ in one.expected] == [run.name_of(i) for i in best]
        assert [share for _, share in one.expected] == pytest.approx(shares[best])
        following = run.vocabulary.id_of(one.following)
        assert one.probability == pytest.approx(shares[following])
        for written, how in (
            (one.greedy, {}),
            (one.sampled, {"temperature": 0.8, "seed": 0}),
        ):
            again = run.generate(one.beginning, 20, **how)
            assert written == again.continuation.strip()
    assert samples(run, corpus.train, seed=0) == found != samples(run, corpus.train, 1)
    page = html.unescape((folder / "report.html").read_text("utf-8"))
    assert run.generate("", 60, temperature=0.8, seed=0).text in page
    for one in samples(run, corpus.held_out, seed=0):
        assert one.beginning in page and one.sampled in page


def test_sentences_to_go_on_with_begin_with_enough_words_that_are_known():
    vocabulary = Vocabulary(["a", "b", "c", "d"], "whitespace")
    run = NextWordRun(Path(), {"split": "lines"}, vocabulary, None, None)
    texts = [[4, 5, 6, 7, END], [4, OOV, 5, 6, END], [4, 5, END], [4, 5, 6, OOV]]
    found = list(cuts(run, np.concatenate(texts), seed=0))
    assert [(text.tolist(), cut in (3, 4)) for text, cut in found] == [(texts[0], True)]


@pytest.mark.thorough
def test_the_same_command_gives_the_same_numbers(folder, tmp_path, text):
    again = train(tmp_path, text)
    assert history_of(again) == history_of(folder)
    assert metrics_of(again)["results"] == metrics_of(folder)["results"]


@pytest.mark.thorough
@pytest.mark.parametrize(("run", "options"), [("folder", ()), ("stream", STREAM)])
def test_our_layer_and_keras_own_learn_the_same(request, tmp_path, text, run, options):
    ours = request.getfixturevalue(run)
    theirs = train(tmp_path, text, "--layer", "builtin", *options)
    assert metrics_of(theirs)["engine"]["layer"] == "keras.layers.LSTM"
    for one, other in zip(history_of(ours), history_of(theirs), strict=True):
        for name in ("perplexity", "val_perplexity"):
            assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-4)


@pytest.mark.thorough
def test_nothing_held_out_is_said_and_the_text_is_learned(tmp_path, text):
    folder = train(tmp_path, text, "--recipe", "by_heart", "--epochs", "30")
    metrics = metrics_of(folder)
    result = metrics["results"][0]
    assert result["held_out"] is None
    assert result["train"]["prefix_accuracy"] > 0.6
    assert "No text was held out" in (folder / "report.html").read_text("utf-8")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "options",
    [
        "--layer gru --examples prefixes --schedule plateau --patience 1 --limit 60"
        " --weight-decay 0.1 --max-vocab 8 --tokens text_cased",
        "--layer simple_rnn --split stream",
        "--tied --layers 2 --dropout 0.3 --recurrent-dropout 0.2",
        "--sampled-softmax 6 --jit --split paragraphs --held-out 0",
        "--dtype mixed_bfloat16",
    ],
)
def test_every_kind_of_model_trains_and_writes(tmp_path, text, options):
    policy = keras.config.dtype_policy()
    try:
        options = ["--no-baselines", "--epochs", "1", *options.split()]
        folder = train(tmp_path, text, *options)
        written = load_run(folder).generate("the cat", tokens=5)
    finally:
        keras.config.set_dtype_policy(policy)
    assert written.text.startswith("the cat")
    assert written.tokens <= 5


def test_a_text_of_its_own_may_be_held_out(tmp_path, text):
    other = tmp_path / "other.txt"
    other.write_text("the cat sang .\na zebra sang .\n", "utf-8")
    facts = load(Settings(text=str(text), held_out_text=str(other))).facts
    assert facts["train"]["segments"] == 30
    assert facts["held_out"]["segments"] == 2
    assert facts["held_out"]["oov_rate"] == pytest.approx(1 / 10)


def test_the_plain_model_is_the_one_of_the_tutorial():
    model = training.build(Settings(dropout=0.0), 500).model
    kinds = [type(layer) for layer in model.layers[1:]]
    assert kinds == [keras.layers.Embedding, LSTM, keras.layers.Dense]
    assert model.count_params() == (
        500 * 100 + 4 * 150 * (100 + 150 + 1) + (150 + 1) * 500
    )


def layers_of(kind, **settings):
    model = training.build(Settings(**settings), 500).model
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_every_option_of_the_model_is_heeded():
    assert len(layers_of(LSTM, layers=3)) == 3
    assert [layer.units for layer in layers_of(LSTM, layers=2, tied=True)] == [150, 100]
    assert layers_of(TiedEmbedding, tied=True)[0].output_dim == 100
    assert layers_of(LSTM, recurrent_dropout=0.4)[0].recurrent_dropout == 0.4
    rates = [one.rate for one in layers_of(keras.layers.Dropout, dropout=0.4)]
    assert rates == [0.4, 0.4]
    assert layers_of(keras.layers.Embedding, examples="prefixes")[0].mask_zero
    assert layers_of(keras.layers.LSTM, layer="builtin", units=7)[0].units == 7


def test_the_optimizer_heeds_rate_decay_and_clipping():
    options = {"learning_rate": 0.03, "weight_decay": 0.2, "clip": 0.7}
    optimizer = training.optimizer(Settings(schedule="constant", **options), 30)
    assert float(optimizer.learning_rate) == pytest.approx(0.03)
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.2, 0.7)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    falling = training.optimizer(Settings(learning_rate=0.1), 30)
    for step, rate in ((15, 0.05), (30, 0)):
        falling.iterations.assign(step)
        assert float(falling.learning_rate) == pytest.approx(rate, abs=1e-8)


@pytest.fixture
def fit_arguments(monkeypatch, text):
    """Return what `fit` is given for some settings; nothing is trained."""

    class CapturedError(Exception):
        pass

    def arguments(**settings):
        def fit(*given, **options):
            raise CapturedError(given, options)

        monkeypatch.setattr(training, "fit", fit)
        chosen = Settings(text=str(text), min_count=1, **settings)
        with pytest.raises(CapturedError) as stopped:
            training.train(chosen, load(chosen))
        return stopped.value.args

    return arguments


def test_every_option_of_the_training_is_heeded(fit_arguments):
    stream = {"split": "stream", "batch_size": 3, "steps": 4, "sampled_softmax": 6}
    (trainer, batches, held_out), options = fit_arguments(
        jit=True, patience=2, epochs=7, schedule="plateau", **stream
    )
    assert (trainer.samples, trainer.jit_compile) == (6, True)
    assert batches[0][0].shape == held_out[0][0].shape == (3, 4)
    assert (options["epochs"], options["patience"]) == (7, 2)
    assert options["monitor"] == "val_perplexity"
    kinds = [type(one).__name__ for one in options["callbacks"]]
    assert kinds == ["ResetStates", "ReduceLROnPlateau"]


@pytest.mark.parametrize(
    ("examples", "kind"), [("passes", "SentenceBatches"), ("prefixes", "PrefixBatches")]
)
def test_sentences_are_learned_in_passes_or_prefixes(fit_arguments, examples, kind):
    (_, batches, held_out), options = fit_arguments(examples=examples, held_out=0.0)
    assert type(batches).__name__ == kind
    assert held_out is None
    assert options["monitor"] == "perplexity"


@pytest.mark.parametrize(
    ("name", "keyword", "value"),
    [
        ("split", "split", "paragraphs"),
        ("tokens", "tokenizer", "whitespace"),
        ("min_count", "min_count", 12),
        ("max_vocab", "max_vocab", 9),
        ("limit", "limit", 50),
        ("held_out", "held_out", 0.2),
        ("held_out_text", "held_out_source", "{text}"),
        ("seed", "seed", 8),
    ],
)
def test_every_option_of_the_text_is_heeded(text, name, keyword, value):
    if value == "{text}":
        value = str(text)
    settings = Settings(text=str(text), **{"held_out": 0.4, name: value})

    def facts(**options):
        corpus = load_text(text, **{"held_out": 0.4, **options})
        return data_facts(settings, corpus), corpus.vocabulary.words

    corpus = load(settings)
    found = data_facts(settings, corpus), corpus.vocabulary.words
    assert found == facts(**{keyword: value})
    assert found != facts()


def test_loading_a_long_text_shows_its_progress(text, monkeypatch, capsys):
    monkeypatch.setattr("lstm_keras.datasets.corpora.PROGRESS_STEP", 100)
    load(Settings(text=str(text)))
    assert re.search(r"… 10\d … 20\d … done", capsys.readouterr().out)


def test_an_interrupted_run_reports_and_leaves_the_n_grams_out(
    tmp_path, monkeypatch, capsys
):
    """Of a stream of words that are markup, or command the terminal."""

    class CtrlC(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training, "callbacks", lambda *_: [ResetStates(), CtrlC()])
    hostile = tmp_path / "text"
    hostile.write_text("<script>alert(1)</script> \x1b[31mred [END] &amp; cat\n" * 30)
    options = ("--split", "stream", "--steps", "6", "--tokens", "whitespace")
    with pytest.raises(SystemExit, match="130"):
        train(tmp_path, hostile, *options)
    folder = tmp_path / "next_word" / "one"
    metrics = metrics_of(folder)
    assert metrics["interrupted"] is True
    assert metrics["ending"] == "The training was interrupted in epoch 1."
    assert len(metrics["results"]) == 1
    page = (folder / "report.html").read_text("utf-8")
    assert metrics["ending"] in page
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    out = capsys.readouterr().out
    assert metrics["ending"] in out
    assert "“<script>alert(1)</script> \ufffd[31mred [END]" in out
    assert "goes on, at temperature 0.8: “" in out.rpartition("What it writes")[2]
    assert "\x1b" not in out + page
    assert f"python -m experiments.next_word --resume {folder}" in out


def test_recipes_only_name_settings():
    for recipe in RECIPES.values():
        Settings(**recipe)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--text", "nowhere.txt"), r"expected a text as one of .*'nowhere\.txt'"),
        (("--held-out-text", "nowhere.txt"), r"expected a text as one of"),
        (("--split", "stream", "--examples", "prefixes"), "has no prefixes"),
        (("--text", ""), r"expected a text as one of .*''"),
    ],
)
def test_bad_options_end_the_program_and_leave_nothing(
    tmp_path, text, options, message
):
    with pytest.raises(SystemExit, match=message):
        train(tmp_path, text, *options)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"one", b"\xff\xfe\xfa"])
def test_a_text_that_cannot_be_learned_ends_the_program(tmp_path, content):
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(SystemExit, match=r"error: .*expected"):
        train(tmp_path / "runs", tmp_path / "text")
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]


def generate(capsys, *arguments):
    runs.main("next_word", "generate", *arguments)
    return capsys.readouterr().out


def test_generate_prints_the_prompt_and_its_continuation(folder, capsys):
    out = generate(capsys, folder, "The cat", "--tokens", "3")
    written = load_run(folder).generate("The cat", tokens=3)
    assert out == written.text + "\n" == f"The cat{written.continuation}\n"


def test_show_prints_words_with_probabilities_as_bars(folder, capsys):
    lines = generate(capsys, folder, "the cat", "--show", "4").splitlines()
    shares = [float(re.match(r" *([\d.]+)%", line)[1]) for line in lines]
    assert len(lines) == 4
    assert shares == sorted(shares, reverse=True)
    assert lines[0].count("█") >= lines[3].count("█")


def test_unknown_words_are_named(folder, capsys):
    out = generate(capsys, folder, "the xyzzy sat")
    assert "(unknown words: xyzzy)" in out


@pytest.mark.real
def test_the_faq_is_learned_by_heart(data_folder, tmp_path):
    faq = data_folder / "next_word" / "faq.txt"
    folder = runs.make("next_word", tmp_path, "--text", faq, "--recipe", "by_heart")
    result = metrics_of(folder)["results"][0]["train"]
    # 887 of 928 is the most that any model can reach; seed 0 gets 886 (0.9547).
    assert result["prefix_accuracy"] >= 0.954
    run = load_run(folder)
    words = run.next_words("the course follows a monthly", 1)
    assert words[0][0] == "subscription"
