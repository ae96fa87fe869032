"""Changes the equations, one at a time, and shows that the tests notice each.

    python -m tests.mutations

on the backend that `KERAS_BACKEND` names, or on TensorFlow. Every mutation is made in a
copy of the package, where the tests that fit it run until one fails: that one killed
it. The exit status is 1 if a mutation survives, or if the tests fail in a copy without
any.
"""

import ast
import concurrent.futures
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import patterns
from tests.helpers.forks import in_a_fork

CHECKOUT = Path(__file__).resolve().parents[1]
COPIED = ("lstm_keras", "tests", "setup.cfg")
AT_A_TIME = 2
OK, TESTS_FAILED = 0, 1  # exit statuses of pytest
# Seconds: the tests of one mutation take less than a minute. One that hangs ends here.
LONGEST = 600

# Arguments of pytest: the smallest parts of the suite that kill. Without a mutation
# they must pass.
STEP = ("tests/lstm_keras/test_cell.py", "-k", "not drop")
DROPOUT = ("tests/lstm_keras/test_cell.py", "-k", "drop")
LOOP = ("tests/lstm_keras/test_layer.py", "-k", "loop and holes and not unrolled")
ENGINE = ("tests/lstm_keras/test_layer.py", "-k", "(xla or scan) and holes")
NAN = ("tests/lstm_keras/test_call_arguments.py", "-k", "influence_neither")
CELL_STATES = (
    "tests/lstm_keras/test_layer_options.py",
    "-k",
    "every_cell_state_and and holes",
)
LAST_CELL_STATE = (
    "tests/lstm_keras/test_layer_options.py",
    "-k",
    "last_cell_state_comes",
)
LEARNED_STATE = (
    "tests/lstm_keras/test_layer_options.py",
    "-k",
    "learned_initial_state_and",
)
XLA_DROPOUT = (
    "tests/lstm_keras/test_layer_options.py",
    "-k",
    "recurrent_dropout_of_an_engine",
)
SECOND = (
    "tests/lstm_keras/engines/test_engines.py",
    "-k",
    "second_derivative and True-True-True",
)


@dataclass(frozen=True)
class Mutation:
    """One change.

    Attributes:
        name: What is wrong then.
        tests: Arguments of pytest: the tests that should notice.
        path: The file, in `lstm_keras`.
        function: The function or class in it, as `patterns.definition` wants it.
        pattern: What stands there, exactly once, as `patterns.replace` wants it.
        instead: What stands there afterwards.
    """

    name: str
    tests: tuple[str, ...]
    path: str
    function: str
    pattern: str
    instead: str


@dataclass(frozen=True)
class Verdict:
    """The result of the tests.

    Attributes:
        status: The exit status of pytest: `OK`, `TESTS_FAILED`, or that of no tests.
        killer: The test that failed, or "".
        seconds: How long it took.
    """

    status: int
    killer: str
    seconds: float


# What the changes are made to: names in capitals stand for any expression.
SPLIT = "I, F, G, O = ops.split(Z, 4, axis=-1)"
GATES = """
I = SIGMOID(Z_I)
F = SIGMOID(Z_F)
G = TANH(Z_G)
O = SIGMOID(Z_O)
"""
CELL = "C = F * C_BEFORE + I * G"
HIDDEN = "H = O * TANH(C)"
PROJECTED = "Z = Z + _project(H, self.recurrent_kernel, MASKS)"
RETURNED = "return H, [H, C]"
RECEIVED = "H, C = states"
BIASES = "[NOT_FORGET, FORGET, REST]"
OF_GATES = """
[ops.matmul(X * MASK, KERNEL) for MASK, KERNEL in zip(MASKS, KERNELS, strict=True)]
"""
D_CELL = "DC = DC + DH * O * (1 - TANH_C**2)"
D_GATES = """
Gates(
    i=DC * G * I * (1 - I),
    f=DC * C_BEFORE * F * (1 - F),
    g=DC * I * (1 - G**2),
    o=DH * TANH_C * O * (1 - O),
)
"""

