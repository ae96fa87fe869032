"""Exported runs give the numbers of the runs, in a process without Keras."""

import re
import subprocess
import sys

import numpy as np
import pytest
from keras import ops

from experiments.imdb_sentiment.model import build_model
from experiments.imdb_sentiment.settings import EXPERIMENT
from lstm_keras import export_onnx, load_run
from tests.helpers import runs
from tests.helpers.equality import randomize_weights
from tests.helpers.models import write_language_run
from tests.helpers.pairwise import first_of

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# Such an environment has neither Keras, a backend, this package nor onnx.
WITHOUT = "import sys; sys.modules.update(dict.fromkeys({}))\n".format(
    "keras tensorflow jax torch lstm_keras experiments onnx".split()
)
ALONE = (
    f"{WITHOUT}import runpy; sys.path[:] = [p for p in sys.path if p != '']\n"
    "page, *sys.argv[1:] = sys.argv[1:]\n"
    "import os; sys.path.insert(0, os.path.dirname(page))\n"
    "runpy.run_path(page, run_name='__main__')"
)
TEXTS = [
    "What a wonderful film!",
    "Don’t watch <b>this</b> “boring” movie.",
    "",
    "xyzzy",
]


def run_page(page, *argv, cwd):
    """What a page prints in another folder, without this checkout and Keras."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, page, *argv],
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_a_sentiment_run(sentiment_run, tmp_path, capsys):
    folder = tmp_path / "exported"
    runs.main("imdb_sentiment", "export", sentiment_run, folder)
    assert float(re.search("from Keras: (.*)", capsys.readouterr().out)[1]) < 1e-5
    assert {path.name for path in folder.iterdir()} == set(
        "model.onnx vocabulary.json classify.py lstm_tokenizers.py".split()
    )
    lines = run_page(folder / "classify.py", *TEXTS, cwd=tmp_path).splitlines()
    expected = load_run(sentiment_run).predict(TEXTS)
    assert lines == [f"{one.probability:.4f}  {one.text}" for one in expected]


@first_of("recipe", ["supervised", "pretrained"])
def test_a_model_of_a_recipe(recipe, tmp_path):
    opened = [
        load_run(write_language_run(tmp_path / str(backwards), "stream", backwards))
        for backwards in (False, True)
    ]
    settings = EXPERIMENT.parse(["--recipe", recipe, "--units", "6"])
    pretrained = opened if recipe == "pretrained" else ()
    model = build_model(settings, len(opened[0].vocabulary), pretrained)
    randomize_weights(model)
    ids = np.array([[0, 0, 1, 4, 9], [1, 2, 5, 0, 0], [0, 0, 0, 0, 6]], np.int32)
    done = export_onnx(model, tmp_path / "model.onnx", examples=ids)
    assert done.largest_error < 1e-5
    session = onnxruntime.InferenceSession(str(done.path))
    (found,) = session.run(None, {"ids": ids})
    expected = ops.convert_to_numpy(ops.stop_gradient(model(ids)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.ptp(expected) > 1e-3


@first_of("kind", [("stream", False), ("lines", False), ("lines", True)])
def test_a_next_word_run(kind, tmp_path):
    folder = write_language_run(tmp_path / "run", *kind)
    runs.main("next_word", "export", folder)
    page = folder / "onnx/continue_text.py"
    written = load_run(folder).generate("The cat", tokens=6).text
    assert run_page(page, "The cat", "6", cwd=tmp_path) == f"{written}\n"


def test_word_by_word_a_step_model_equals_the_whole_sequence(tmp_path):
    run = load_run(write_language_run(tmp_path / "run"))
    done = export_onnx(run, tmp_path / "model.onnx")
    states = ["first_h", "first_c", "second_h", "second_c"]
    assert done.inputs == ("ids", *states)
    assert done.outputs == ("logits", *(f"{name}_next" for name in states))
    session = onnxruntime.InferenceSession(str(done.path))
    ids = np.array([[1, 4, 5, 2, 6, 0, 7]], np.int32)
    expected = ops.convert_to_numpy(ops.stop_gradient(run.model(ids)))[0]
    values = [np.zeros((1, 8), np.float32) for _ in states]
    for step in range(ids.shape[1]):
        feed = dict(zip(done.inputs, [ids[:, step : step + 1], *values], strict=True))
        logits, *values = session.run(None, feed)
        np.testing.assert_allclose(logits[0], expected[step], rtol=0, atol=1e-5)


def test_predict_computes_by_the_exported_model(sentiment_run, tmp_path, capsys):
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", sentiment_run, copy], check=True)
    with pytest.raises(SystemExit, match="expected an exported model at"):
        runs.main("imdb_sentiment", "predict", copy, "text", "--onnx")
    runs.main("imdb_sentiment", "predict", copy, *TEXTS)
    by_keras = capsys.readouterr().out
    runs.main("imdb_sentiment", "export", copy)
    capsys.readouterr()
    runs.main("imdb_sentiment", "predict", copy, *TEXTS, "--onnx")
    assert capsys.readouterr().out == by_keras
    (copy / "onnx/model.onnx").write_bytes(b"damaged")
    with pytest.raises(SystemExit, match="run the command export again"):
        runs.main("imdb_sentiment", "predict", copy, "text", "--onnx")


def test_without_onnx_the_command_says_what_to_install(tmp_path, monkeypatch):
    run = write_language_run(tmp_path / "run")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SystemExit, match=r"need onnx; .* 'lstm_keras\[onnx\]'"):
        runs.main("next_word", "export", run)
