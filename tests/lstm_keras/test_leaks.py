"""Memory stays flat over many calls, measured in a process of its own."""

import gc
import json

import numpy as np
import psutil
import pytest

from tests.helpers.fresh_process import run_python

# The process makes some 500 calls, and collects garbage after each.
pytestmark = pytest.mark.thorough

TIME, FEATURES, UNITS = 8, 8, 128
# A fit leaves some 30 KiB in TensorFlow, with Keras's layer as well. Its batch is
# larger, so that what the layer itself would leave is more.
ROWS = {"predict": 64, "fit": 256}
CALLS = {"predict": 200, "fit": 50}
PLANTED_CALLS = {"predict": 80, "fit": 25}
# Compiled programs are made in the first calls, and TensorFlow clears up some calls
# later.
WARM_UP = 30
# Buffers go back to the system when they are freed, so that resident memory is memory
# in use. This is read by the allocator of Linux, when a process starts.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def main():
    """Print by how many bytes memory grows with each call, for every kind of call."""
    import keras

    import lstm_keras

    model = keras.Sequential(
        [
            keras.Input((None, FEATURES)),
            lstm_keras.LSTM(UNITS, return_sequences=True, engine="auto"),
            lstm_keras.LSTM(UNITS, return_sequences=True, engine="loop"),
        ]
    )
    model.compile("adam", "mse")
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS["fit"], TIME, FEATURES)).astype("float32")
    y = random.normal(size=(ROWS["fit"], TIME, UNITS)).astype("float32")
    calls = {
        "predict": lambda: model.predict(x[: ROWS["predict"]], verbose=0),
        "fit": lambda: model.fit(x, y, batch_size=len(x), verbose=0),
    }
    found, kept = {}, []
    for name, call in calls.items():

        def leaks(name=name, call=call):
            call()
            kept.append(np.ones((ROWS[name], UNITS), "float32"))

        for _ in range(WARM_UP):
            call()
        found[name] = growth(call, CALLS[name])
        found[f"planted in {name}"] = growth(leaks, PLANTED_CALLS[name])
    print(json.dumps(found))


def growth(call, calls):
    """Return the growth of resident memory per call, in bytes.

    It is the median of the slopes between all pairs of measurements, on which a few
    jumps have no influence.
    """
    gc.collect()
    gc.freeze()  # so that collecting after each call is fast
    resident = []
    for _ in range(calls):
        call()
        gc.collect()
        resident.append(psutil.Process().memory_info().rss)
    first, second = np.triu_indices(calls, 1)
    rises = np.subtract(*np.take(resident, [second, first]))
    return float(np.median(rises / (second - first)))


@pytest.fixture(scope="module")
def growths():
    program = f"from {__name__} import main; main()"
    return json.loads(run_python(program, **ALLOCATOR).splitlines()[-1])


@pytest.mark.parametrize("method", CALLS)
def test_memory_stays_flat_and_a_leak_of_one_state_in_each_call_is_noticed(
    growths, method
):
    # Half of one state of a batch: the least that a layer holds, weights included.
    allowed = ROWS[method] * UNITS * np.dtype("float32").itemsize / 2
    assert growths[method] < allowed < growths[f"planted in {method}"]