# Name, function, pattern, and what stands in its place.
EQUATIONS = [
    ("input and forget gate swapped", "gates", SPLIT, SPLIT.replace("I, F", "F, I")),
    (
        "forget gate and candidate swapped",
        "gates",
        SPLIT,
        SPLIT.replace("F, G", "G, F"),
    ),
    (
        "candidate and output gate swapped",
        "gates",
        SPLIT,
        SPLIT.replace("G, O", "O, G"),
    ),
    (
        "input and output gate swapped",
        "gates",
        SPLIT,
        SPLIT.replace("I, F, G, O", "O, F, G, I"),
    ),
    (
        "tanh for the sigmoid of i",
        "gates",
        GATES,
        GATES.replace("I = SIGMOID", "I = TANH"),
    ),
    (
        "tanh for the sigmoid of f",
        "gates",
        GATES,
        GATES.replace("F = SIGMOID", "F = TANH"),
    ),
    (
        "sigmoid for the tanh of g",
        "gates",
        GATES,
        GATES.replace("G = TANH", "G = SIGMOID"),
    ),
    (
        "tanh for the sigmoid of o",
        "gates",
        GATES,
        GATES.replace("O = SIGMOID", "O = TANH"),
    ),
    ("f left out", "states", CELL, "C = C_BEFORE + I * G"),
    ("i left out", "states", CELL, "C = F * C_BEFORE + G"),
    ("1 - f for i", "states", CELL, "C = F * C_BEFORE + (1 - F) * G"),
    ("the old c left out", "states", CELL, "C = I * G"),
    ("i g subtracted", "states", CELL, "C = F * C_BEFORE - I * G"),
    ("o left out", "states", HIDDEN, "H = TANH(C)"),
    ("tanh of c left out", "states", HIDDEN, "H = O * C"),
    ("sigmoid for the tanh of c", "states", HIDDEN, "H = O * ops.sigmoid(C)"),
    (
        "h from the old c",
        "states",
        f"{CELL}\n{HIDDEN}",
        f"{HIDDEN.replace('(C)', '(C_BEFORE)')}\n{CELL}",
    ),
]
STEPS = [
    ("x W left out", "call", PROJECTED, PROJECTED.replace("Z + ", "")),
    ("h U left out", "call", PROJECTED, "pass"),
    ("h U subtracted", "call", PROJECTED, PROJECTED.replace("+", "-")),
    ("c U for h U", "call", PROJECTED, PROJECTED.replace("(H,", "(states[1],")),
    ("b left out", "call", "Z = ops.add(Z, self.bias)", "pass"),
    ("c for h as output", "call", RETURNED, "return C, [H, C]"),
    ("h and c swapped on the way out", "call", RETURNED, "return H, [C, H]"),
    ("h and c swapped on the way in", "call", RECEIVED, "C, H = states"),
    (
        "forget bias left out",
        "_bias_with_unit_forget_gate",
        BIASES,
        "[NOT_FORGET, NOT_FORGET, REST]",
    ),
    (
        "forget bias on the input gate",
        "_bias_with_unit_forget_gate",
        BIASES,
        "[FORGET, NOT_FORGET, REST]",
    ),
]
DROPS = [
    (
        "dropout in inference, too",
        "call",
        "MASKS if training else (None, None)",
        "MASKS",
    ),
    (
        "x not dropped",
        "call",
        "_project(inputs, self.kernel, MASKS)",
        "_project(inputs, self.kernel, None)",
    ),
    ("h not dropped", "call", PROJECTED, PROJECTED.replace("MASKS", "None")),
    (
        "h dropped at the rate of x",
        "dropout_masks",
        "keras.random.dropout(ONES, self.recurrent_dropout, seed=SEED)",
        "keras.random.dropout(ONES, self.dropout, seed=SEED)",
    ),
    (
        "one mask for all gates",
        "_project",
        OF_GATES,
        OF_GATES.replace("X * MASK,", "X * MASKS[0],"),
    ),
]
BACKWARD = [
    ("no gradient of c by h", D_CELL, "pass"),
    ("tanh of c not differentiated", D_CELL, "DC = DC + DH * O"),
    ("no gradient of c by later steps", D_CELL, D_CELL.replace("DC + ", "")),
    ("sigmoid of i not differentiated", D_GATES, D_GATES.replace("I * (1 - I)", "I")),
    (
        "the tanh of the new c for the old c",
        D_GATES,
        D_GATES.replace("C_BEFORE", "TANH_C"),
    ),
    ("tanh of g not differentiated", D_GATES, D_GATES.replace("(1 - G**2)", "G**2")),
    (
        "o by the old c, not the tanh of c",
        D_GATES,
        D_GATES.replace("TANH_C", "C_BEFORE"),
    ),
    ("no gradient of c past the forget gate", "return DZ, DC * F", "return DZ, DC"),
]
MASKED_INPUTS = "ops.where(MASK, sequences, 0)"
SHOWN = "ops.where(SHOWN[..., None], EVERY, 0)"
LAST_SHOWN = "ops.where(SHOWN[:, -1:], LAST, 0)"
INTO_ENGINE = "engines.run(ENGINE, X, MASK, STATES, *REST)"
JOINED = "ops.concatenate(states, axis=-1)"
LEARNED = "ops.broadcast_to(ops.cast(STATE, DTYPE), SHAPE)"
LAYER = [
    (
        "zero shown where a step is not masked",
        ENGINE,
        "_run_engine",
        SHOWN,
        "ops.where(SHOWN[..., None], 0, EVERY)",
    ),
    (
        "the last output zero if it is not masked",
        ENGINE,
        "_run_engine",
        LAST_SHOWN,
        "ops.where(SHOWN[:, -1:], 0, LAST)",
    ),
    (
        "the mask not reversed with the sequence",
        ENGINE,
        "_run_engine",
        "ops.flip(mask, axis=1)",
        "mask",
    ),
    (
        "h and c swapped on the way into an engine",
        ENGINE,
        "_run_engine",
        INTO_ENGINE,
        INTO_ENGINE.replace("STATES", "STATES[::-1]"),
    ),
    (
        "c for the last h out of an engine",
        LAST_CELL_STATE,
        "_run_engine",
        JOINED,
        JOINED.replace("states", "states[::-1]"),
    ),
    (
        "c for every h out of an engine",
        CELL_STATES,
        "_run_engine",
        "[hidden, cells]",
        "[cells, hidden]",
    ),
    (
        "c for h out of the loop",
        CELL_STATES,
        "_JoinedStates.call",
        JOINED,
        JOINED.replace("states", "states[::-1]"),
    ),
    (
        "c for h as output of the layer",
        CELL_STATES,
        "_returned",
        "h_and_c(OUTPUT)",
        "h_and_c(OUTPUT)[::-1]",
    ),
    (
        "the learned initial state not used",
        LEARNED_STATE,
        "get_initial_state",
        LEARNED,
        "ops.zeros(SHAPE, DTYPE)",
    ),
    (
        "the learned initial state not broadcast",
        LEARNED_STATE,
        "get_initial_state",
        LEARNED,
        "ops.cast(STATE, DTYPE)",
    ),
    (
        "learned h and c swapped",
        LEARNED_STATE,
        "get_initial_state",
        "(self.initial_h, self.initial_c)",
        "(self.initial_c, self.initial_h)",
    ),
    ("the loop: inputs not masked", NAN, "inner_loop", MASKED_INPUTS, "sequences"),
    (
        "the loop without the mask",
        LOOP,
        "inner_loop",
        "super().inner_loop(X, STATES, MASK, training=TRAINING)",
        "super().inner_loop(X, STATES, None, training=TRAINING)",
    ),
]
UNMASKED = "tf.where(MASK, X, tf.zeros_like(X))"
HELD = "tf.where(ON, NEW_H, H), tf.where(ON, NEW_C, C)"
PRODUCTS = """
[(INPUTS * DROP) @ W for DROP, W in PARTS]
"""
XLA = [
    (
        "xla: the states held where a step is not masked",
        ENGINE,
        "_forward.step",
        HELD,
        "tf.where(ON, H, NEW_H), tf.where(ON, C, NEW_C)",
    ),
    (
        "xla: no gradient where a step is not masked",
        ENGINE,
        "_steps_back.step",
        "tf.where(ON, DZ, tf.zeros_like(DZ))",
        "tf.where(ON, tf.zeros_like(DZ), DZ)",
    ),
    (
        "xla: no gradient of h past a masked step",
        ENGINE,
        "_steps_back.step",
        "_products_back(DZ, U, DROPOUT) + HELD",
        "_products_back(DZ, U, DROPOUT)",
    ),
    ("xla: inputs not masked", SECOND, "_unmasked", UNMASKED, "X"),
    ("xla: inputs not masked on the way back", NAN, "_backward", UNMASKED, "X"),
    (
        "xla: the dropout mask of another gate",
        XLA_DROPOUT,
        "_products",
        PRODUCTS,
        PRODUCTS.replace("INPUTS * DROP", "INPUTS * dropout[0]"),
    ),
    (
        "xla: the gradient by another gate's dropout mask",
        XLA_DROPOUT,
        "_products_back",
        "_times(D, W) * DROP",
        "_times(D, W) * dropout[0]",
    ),
    (
        "xla: the weights' gradient by another gate's dropout mask",
        XLA_DROPOUT,
        "_weights_back",
        "product(INPUTS * DROP, D)",
        "product(INPUTS * dropout[0], D)",
    ),
    (
        "xla: the second derivative without that by the results' gradients",
        SECOND,
        "_gradient.second",
        "tf.gradients(GRADIENTS, BY, upstream)",
        "[*tf.gradients(GRADIENTS, inputs, upstream), *map(tf.zeros_like, d_results)]",
    ),
    (
        "xla: the second derivative of the sum of the results",
        SECOND,
        "_gradient.second",
        "tf.gradients(RESULTS, inputs, D_RESULTS)",
        "tf.gradients(RESULTS, inputs)",
    ),
]
SCAN = [
    ("scan: inputs not masked", NAN, "run", "jnp.where(MASK, X, 0)", "X"),
    (
        "scan: the states held where a step is not masked",
        ENGINE,
        "_step",
        HELD.replace("tf", "jnp"),
        "jnp.where(ON, H, NEW_H), jnp.where(ON, C, NEW_C)",
    ),
    (
        "scan: no gradient of h past a masked step",
        ENGINE,
        "_backward.step",
        "jnp.where(MASK, 0, DH)",
        "0",
    ),
]
# Those of each backend.
MUTATIONS = {
    "tensorflow": [
        *(Mutation(name, STEP, "equations.py", *m) for name, *m in EQUATIONS),
        *(Mutation(name, STEP, "cell.py", *m) for name, *m in STEPS),
        *(Mutation(name, DROPOUT, "cell.py", *m) for name, *m in DROPS),
        *(
            Mutation(name, ENGINE, "equations.py", "backward", *m)
            for name, *m in BACKWARD
        ),
        *(Mutation(name, tests, "layer.py", *m) for name, tests, *m in LAYER),
        *(Mutation(name, tests, "engines/xla.py", *m) for name, tests, *m in XLA),
    ],
    "jax": [Mutation(name, tests, "engines/scan.py", *m) for name, tests, *m in SCAN],
}


