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
COPIED = ("lstm_keras", "tests")
AT_A_TIME = 2
OK, TESTS_FAILED = 0, 1  # exit statuses of pytest
# Seconds: the tests of one mutation take less than a minute. One that hangs ends here.
LONGEST = 600

# Arguments of pytest: the smallest parts of the suite that kill. Without a mutation
# they must pass.
_LAYER = "tests/lstm_keras/test_layer.py"
STEP = ("tests/lstm_keras/test_cell.py", "-k", "not drop")
DROPOUT = ("tests/lstm_keras/test_cell.py", "-k", "drop")
FORGET_BIAS = ("tests/lstm_keras/test_contract.py", "-k", "new_weights and cell")
LOOP = (_LAYER, "-k", "equal_keras and loop and holes and not unrolled")
ENGINE = (_LAYER, "-k", "(xla or scan) and holes")
OPTIONS = (_LAYER, "-k", "equal_the_reference and holes")
NAN = ("tests/lstm_keras/test_call_arguments.py", "-k", "influence_neither")
XLA_DROPOUT = ("tests/lstm_keras/test_layer_options.py", "-k", "dropout_of_an_engine")
ONNX = (
    "tests/lstm_keras/convert/test_onnx.py",
    "-k",
    "equals_the_reference and (holes or row)",
)
_VARIANTS = "tests/lstm_keras/test_variants.py"
VARIANTS = (_VARIANTS, "-k", "a_cell_computes_its_step")
ABLATIONS = (
    _VARIANTS,
    "-k",
    "a_cell_computes_its_step and (No or Full or SLSTM) or exponential_forget",
)
SLSTM = (_VARIANTS, "-k", "begins_with_its_candidate")
ZONEOUT = (_VARIANTS, "-k", "zoneout_keeps")
COMPILED = (_VARIANTS, "-k", "equal_the_reference and xla and holes and Peephole")
SECOND = ("tests/lstm_keras/engines/test_engines.py", "-k", "masked and in_a_graph")


@dataclass(frozen=True)
class Mutation:
    """One change."""

    name: str  # what is wrong then
    tests: tuple[str, ...]  # arguments of pytest: the tests that should notice
    path: str  # the file, in `lstm_keras`
    function: str  # the function or class in it, as `patterns.definition` wants it
    pattern: str  # what stands there, exactly once, as `patterns.replace` wants it
    instead: str  # what stands there afterwards


