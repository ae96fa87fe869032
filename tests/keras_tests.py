"""Runs Keras's own tests of its LSTM on ours.

    python -m tests.keras_tests

on the backend that `KERAS_BACKEND` names, or on TensorFlow. The installed Keras holds
its tests. They run in copies that name `lstm_keras.LSTM` and `lstm_keras.LSTMCell`
where the originals name `layers.LSTM` and `layers.LSTMCell`, and once more with Keras's
classes in the same place. The exit status is 1 if a test passes with Keras's classes
and not with ours, unless it is one of `EXCEPTIONS`, or if one of these passes.
"""

import ast
import importlib
import importlib.util
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers import patterns
from tests.helpers.forks import in_a_fork

FILES = (
    "lstm_test.py",
    "bidirectional_test.py",
    "stacked_rnn_cells_test.py",
    "time_distributed_test.py",  # does not name an LSTM in 3.15.1; newer ones may
)
NAMES = ("LSTM", "LSTMCell")
PROXY = "under_test"  # the name from which the copied tests take them
KERAS, OURS = "keras.layers", "lstm_keras"  # the modules that hold the two classes
LONGEST = 900  # seconds; a run that hangs ends here

# Tests that pass with Keras's classes only, and why that is as it should be.
EXCEPTIONS = {
    "bidirectional_test::SimpleRNNTest::test_fused_lstm_eligibility": (
        "Bidirectional calls cuDNN for both directions at once with Keras's class alone"
    ),
}


@dataclass
class Outcomes:
    """How the tests of one run ended; a plugin of pytest that records it."""

    of: dict[str, str] = field(default_factory=dict)  # "passed", "failed" and so on
    messages: dict[str, str] = field(default_factory=dict)  # of the tests that failed
    used: set[str] = field(default_factory=set)  # those that used a class under test

    def pytest_runtest_logreport(self, report):
        """Record how a test ended."""
        test = report.nodeid.replace(".py", "")
        if report.when == "call" or report.outcome != "passed":
            xfailed = report.skipped and hasattr(report, "wasxfail")
            self.of[test] = "xfailed" if xfailed else report.outcome
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.messages[test] = crash.message if crash else str(report.longrepr)


class UnderTest:
    """What the copied tests take the classes from; records which tests do."""

    def __init__(self, module, outcomes):
        self._module = importlib.import_module(module)
        self._outcomes = outcomes
        package, _, _ = module.partition(".")
        for name in NAMES:
            from_where, _, _ = getattr(self._module, name).__module__.partition(".")
            assert from_where == package, f"{name} from {from_where}, not {package}"

    def __getattr__(self, name):
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
        self._outcomes.used.add(test.replace(".py", ""))
        return getattr(self._module, name)


def main(module=OURS, files=FILES, exceptions=EXCEPTIONS):
    """Run tests with Keras's classes and with those of the module of this name.

    It prints a table, and returns the exit status.
    """
    sources = {name: rewired(name) for name in files}
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        keras, ours = pool.map(_run, [sources] * 2, [KERAS, module])
    wrong, alike = 0, 0
    print(f"{'test':<72} {'Keras':<8} {'ours':<8}")
    for test in sorted(keras.of.keys() | ours.of.keys()):
        expected, received = (run.of.get(test, "missing") for run in (keras, ours))
        worse = expected == "passed" != received
        note = f"excepted: {exceptions[test]}" if test in exceptions else ""
        if worse != bool(note):
            wrong += 1
            message = ours.messages.get(test, "").partition("\n")[0]
            note = f"<-- {message[:200]}" if worse else "<-- need not be excepted"
        elif expected == received and test not in ours.used:
            alike += 1
            continue
        print(f"{test:<72} {expected:<8} {received:<8} {note}".rstrip())
    compared = sum(keras.of.get(test) == "passed" for test in ours.used)
    backend = os.environ["KERAS_BACKEND"]
    seconds = time.monotonic() - start
    print(
        f"{backend}: {compared} tests of an LSTM pass with Keras's, "
        f"{alike} without one agree; {wrong} rows not as they should be; "
        f"{seconds:.0f} seconds"
    )
    return int(wrong > 0 or not compared)


def rewired(name):
    """Return the text of one of Keras's test files, the classes taken from elsewhere.

    Raises:
        FileNotFoundError: The installed Keras does not have it.
        ValueError: It names the classes in another way than `layers.LSTM`.
    """
    path = keras_folder() / "src" / "layers" / "rnn" / name
    if not path.exists():
        raise FileNotFoundError(
            f"expected the installed Keras to hold its tests; received no {path}. The "
            "wheels of Keras 3.15.1 from PyPI hold them"
        )
    tree = ast.parse(path.read_text("utf-8"))
    for class_name in NAMES:
        patterns.replace(tree, f"layers.{class_name}", f"{PROXY}.{class_name}")
    for node in ast.walk(tree):
        names = {getattr(node, key, None) for key in ("id", "attr", "name")}
        rewired = isinstance(node, ast.Attribute) and ast.unparse(node.value) == PROXY
        if not names.isdisjoint(NAMES) and not rewired:
            raise ValueError(
                f"expected {path} to name the classes as layers.LSTM and "
                f"layers.LSTMCell; received {ast.unparse(node)!r} in line {node.lineno}"
            )
    return f"from keras_tests_classes import {PROXY}\n{ast.unparse(tree)}\n"


def keras_folder():
    """Return the folder of the installed Keras, without importing it."""
    return Path(importlib.util.find_spec("keras").submodule_search_locations[0])


def _run(sources, module):
    """Run the tests in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder).resolve()
        for name, source in sources.items():
            (folder / name).write_text(source, "utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n")  # not the one of the checkout
        return in_a_fork(_run_pytest, folder, [*sources], module, longest=LONGEST)


def _run_pytest(files, module):
    outcomes = Outcomes()
    sys.modules["keras_tests_classes"] = classes = type(sys)("keras_tests_classes")
    classes.under_test = UnderTest(module, outcomes)
    status = pytest.main(["-q", "-p", "no:cacheprovider", *files], [outcomes])
    assert status in (0, 1), status
    return outcomes


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    sys.exit(main())