def main(mutations):
    """Judge an unchanged copy and every mutation, and print a table.

    Args:
        mutations: Some of `MUTATIONS`.

    Returns:
        The exit status.

    Raises:
        ValueError: A mutation does not fit its file anymore.
    """
    for mutation in mutations:
        mutated(mutation)  # an error before the first test runs
    selections = dict.fromkeys(mutation.tests for mutation in mutations)
    jobs = [
        *((None, tests) for tests in selections),
        *((m, m.tests) for m in mutations),
    ]
    wrong = 0
    print(f"{'mutation':<66} {'seconds':>7}  killed by")
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        verdicts = pool.map(judge, *zip(*jobs, strict=True))
        for (mutation, tests), verdict in zip(jobs, verdicts, strict=True):
            name = mutation.name if mutation else f"none ({' '.join(tests)})"
            as_expected = verdict.status == (TESTS_FAILED if mutation else OK)
            wrong += not as_expected
            killer = verdict.killer or "no test"
            note = "" if as_expected else f"   <-- pytest ended with {verdict.status}"
            print(f"{name:<66} {verdict.seconds:>7.1f}  {killer}{note}", flush=True)
    print(f"{len(mutations)} mutations, {wrong} rows not as they should be")
    return int(wrong > 0)


def mutated(mutation, source=None):
    """Return the mutated text of the file.

    Args:
        mutation: A `Mutation`.
        source: Text to take for that of the file.

    Raises:
        ValueError: What the mutation replaces is not there exactly once.
    """
    path = CHECKOUT / "lstm_keras" / mutation.path
    tree = ast.parse(source or path.read_text("utf-8"))
    scope = patterns.definition(tree, mutation.function)
    count = patterns.replace(scope, mutation.pattern, mutation.instead)
    if count != 1:
        raise ValueError(
            f"expected {mutation.function} in lstm_keras/{mutation.path} to contain "
            f"once what the mutation {mutation.name!r} replaces, "
            f"{mutation.pattern.strip()!r}; received it {count} times"
        )
    return ast.unparse(tree)


