"""The comparison of the two layers: what it finds, writes, and how it ends."""

import csv
import json

import keras
import numpy as np
import pytest
from keras import ops

import lstm_keras
from experiments.common.fit import Fit
from experiments.compare_lstm import costs, equality, report, training
from experiments.compare_lstm.equality import KERAS, LOOP, QUANTITIES, REFERENCE, Case
from experiments.compare_lstm.settings import Settings
from experiments.imdb_sentiment.train import Trained
from experiments.speed.backends import Workers
from lstm_keras import engines
from lstm_keras.evaluation import evaluate_classification
from tests.helpers import runs
from tests.helpers.browser import assert_page_is_sound, in_a_browser
from tests.helpers.runs import metrics_of

BACKEND = keras.backend.backend()
ENGINES = [
    name
    for name, backends in engines.BACKENDS.items()
    if BACKEND in backends and name != "cudnn"
]
SMALL = "--quick --dtypes float32 --limit 60 --units 4 --epochs 2 --engine loop".split()
PATHS = ("keras", "loop", "<b>")


def compare(output, *options):
    """Run the experiment, and return its folder."""
    return runs.make("compare_lstm", output, *SMALL, *options)


def rows_of(folder, name):
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def page_of(folder):
    return (folder / "report.html").read_text("utf-8")


