"""Time exported models in onnxruntime, beside the Keras models that they are from."""

import statistics
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers

from experiments.speed.agenda import Agenda
from experiments.speed.language import engine
from experiments.speed.metrics import TableMetrics
from experiments.speed.settings import Settings
from lstm_keras import LSTM, export_onnx

FEATURES, UNITS, ROUNDS = 32, 64, 20
# Batch, time, and whether there is a mask.
SHAPES = {
    "1 x 200 steps": (1, 200, False),
    "1 x 200 steps, masked": (1, 200, True),
    "64 x 200 steps": (64, 200, False),
    "64 x 200 steps, masked": (64, 200, True),
}


def export(settings: Settings, agenda: Agenda) -> TableMetrics:
    """Time a prediction of each model and of its file, in turn."""
    rows: list[dict] = []
    agenda.plan(SHAPES)
    with agenda:
        for name, shape in SHAPES.items():
            with agenda.measurement(name):
                rows.append({"batch": name, **milliseconds(*shape)})
    ratios = [
        f"{row['Keras'] / row['onnxruntime']:.1f} ({row['batch']})" for row in rows
    ]
    return TableMetrics(
        measure="export",
        finding="The speed of onnxruntime relative to Keras's layer is "
        f"{', '.join(ratios)}."
        if rows
        else "",
        data={"name": f"random sequences of {FEATURES} features; {UNITS} units"},
        engine=engine("auto"),
        notes=[],
        results={"Milliseconds of a prediction": rows},
    )


def milliseconds(batch: int, steps: int, masked: bool) -> dict[str, float]:
    """Return the median times of a prediction by each path, timed in turn."""
    import onnxruntime

    x = np.random.default_rng(0).normal(size=(batch, steps, FEATURES))
    if masked:
        x[:, : steps // 4] = 0
    x = x.astype("float32")
    models = {"Keras": model(layers.LSTM, masked), "lstm_keras": model(LSTM, masked)}
    models["lstm_keras"].set_weights(models["Keras"].get_weights())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export_onnx(models["lstm_keras"], file)
        session = onnxruntime.InferenceSession(str(file))
    (name,) = (one.name for one in session.get_inputs())
    paths = {key: one.predict_on_batch for key, one in models.items()}
    paths["onnxruntime"] = lambda x: session.run(None, {name: x})
    clocks: dict[str, list[float]] = {key: [] for key in paths}
    for _ in range(ROUNDS):
        for key, path in paths.items():
            path(x)  # untimed: compiles, or fills caches
            start = time.perf_counter()
            path(x)
            clocks[key].append(time.perf_counter() - start)
    return {key: 1000 * statistics.median(one) for key, one in clocks.items()}


def model(layer: type, masked: bool) -> keras.Model:
    """Return a model of one recurrent layer."""
    masking = [layers.Masking()] if masked else []
    return keras.Sequential([keras.Input((None, FEATURES)), *masking, layer(UNITS)])
