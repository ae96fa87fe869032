"""Changes the equations, one at a time, and shows that the tests notice each.

    python tests/mutations.py

Every mutation is made in a copy of the package, where the tests that fit it run on
TensorFlow until one fails: that one killed it. The exit status is 1 if a mutation
survives, or if the tests fail in a copy without any.
"""

import concurrent.futures
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from forks import FORKS

CHECKOUT = Path(__file__).resolve().parents[1]
COPIED = ("lstm_keras", "experiments", "tests", "setup.cfg")
AT_A_TIME = 2
OK, TESTS_FAILED = 0, 1  # what pytest ends with
# The tests of one mutation take less than a minute. One that hangs ends here.
LONGEST = 600

# Arguments of pytest: the smallest parts of the suite that kill. Without a mutation
# they must pass.
STEP = ("tests/test_cell.py", "-k", "not drop")
DROPOUT = ("tests/test_cell.py", "-k", "drop")
LOOP = ("tests/test_layer.py", "-k", "loop and holes and not unrolled")
ENGINE = ("tests/test_layer.py", "-k", "xla and holes")


@dataclass(frozen=True)
class Mutation:
    """One change.

    Attributes:
        name: What is wrong then.
        path: The file, in `lstm_keras`.
        tests: Arguments of pytest: the tests that should notice.
        text: What stands there, exactly once.
        instead: What stands there afterwards.
    """

    name: str
    path: str
    tests: tuple[str, ...]
    text: str
    instead: str


@dataclass(frozen=True)
class Verdict:
    """What the tests said.

    Attributes:
        status: Of pytest: `OK` or `TESTS_FAILED`, or that there was no test to run.
        killer: The test that failed, or "".
        seconds: How long it took.
    """

    status: int
    killer: str
    seconds: float


GATES = "z_i, z_f, z_g, z_o = ops.split"
MEMORY = "c = f * c + i * g\n"
OUTPUT = "        h = o * self.activation(c)\n"
RETURNED = "return h, [h, c]"
INPUTS = "z = _project(inputs, self.kernel, x_masks)"
HIDDEN = "z = z + _project(h, self.recurrent_kernel, h_masks)"
ONES = "ones((self.units,), **kwargs)"
NO_ONES = "self.bias_initializer((self.units,), **kwargs)"
FORGET_BIAS = f"{NO_ONES},\n                {ONES}"
INPUT_BIAS = f"{ONES},\n                {NO_ONES}"
INTO_ENGINE = "            mask,\n            states,\n            kernel,"
STEPS = [
    ("input and forget gate swapped", GATES, "z_f, z_i, z_g, z_o = ops.split"),
    ("forget gate and candidate swapped", GATES, "z_i, z_g, z_f, z_o = ops.split"),
    ("candidate and output gate swapped", GATES, "z_i, z_f, z_o, z_g = ops.split"),
    ("input and output gate swapped", GATES, "z_o, z_f, z_g, z_i = ops.split"),
    ("x W left out", HIDDEN, HIDDEN.replace("z + ", "")),
    ("h U left out", HIDDEN, "pass"),
    ("h U subtracted", HIDDEN, HIDDEN.replace("+", "-")),
    ("c U for h U", HIDDEN, HIDDEN.replace("(h,", "(c,")),
    ("b left out", "z = ops.add(z, self.bias)", "pass"),
    ("tanh for the sigmoid of i", "i = self.recurrent_", "i = self."),
    ("tanh for the sigmoid of f", "f = self.recurrent_", "f = self."),
    ("sigmoid for the tanh of g", "g = self.", "g = self.recurrent_"),
    ("tanh for the sigmoid of o", "o = self.recurrent_", "o = self."),
    ("f left out", MEMORY, "c = c + i * g\n"),
    ("i left out", MEMORY, "c = f * c + g\n"),
    ("1 - f for i", MEMORY, "c = f * c + (1 - f) * g\n"),
    ("the old c left out", MEMORY, "c = i * g\n"),
    ("i g subtracted", MEMORY, "c = f * c - i * g\n"),
    ("o left out", OUTPUT, OUTPUT.replace("o * ", "")),
    ("tanh of c left out", OUTPUT, OUTPUT.replace("self.activation(c)", "c")),
    ("sigmoid for the tanh of c", OUTPUT, OUTPUT.replace("self.", "self.recurrent_")),
    ("h from the old c", MEMORY + OUTPUT, OUTPUT.lstrip() + "        " + MEMORY),
    ("c for h as output", RETURNED, "return c, [h, c]"),
    ("h and c swapped on the way out", RETURNED, "return h, [c, h]"),
    ("h and c swapped on the way in", "  h, c = states", "  c, h = states"),
    ("forget bias left out", ONES, NO_ONES),
    ("forget bias on the input gate", FORGET_BIAS, INPUT_BIAS),
]
DROPS = [
    ("dropout in inference, too", "if training else (None, None)", ""),
    ("x not dropped", INPUTS, INPUTS.replace("x_masks", "None")),
    ("h not dropped", HIDDEN, HIDDEN.replace("h_masks", "None")),
    ("h dropped at the rate of x", "h_ones, self.recurrent_", "h_ones, self."),
    ("one mask for all gates", "inputs * mask,", "inputs * masks[0],"),
]
LAYER = [
    (
        "zero shown where a step is not masked",
        "ops.where(shown[..., None], hidden, 0)",
        "ops.where(shown[..., None], 0, hidden)",
    ),
    (
        "the last output zero if it is not masked",
        "ops.where(shown[:, -1:], last, 0)",
        "ops.where(shown[:, -1:], 0, last)",
    ),
    (
        "the mask not reversed with the sequence",
        "mask = None if mask is None else ops.flip(mask, axis=1)",
        "pass",
    ),
    (
        "h and c swapped on the way into an engine",
        INTO_ENGINE,
        INTO_ENGINE.replace("states", "states[::-1]"),
    ),
]
XLA = [
    (
        "xla: the states held where a step is not masked",
        "tf.where(on, new_h, h), tf.where(on, new_c, c)",
        "tf.where(on, h, new_h), tf.where(on, c, new_c)",
    ),
    (
        "xla: no gradient where a step is not masked",
        "dz = tf.where(on, dz, tf.zeros_like(dz))",
        "dz = tf.where(on, tf.zeros_like(dz), dz)",
    ),
    (
        "xla: no gradient of h past a masked step",
        "dz @ transposed + dh_held",
        "dz @ transposed",
    ),
]
MUTATIONS = [
    *(Mutation(name, "cell.py", STEP, *change) for name, *change in STEPS),
    *(Mutation(name, "cell.py", DROPOUT, *change) for name, *change in DROPS),
    *(Mutation(name, "layer.py", ENGINE, *change) for name, *change in LAYER),
    *(Mutation(name, "engines/xla.py", ENGINE, *change) for name, *change in XLA),
    Mutation(
        "the loop without the mask",
        "layer.py",
        LOOP,
        "super().inner_loop(sequences, initial_state, mask,",
        "super().inner_loop(sequences, initial_state, None,",
    ),
]