@pytest.fixture(scope="module", autouse=True)
def one_mask():
    """Save time: the masks are tested by themselves, and with each engine elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equality, "MASKS", ("left",))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    options = ("--parts", "equality,training,size", "--seeds", "1")
    return compare(output, *options, "--dtypes", "float64")


def a_row(**changes):
    """A case that passed, as `equality.compare_all` returns it."""
    return {
        **{"layer": "lstm_keras.LSTM, loop", "against": KERAS, "dtype": "float32"},
        **{"mask": "left", "go_backwards": True, "return_sequences": False},
        **dict.fromkeys(QUANTITIES, 1e-7),
        **{"largest": 1e-7, "tolerance": 1e-5, "passed": True},
        **changes,
    }


def test_a_run_leaves_its_files_and_nothing_beside_them(folder):
    files = "config.json metrics.json report.html equality.csv history.csv figures"
    assert {path.name for path in folder.iterdir()} == set(files.split())
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
    assert list((folder / "figures").glob("*.png"))


def test_the_verdict_counts_the_cases_and_the_report_says_it_but_once(folder):
    verdict = metrics_of(folder)["equality"]["verdict"]
    # Loop and engines against Keras's layer, and all against the reference.
    cases = 1 + len(ENGINES) + 2 + len(ENGINES)
    assert verdict.startswith(f"Equal within tolerance in all {cases} cases, on ")
    page = page_of(folder)
    assert page.count(f"in all {cases} cases") == 1
    assert "generated reviews, not from IMDB" in page


def test_the_report_begins_with_whether_the_layers_are_equal(folder):
    cases = metrics_of(folder)["equality"]["cases"]
    finding = f"differ by less than the tolerance in all {cases} cases."
    assert finding in page_of(folder).partition("<h2>")[0]


@pytest.mark.thorough
@in_a_browser
def test_the_report_is_sound_in_a_browser(folder):
    assert_page_is_sound(folder / "report.html")


def test_every_case_has_a_row_with_its_tolerance(folder):
    """In float64 both layers are judged by the reference, too."""
    rows = rows_of(folder, "equality.csv")
    assert len(rows) == metrics_of(folder)["equality"]["cases"]
    for row in rows:
        assert float(row["largest"]) == max(float(row[name]) for name in QUANTITIES)
        assert float(row["largest"]) <= float(row["tolerance"])
        assert row["passed"] == "True"
    assert {row["mask"] for row in rows} == {"left"}
    judged = {row["layer"] for row in rows if row["against"] == REFERENCE}
    ours = {f"lstm_keras.LSTM, {name}" for name in (LOOP, *ENGINES)}
    assert judged == {KERAS, *ours}
    exact = [float(row["tolerance"]) for row in rows if ENGINES[0] in row["layer"]]
    assert min(exact) == 1e-12


def test_metrics_name_data_engine_versions_command_and_sizes(folder):
    metrics = metrics_of(folder)
    assert metrics["data"]["train"] == 48
    assert metrics["engine"]["training"] == "loop"
    assert metrics["environment"]["backend"] == BACKEND
    assert "python -m experiments.compare_lstm --quick" in metrics["command"]
    builtin, ours = metrics["size"]
    parameters = 5000 * 32 + 4 * 4 * (32 + 4 + 1) + 4 + 1
    assert builtin["parameters"] == ours["parameters"] == parameters
    assert builtin["weights"] == ours["weights"] == 4 * parameters
    assert builtin["file"] > 4 * parameters < ours["file"]


def test_both_layers_learn_alike_from_the_same_seeds(folder):
    metrics = metrics_of(folder)
    for outcome, found in metrics["training"]["differences"].items():
        assert found["seeds"] == 1, outcome
        np.testing.assert_allclose(found["values"], 0, atol=1e-5)
        if BACKEND == "tensorflow":  # there the loop is Keras's bit for bit
            assert found["values"] == [0]
    history = rows_of(folder, "history.csv")
    assert [(r["layer"], r["seed"], r["epoch"]) for r in history] == [
        (layer, seed, epoch)
        for layer in ("keras.layers.LSTM", "lstm_keras.LSTM")
        for seed in "0"
        for epoch in "12"
    ]


# A layer that is wrong: the code itself is broken.


def swapped(z):
    """Swap the first two gates."""
    i, f, g, o = ops.split(z, 4, axis=-1)
    return ops.concatenate([f, i, g, o], axis=-1)


def break_loop(monkeypatch):
    def call(self, inputs, states, training=False):
        h, c = states
        z = ops.matmul(inputs, self.kernel) + ops.matmul(h, self.recurrent_kernel)
        i, f, g, o = ops.split(swapped(z + self.bias), 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return h, [h, c]

    monkeypatch.setattr(lstm_keras.LSTMCell, "call", call)
    return LOOP


def break_engine(monkeypatch):
    run = engines.run

    def broken(engine, sequences, mask, states, weights, *more):
        weights = engines.Weights(*map(swapped, weights))
        return run(engine, sequences, mask, states, weights, *more)

    monkeypatch.setattr(engines, "run", broken)
    return ENGINES[0]


def test_layers_with_two_gates_swapped_end_in_status_1_with_a_report(
    tmp_path, monkeypatch, capsys
):
    broken = {f"lstm_keras.LSTM, {b(monkeypatch)}" for b in (break_loop, break_engine)}
    with pytest.raises(SystemExit, match="1"):
        compare(tmp_path, "--parts", "equality")
    folder = tmp_path / "compare_lstm" / "one"
    wrong = [r for r in rows_of(folder, "equality.csv") if r["passed"] == "False"]
    assert {row["layer"] for row in wrong} == broken
    found = metrics_of(folder)["equality"]
    assert found["failed"] == 2
    beginning = f"NOT equal, on {BACKEND}: 2 of {found['cases']} cases exceed"
    assert found["verdict"].startswith(beginning)
    for one in broken:
        assert f"{one} against {KERAS} (float32, mask left" in found["verdict"]
    for shown in (page_of(folder), capsys.readouterr().out):
        assert beginning in shown and "FAIL: 1 of 1" in shown


def test_a_difference_that_is_not_finite_fails_and_is_written():
    case = Case("float32", "none", False, False)
    right = dict.fromkeys(QUANTITIES, np.ones(2))
    wrong = right | {"d bias": np.array([1, np.nan])}
    row = equality.row(case, LOOP, KERAS, wrong, right)
    assert row["passed"] is False and np.isnan(row["largest"])
    found = equality.summary([row])
    assert "d bias nan > 1.0e-05" in found.verdict
    (shown,) = found.table
    assert shown["d bias"] is shown["largest"] is None
    assert json.dumps(shown, allow_nan=False)
    assert report.equality_rows([row])[0][3:] == [
        "not finite",
        "1.0e-05",
        "FAIL: 1 of 1",
    ]


# What is compared.


@pytest.mark.thorough
def test_without_a_mask_all_cases_agree_with_the_reference(monkeypatch):
    monkeypatch.setattr(equality, "MASKS", ("none",))
    rows = equality.compare_all(["float64"], seed=3, quick=False)
    assert len(rows) == 4 * (3 + 2 * len(ENGINES))
    assert all(row["passed"] for row in rows)


def test_unless_quick_both_directions_and_both_kinds_of_output_are_compared():
    cases = equality.cases("float32", quick=False)
    assert len(set(cases)) == len(cases) == len(equality.MASKS) * 2 * 2
    assert set(equality.cases("float32", quick=True)) < set(cases)


def test_a_tolerance_is_that_of_its_dtype_or_wider_where_the_report_says_so():
    for dtype, allowed in equality.TOLERANCES.items():
        found = equality.tolerance(dtype, ENGINES[0], KERAS)
        wider = dtype.startswith("mixed") or (
            dtype == "float64" and BACKEND != "tensorflow"
        )
        assert (found > allowed) == wider
        assert equality.tolerance(dtype, ENGINES[0], REFERENCE) == allowed


def test_masks_leave_a_step_in_every_sequence_and_the_padding_where_it_belongs():
    assert equality.step_mask("none") is None
    right, left, holes = map(equality.step_mask, ("right", "left", "holes"))
    for mask in (right, left, holes):
        assert mask.any(axis=1).all() and not mask.all()
    assert (np.diff(right.astype(int), axis=1) <= 0).all()
    assert (np.diff(left.astype(int), axis=1) >= 0).all()
    assert (np.abs(np.diff(holes.astype(int), axis=1)).sum(axis=1) > 1).all()


def test_a_difference_is_relative_to_the_largest_element_or_absolute_beside_zeros():
    assert equality.difference(np.array([1, -4.5]), np.array([1, -5])) == 0.1
    assert equality.difference(np.array([0, 0.5]), np.zeros(2)) == 0.5


def test_tables_hold_the_largest_difference_of_their_rows():
    rows = [a_row(), a_row(h=2e-5, largest=2e-5, passed=False), a_row(mask="none")]
    left, none = equality.table(rows, "mask")
    assert (left["mask"], left["h"], left["largest"]) == ("left", 2e-5, 2e-5)
    assert (left["cases"], left["failed"]) == (2, 1)
    assert (none["cases"], none["failed"]) == (1, 0)


def test_a_verdict_names_the_first_failures_and_counts_the_rest():
    wrong = a_row(**{"d h0": 0.5, "largest": 0.5, "passed": False})
    verdict = equality.summary([wrong] * 7).verdict
    one = f"lstm_keras.LSTM, loop against {KERAS} (float32, mask left, go_backwards)"
    assert verdict.count(f"{one}: d h0 5.0e-01 > 1.0e-05") == 5
    assert verdict.endswith("; and 2 more.")


# The training.


def test_a_difference_is_ours_minus_that_of_keras():
    found = training.paired_difference([0.9, 0.8], [0.5, 0.6])
    assert [found.ours, found.keras, found.mean] == pytest.approx([0.85, 0.55, 0.3])


def test_ctrl_c_leaves_out_the_seed_that_was_training(tmp_path, monkeypatch, capsys):
    """The training is a made-up one, which is interrupted at the right moment."""
    result = evaluate_classification([0, 1], [0.1, 0.8], name="made up")

    def train_one(settings, train, test, input_dim, seed):
        interrupted = seed == 1 and settings.layer == "custom"
        history = {name: [1.0] for name in ("loss", "val_loss", "val_accuracy")}
        fit = Fit(history, 1, interrupted, 0.1)
        return Trained(seed, None, fit, result, result, np.array([0.1, 0.8]))

    monkeypatch.setattr(training, "train_one", train_one)
    with pytest.raises(SystemExit, match="130"):
        runs.make("compare_lstm", tmp_path, "--parts=training", "--limit=60")
    folder = tmp_path / "compare_lstm" / "one"
    metrics, ending = metrics_of(folder), "seed 1 and later ones are left out."
    assert metrics["interrupted"] is True
    assert (
        metrics["training"]["ending"] == metrics["ending"] == f"Interrupted: {ending}"
    )
    assert len(metrics["training"]["runs"]) == 2
    differences = metrics["training"]["differences"].values()
    assert {one["seeds"] for one in differences} == {1}
    said = capsys.readouterr().out
    assert ending in said and "--resume" not in said
    assert ending in page_of(folder)


# Speed and memory. The workers are those of `experiments.speed`, tested there; here
# their answers are made up.


def answering(monkeypatch, failing=False):
    """Let made-up workers answer, and return what they are asked."""
    asked = []

    def ask(self, backend, task, **arguments):
        asked.append((backend, task, arguments.get("kind")))
        if failing:
            self.failures.append("<no> such thing")
            return None
        if task == "memory":
            return {"mebibytes": 50.0 if arguments["path"] == "keras" else 125.0}
        step = {"low": 0.01, "median": 0.02, "high": 0.03, "first": 1.0, "ratio": 1.5}
        step["rounds"] = 2
        kinds = {"training": step, "prediction": step}
        results = [
            {
                "shape": shape,
                "operations": {"training": 3, "prediction": 1},
                "paths": dict.fromkeys(PATHS, kinds),
            }
            for shape in arguments["shapes"]
        ]
        environment = {"backend": BACKEND}
        return {"environment": environment, "engine": "an engine", "results": results}

    monkeypatch.setattr(Workers, "ask", ask)
    return asked


def test_speed_asks_for_times_and_then_for_the_memory_of_both_kinds(monkeypatch):
    asked = answering(monkeypatch)
    found = costs.speed(Settings(shape="2,5,3,4 2,6,3,4"))
    assert asked[0] == (None, "times", None)
    assert asked[1:] == [
        (BACKEND, "memory", kind) for kind in ("training", "prediction") for _ in PATHS
    ]
    memory = dict(zip(PATHS, (50, 125, 125), strict=True))
    assert found.memory == {"training": memory, "prediction": memory}
    rows = report.speed_rows(found)
    assert rows[0][:2] == ["2,5,3,4; keras", "training"]
    assert [row[5:7] for row in rows[:2]] == [["50", "1.00"], ["125", "2.50"]]
    assert {tuple(row[5:7]) for row in rows if "2,6" in row[0]} == {("–", "–")}


def test_times_stand_in_the_report_with_their_ratios(tmp_path, monkeypatch, capsys):
    answering(monkeypatch)
    folder = compare(tmp_path, "--parts", "speed", "--shape", "2,5,3,4")
    assert metrics_of(folder)["speed"]["backend"] == BACKEND
    page = page_of(folder)
    assert "<b>" not in page and "2,5,3,4; &lt;b&gt;" in page
    said = capsys.readouterr().out
    assert "loop 1.50 in training, 1.50 in prediction" in said
    assert "Equality was not examined (--parts)" in said


def test_a_worker_that_fails_is_reported(tmp_path, monkeypatch, capsys):
    answering(monkeypatch, failing=True)
    folder = compare(tmp_path, "--parts", "speed")
    assert "&lt;no&gt; such thing" in page_of(folder)
    assert "<no> such thing" in capsys.readouterr().out


# Options.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--parts=equality,colour", "expected --parts .*'equality,colour'"),
        ("--dtypes=", "expected --dtypes .* float32,.*received ''"),
        ("--shape=1,2,3", "expected a shape"),
        ("--data=nowhere.csv", r"expected --data as one of .*'nowhere\.csv'"),
    ],
)
def test_bad_options_end_the_program_and_leave_nothing(tmp_path, options, message):
    with pytest.raises(SystemExit, match=message):
        runs.main("compare_lstm", "--output", tmp_path, options)
    assert not list(tmp_path.iterdir())


def test_quick_lowers_what_is_larger():
    quick = Settings(epochs=1, limit=None, quick=True).checked()
    assert (quick.epochs, quick.seeds, quick.limit, quick.rounds) == (1, 2, 1000, 5)
    assert quick.dtypes == "float32,float64,mixed_bfloat16"
    assert not quick.memory
    assert quick.checked() == quick  # as it is repeated
    only = Settings(dtypes="mixed_float16", quick=True).checked()
    assert only.dtypes == "mixed_float16"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (-0.0123, "-0.0123"), (3e-7, "+3.0e-07")]
)
def test_only_a_difference_of_zero_looks_like_zero(value, text):
    assert report.signed(value) == text