def _changes(path, tests, *changes):
    """Return the mutations of a file that the same tests kill.

    Each is a name, function, pattern, and what stands in its place; or a part of the
    pattern, and what stands in the place of that.
    """
    return [
        Mutation(name, tests, path, function, pattern, change[-1])
        if len(change) == 1
        else Mutation(name, tests, path, function, pattern, pattern.replace(*change))
        for name, function, pattern, *change in changes
    ]


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
STATES = f"{CELL}\n{HIDDEN}"
OLD_FIRST = f"{HIDDEN.replace('(C)', '(C_BEFORE)')}\n{CELL}"
AFFINE = "self.affine((X, self.kernel, A), (H, self.recurrent_kernel, B), bias=C)"
READS = "self.pre_activations(inputs, H, *MASKS)"
ADDED = "Z = Z + _project(*product)"
RETURNED = "return H, states"
RECEIVED = "equations.states(GATES, C, TANH)"
BIASES = "[NOT_FORGET, FORGET, REST]"
H_DROPPED = "keras.random.dropout(ONES, self.recurrent_dropout, seed=SEED)"
OF_GATES = """
[ops.matmul(X * MASK, KERNEL) for MASK, KERNEL in PARTS]
"""
IN_TRAINING = "MASKS if training else (None, None)"
D_RETURNED = "return DZ, DC * F"
D_CELL = "DC = DC + DH * O * (1 - TANH_C**2)"
D_GATES = """
Gates(
    i=DC * G * I * (1 - I),
    f=DC * C_BEFORE * F * (1 - F),
    g=DC * I * (1 - G**2),
    o=DH * TANH_C * O * (1 - O),
)
"""
SHOWN = "ops.where(SHOWN[..., None], EVERY, 0)"
LAST_SHOWN = "ops.where(SHOWN[:, -1:], LAST, 0)"
INTO_ENGINE = "engines.run(ENGINE, X, MASK, STATES, A, B, C, D, E)"
SWAPPED = ("states", "states[::-1]")
JOINED = "ops.concatenate(states, axis=-1)"
LEARNED = "ops.broadcast_to(ops.cast(STATE, DTYPE), SHAPE)"
INITIAL = "(self.initial_h, self.initial_c)"
MASKED_INPUTS = "ops.where(MASK, sequences, 0)"
LOOP_CALL = "super().inner_loop(X, STATES, MASK, training=TRAINING)"
UNMASKED = "tf.where(MASK, X, tf.zeros_like(X))"
HELD = "tf.where(ON, NEW_H, H), tf.where(ON, NEW_C, C)"
HOLDS = "tf.where(ON, H, NEW_H), tf.where(ON, C, NEW_C)"
HELD_BY_JAX = (HELD.replace("tf", "jnp"), HOLDS.replace("tf", "jnp"))
D_HELD = "tf.where(ON, DZ, tf.zeros_like(DZ))"
D_HOLDS = "tf.where(ON, tf.zeros_like(DZ), DZ)"
PASSED_BY_JAX = "jnp.where(MASK, 0, DH)"
PASSED = "_products_back(DZ, U, DROPOUT) + HELD"
D_PRODUCT = "times(D, W) * DROP"
D_WEIGHTS = "product(INPUTS * DROP, D)"
ONE_GATE = ("DROP", "dropout[0]")
PRODUCTS = "[(INPUTS * DROP) @ W for DROP, W in PARTS]"
KEPT = "rate * OLD + (1 - rate) * NEW"
ONES = "ops.ones_like(X)"
LINEAR = "keras.activations.linear"
TANH_FOR_NONE = ("linear", "tanh")
BEGINNING = "ops.where(n == 0, z_i, LOG_F + M)"
SECOND_BY = "tf.gradients(GRADIENTS, BY, upstream)"
BY_INPUTS = (
    "[*tf.gradients(GRADIENTS, inputs, upstream), *map(tf.zeros_like, d_results)]"
)
EMPTY = "self.graph.Where(HAS_STEPS, LAST, BEFORE)"
TO_FRONT = "self._picked(SEQUENCES, ORDER)"
LENGTHS = "[LENGTHS, *states]"
OF_RESULTS = "tf.gradients(RESULTS, inputs, D_RESULTS, unconnected_gradients=NONE)"