def judge(mutation, tests):
    """Run the tests in a copy of the package.

    Args:
        mutation: A `Mutation`, or None for none.
        tests: Arguments of pytest.

    Returns:
        A `Verdict`.

    Raises:
        RuntimeError: The tests did not end.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        _copy_to(copy)
        if mutation:
            (copy / "lstm_keras" / mutation.path).write_text(mutated(mutation), "utf-8")
        result = in_a_fork(_run_tests, copy, tests, longest=LONGEST)
        if result is None:
            log = (copy / "log").read_text("utf-8", "replace")
            raise RuntimeError(f"expected the tests to end; {mutation}:\n{log}")
    return Verdict(*result, time.monotonic() - start)


def _copy_to(copy):
    ignore = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignore)
        else:
            shutil.copy(source, copy)


def _run_tests(copy, tests, sender):
    """Run pytest in the copy, in a process of its own, and send its result."""
    os.chdir(copy)
    sys.path[:] = [str(copy), *(p for p in sys.path if p not in ("", str(CHECKOUT)))]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]  # this module's package: the copy has its own
    log = os.open("log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    plugin = _FirstFailure()
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not real"]
    status = pytest.main([*options, *tests], [plugin])
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
    sys.exit(main(MUTATIONS[os.environ.setdefault("KERAS_BACKEND", "tensorflow")]))