def main(mutations):
    """Judge the unchanged copy and every mutation, and print a table.

    Args:
        mutations: Some of `MUTATIONS`.

    Returns:
        The exit status.

    Raises:
        ValueError: A mutation does not fit its file any more.
    """
    for mutation in mutations:
        mutated(mutation)  # an error before the first test runs
    selections = dict.fromkeys(mutation.tests for mutation in mutations)
    jobs = [
        *((None, tests) for tests in selections),
        *((m, m.tests) for m in mutations),
    ]
    wrong = 0
    print(f"{'mutation':<50} {'seconds':>7}  killed by")
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        verdicts = pool.map(judge, *zip(*jobs, strict=True))
        for (mutation, tests), verdict in zip(jobs, verdicts, strict=True):
            name = mutation.name if mutation else f"none ({' '.join(tests)})"
            as_expected = verdict.status == (TESTS_FAILED if mutation else OK)
            wrong += not as_expected
            killer = verdict.killer or "no test"
            note = "" if as_expected else f"   <-- pytest ended with {verdict.status}"
            print(f"{name:<50} {verdict.seconds:>7.1f}  {killer}{note}", flush=True)
    print(f"{len(mutations)} mutations, {wrong} rows not as they should be")
    return int(wrong > 0)


def mutated(mutation):
    """Return the mutated text of the file.

    Raises:
        ValueError: What the mutation replaces is not there exactly once.
    """
    source = (CHECKOUT / "lstm_keras" / mutation.path).read_text("utf-8")
    count = source.count(mutation.text)
    if count != 1:
        raise ValueError(
            f"expected lstm_keras/{mutation.path} to contain once what the mutation "
            f"{mutation.name!r} replaces, {mutation.text!r}; received it {count} times"
        )
    return source.replace(mutation.text, mutation.instead)


def judge(mutation, tests):
    """Run the tests in a copy of the package.

    Args:
        mutation: A `Mutation`, or None for none.
        tests: Arguments of pytest.

    Returns:
        A `Verdict`.

    Raises:
        RuntimeError: The tests came to no end.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        _copy_to(copy)
        if mutation:
            (copy / "lstm_keras" / mutation.path).write_text(mutated(mutation), "utf-8")
        said = _in_a_fork(copy, tests)
        if said is None:
            log = (copy / "log").read_text("utf-8", "replace")
            raise RuntimeError(f"expected the tests to end; {mutation}:\n{log}")
    return Verdict(*said, time.monotonic() - start)


def _copy_to(copy):
    ignore = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignore)
        else:
            shutil.copy(source, copy)


def _in_a_fork(copy, tests):
    """Return pytest's status and the test that failed, or None if nothing came."""
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_run_tests, args=(copy, tests, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(LONGEST) else None
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()


def _run_tests(copy, tests, sender):
    """Run pytest in the copy, in a process of its own, and send what it said."""
    os.chdir(copy)
    of_checkout = {"", str(CHECKOUT), str(CHECKOUT / "tests")}
    sys.path[:] = [str(copy), *(p for p in sys.path if p not in of_checkout)]
    log = os.open("log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    plugin = _FirstFailure()
    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], [plugin])
    modules = [m for n, m in sys.modules.items() if n.partition(".")[0] == "lstm_keras"]
    files = [module.__file__ for module in modules]
    assert files and all(Path(file).is_relative_to(copy) for file in files), files
    sender.send((int(status), plugin.killer))


class _FirstFailure:
    """A plugin of pytest that remembers the first test that failed."""

    killer = ""

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.killer:
            self.killer = report.nodeid


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "tensorflow"
    sys.exit(main(MUTATIONS))