_BIAS, _RUN = "_bias_with_unit_forget_gate", "LSTM._run_engine"
_START, _Z = "get_initial_state", "pre_activations"
_NORMAL_Z = "LayerNormLSTMCell.pre_activations"
_FGR, _SLSTM = "FullGateRecurrenceLSTMCell.step", "SLSTMCell.step"
_STEPS_BACK, _SECOND = "_steps_back.step", "_gradient.second"
TENSORFLOW = [
    *_changes(
        "equations.py",
        STEP,
        ("input and forget gate swapped", "gates", SPLIT, "I, F", "F, I"),
        ("forget gate and candidate swapped", "gates", SPLIT, "F, G", "G, F"),
        ("candidate and output gate swapped", "gates", SPLIT, "G, O", "O, G"),
        ("input and output gate swapped", "gates", SPLIT, "I, F, G, O", "O, F, G, I"),
        ("tanh for the sigmoid of i", "gates", GATES, "I = SIGMOID", "I = TANH"),
        ("tanh for the sigmoid of f", "gates", GATES, "F = SIGMOID", "F = TANH"),
        ("sigmoid for the tanh of g", "gates", GATES, "G = TANH", "G = SIGMOID"),
        ("tanh for the sigmoid of o", "gates", GATES, "O = SIGMOID", "O = TANH"),
        ("f left out", "states", CELL, "F * ", ""),
        ("i left out", "states", CELL, "I * ", ""),
        ("1 - f for i", "states", CELL, "I * ", "(1 - F) * "),
        ("the old c left out", "states", CELL, "F * C_BEFORE + ", ""),
        ("i g subtracted", "states", CELL, "+", "-"),
        ("o left out", "states", HIDDEN, "O * ", ""),
        ("tanh of c left out", "states", HIDDEN, "TANH(C)", "C"),
        ("sigmoid for the tanh of c", "states", HIDDEN, "TANH", "ops.sigmoid"),
        ("h from the old c", "states", STATES, OLD_FIRST),
    ),
    *_changes(
        "cell.py",
        STEP,
        ("x W left out", _Z, AFFINE, "(X, self.kernel, A), ", ""),
        ("h U left out", _Z, AFFINE, "(H, self.recurrent_kernel, B), ", ""),
        ("c U for h U", "call", READS, "H", "states[1]"),
        ("b left out", _Z, AFFINE, "bias=C", "bias=None"),
        ("c for h as output", "call", RETURNED, "return states[1], states"),
        ("h and c swapped on the way out", "call", RETURNED, "return H, states[::-1]"),
        ("h for c on the way in", "step", RECEIVED, "C", "states[0]"),
    ),
    *_changes(
        "equations.py",
        STEP,
        ("h U subtracted", "affine", ADDED, "+", "-"),
    ),
    *_changes(
        "cell.py",
        FORGET_BIAS,
        ("forget bias left out", _BIAS, BIASES, "[NOT_FORGET, NOT_FORGET, REST]"),
        ("forget bias on the input gate", _BIAS, BIASES, "[FORGET, NOT_FORGET, REST]"),
    ),
    *_changes(
        "cell.py",
        DROPOUT,
        ("dropout in inference, too", "call", IN_TRAINING, "MASKS"),
        ("x not dropped", _Z, AFFINE, "A)", "None)"),
        ("h not dropped", _Z, AFFINE, "B)", "None)"),
        ("h dropped at the rate of x", "dropout_masks", H_DROPPED, "recurrent_", ""),
    ),
    *_changes(
        "equations.py",
        DROPOUT,
        ("one mask for all gates", "_project", OF_GATES, "X * MASK,", "X * masks[0],"),
    ),
    *_changes(
        "equations.py",
        ENGINE,
        ("no gradient of c by h", "backward", D_CELL, "pass"),
        ("tanh of c not differentiated", "backward", D_CELL, " * (1 - TANH_C**2)", ""),
        ("no gradient of c by later steps", "backward", D_CELL, "DC + ", ""),
        ("sigmoid of i not differentiated", "backward", D_GATES, "I * (1 - I)", "I"),
        ("the new c for the old c", "backward", D_GATES, "C_BEFORE", "TANH_C"),
        ("tanh of g not differentiated", "backward", D_GATES, "(1 - G**2)", "G**2"),
        ("o by the old c", "backward", D_GATES, "TANH_C", "C_BEFORE"),
        ("no gradient of c past the forget gate", "backward", D_RETURNED, " * F", ""),
    ),
    *_changes(
        "layer.py",
        ENGINE,
        ("zero shown where a step counts", "_shown", SHOWN, "EVERY, 0", "0, EVERY"),
        (
            "the last output zero if it counts",
            "_shown",
            LAST_SHOWN,
            "LAST, 0",
            "0, LAST",
        ),
        ("the mask not reversed", "_in_order", "ops.flip(mask, axis=1)", "mask"),
        ("h and c swapped into an engine", _RUN, INTO_ENGINE, "STATES", "STATES[::-1]"),
    ),
    *_changes(
        "layer.py",
        OPTIONS,
        ("c for the last h out of an engine", _RUN, JOINED, *SWAPPED),
        ("c for every h out of an engine", _RUN, "[hidden, cells]", "[cells, hidden]"),
        ("c for h out of the loop", "JoinedStates.call", JOINED, *SWAPPED),
        ("c for the output h", "_returned", "h_and_c(OUTPUT)", "h_and_c(OUTPUT)[::-1]"),
        ("the learned state not used", _START, LEARNED, "ops.zeros(SHAPE, DTYPE)"),
        ("the learned state not broadcast", _START, LEARNED, "ops.cast(STATE, DTYPE)"),
        ("learned states swapped", _START, INITIAL, "(self.initial_c, self.initial_h)"),
    ),
    *_changes(
        "layer.py",
        NAN,
        ("the loop: inputs not masked", "inner_loop", MASKED_INPUTS, "sequences"),
    ),
    *_changes(
        "layer.py",
        LOOP,
        ("the loop without the mask", "RNN._run_loop", LOOP_CALL, "MASK", "None"),
    ),
    *_changes(
        "engines/xla.py",
        ENGINE,
        ("xla: the states held where a step counts", "_forward.step", HELD, HOLDS),
        ("xla: no gradient where a step counts", _STEPS_BACK, D_HELD, D_HOLDS),
        ("xla: no gradient past a masked step", _STEPS_BACK, PASSED, " + HELD", ""),
    ),
    *_changes(
        "engines/xla.py",
        NAN,
        ("xla: inputs not masked on the way back", "_backward", UNMASKED, "X"),
    ),
    *_changes(
        "engines/xla.py",
        XLA_DROPOUT,
        ("xla: one gate's dropout", "_products", PRODUCTS, "DROP)", "dropout[0])"),
        ("xla: d by one gate's dropout", "_products_back", D_PRODUCT, *ONE_GATE),
        ("xla: d weights by one gate's dropout", "_weights_back", D_WEIGHTS, *ONE_GATE),
    ),
    *_changes(
        "engines/shares.py",
        SECOND,
        ("xla: inputs not masked", "unmasked", UNMASKED, "X"),
        ("xla: no second derivative by the gradients", _SECOND, SECOND_BY, BY_INPUTS),
        ("xla: that of the sum", _SECOND, OF_RESULTS, ", D_RESULTS", ""),
    ),
    *_changes(
        "variants.py",
        VARIANTS,
        (
            "o by the old c",
            "PeepholeLSTMCell.step",
            "z_o + p_o * c",
            "* c",
            "* states[1]",
        ),
        ("f for i", "CoupledLSTMCell.gates", "Gates(1 - F, F, G, O)", "1 - F,", "F,"),
        ("h U not normalised", _NORMAL_Z, "self.normalized(from_h)", "from_h"),
        ("c not normalised", "LayerNormLSTMCell.step", "self.normalized(C)", "C"),
        ("c projected", "ProjectedLSTMCell.step", "self.affine((h, P))", "(h", "(c"),
        ("kept and new swapped", "ZoneoutLSTMCell.call", KEPT, "OLD", "NEW"),
    ),
    *_changes(
        "variants.py",
        ABLATIONS,
        (
            "f for no input gate",
            "NoInputGateLSTMCell.gates",
            f"Gates({ONES}, F, G, O)",
            ONES,
            "F",
        ),
        (
            "no memory for no forget gate",
            "NoForgetGateLSTMCell.gates",
            ONES,
            "ones",
            "zeros",
        ),
        (
            "i for no output gate",
            "NoOutputGateLSTMCell.gates",
            f"Gates(I, F, G, {ONES})",
            ONES,
            "I",
        ),
        (
            "an input activation",
            "NoInputActivationLSTMCell.gates",
            LINEAR,
            *TANH_FOR_NONE,
        ),
        (
            "an output activation",
            "NoOutputActivationLSTMCell.step",
            LINEAR,
            *TANH_FOR_NONE,
        ),
        ("f reads what i should", _FGR, "z_f + r_f", "r_f", "r_i"),
        (
            "the gates kept in another order",
            _FGR,
            "[I.i, F.f, O.o]",
            "[I.i, F.f",
            "[F.f, I.i",
        ),
        ("n not normalised by i", _SLSTM, "f * n + i", "+ i", "+ 1"),
        (
            "m from the input alone",
            _SLSTM,
            "ops.maximum(kept, z_i)",
            "ops.maximum(kept, z_i)",
            "z_i",
        ),
        ("log f for f", _SLSTM, "ops.log_sigmoid(Z)", "log_sigmoid", "sigmoid"),
        (
            "never exponential",
            _SLSTM,
            "self.forget_gate == 'exponential'",
            "exponential",
            "none",
        ),
        (
            "a head reads others",
            "SLSTMCell.pre_activations",
            "ops.reshape(h, S)",
            "(h,",
            "(h[:, ::-1],",
        ),
    ),
    *_changes(
        "variants.py",
        SLSTM,
        ("the beginning as any step", _SLSTM, BEGINNING, BEGINNING, "LOG_F + M"),
    ),
    *_changes(
        "variants.py",
        ZONEOUT,
        ("the same units kept in every step", "_drawn", "noise + STEP * N", "noise"),
    ),
    *_changes(
        "engines/cells.py",
        COMPILED,
        ("cells: b left out", "loop", "Z + weights[known.bias]", "Z"),
        ("cells: masks ignored", "_step", "tf.where(on, *pair)", "pair[0]"),
        ("cells: no gradient of peepholes", "block", "d_weights[n] += d", "pass"),
    ),
    *_changes(
        "convert/onnx/recurrent.py",
        ONNX,
        ("onnx: Keras's order of gates", "_reordered", "[I, O, F, G]", "[I, F, G, O]"),
        ("onnx: the bias not reordered", "_lstm", "_reordered(bias)", "bias"),
        ("onnx: no guard for an empty row", "unless_empty", EMPTY, "LAST"),
        ("onnx: the operator's own outputs", "put_back", "self._picked(A, B)", "every"),
        ("onnx: lengths, but no compaction", "to_front", TO_FRONT, "SEQUENCES"),
        ("onnx: compaction, but no lengths", "_lstm", LENGTHS, "[None, *states]"),
        ("onnx: the order of time", "flipped", "graph.Slice(X, A, B, C, D)", "X"),
        ("onnx: the gate to c not open", "_lstm", "gate[-1]", "0"),
    ),
]
JAX = [
    *_changes(
        "engines/scan.py",
        NAN,
        ("scan: inputs not masked", "run", "jnp.where(MASK, X, 0)", "X"),
    ),
    *_changes(
        "engines/scan.py",
        ENGINE,
        ("scan: the states held where a step counts", "_step", *HELD_BY_JAX),
        ("scan: no gradient past a masked step", "_backward.step", PASSED_BY_JAX, "0"),
    ),
]
MUTATIONS = {"tensorflow": TENSORFLOW, "jax": JAX}


def main(mutations):
    """Judge unchanged copies and every mutation.

    It prints a table, and returns the exit status.

    Raises:
        ValueError: A mutation does not fit its file anymore.
    """
    for mutation in mutations:
        mutated(mutation)  # an error before the first test runs
    selections = dict.fromkeys(mutation.tests for mutation in mutations)
    jobs = [(None, tests) for tests in selections] + [(m, m.tests) for m in mutations]
    wrong = 0
    print(f"{'mutation':<66} {'seconds':>7}  killed by")
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        verdicts = pool.map(judge, *zip(*jobs, strict=True))
        for (mutation, tests), verdict in zip(jobs, verdicts, strict=True):
            status, killer, seconds = verdict
            name = mutation.name if mutation else f"none ({' '.join(tests)})"
            as_expected = status == (TESTS_FAILED if mutation else OK)
            wrong += not as_expected
            note = "" if as_expected else f"   <-- pytest ended with {status}"
            killer = killer or "no test"
            print(f"{name:<66} {seconds:>7.1f}  {killer}{note}", flush=True)
    print(f"{len(mutations)} mutations, {wrong} rows not as they should be")
    return int(wrong > 0)


def mutated(mutation, source=None):
    """Return the mutated text of the file, or of a text that stands for it.

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
    """Run tests in a copy of the package, with a mutation or None.

    Returns:
        The exit status of pytest, the test that failed or "", and the seconds it took.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        ignore = shutil.ignore_patterns("__pycache__")
        for name in COPIED:
            shutil.copytree(CHECKOUT / name, copy / name, ignore=ignore)
        shutil.copy(CHECKOUT / "setup.cfg", copy)
        if mutation:
            (copy / "lstm_keras" / mutation.path).write_text(mutated(mutation), "utf-8")
        result = in_a_fork(_run_tests, copy, copy, tests, longest=LONGEST)
    return *result, time.monotonic() - start


def _run_tests(copy, tests):
    """Run pytest in the copy, in a process of its own; return status and killer."""
    sys.path[:] = [str(copy), *(p for p in sys.path if p not in ("", str(CHECKOUT)))]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]  # this module's package: the copy has its own
    plugin = _FirstFailure()
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not real"]
    status = pytest.main([*options, *tests], [plugin])
    modules = [m for n, m in sys.modules.items() if n.partition(".")[0] == "lstm_keras"]
    files = [module.__file__ for module in modules]
    assert files and all(Path(file).is_relative_to(copy) for file in files), files
    return int(status), plugin.killer


class _FirstFailure:
    """A plugin of pytest that remembers the first test that failed."""

    killer = ""

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.killer:
            self.killer = report.nodeid


if __name__ == "__main__":
    sys.exit(main(MUTATIONS[os.environ.setdefault("KERAS_BACKEND", "tensorflow")]))
