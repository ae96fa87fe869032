"""What the numbers of a run depend on: fingerprints of data, deterministic runs."""

import numpy as np
import pytest

from experiments.common.environment import fingerprint
from tests.helpers.processes import OPTIONS, Experiment, assert_same, begin
from tests.helpers.runs import metrics_of

ONE = [np.array([[1, 2], [3, 4]], "int32"), np.array([0, 1], "int32")]


@pytest.mark.parametrize(
    "other",
    [
        [ONE[0] + [[0, 0], [0, 1]], ONE[1]],
        [ONE[0].T, ONE[1]],
        [ONE[0].reshape(4), ONE[1]],
        [ONE[0].astype("int64"), ONE[1]],
        [ONE[1], ONE[0]],
        [ONE[0]],
        [np.array([1, 2], "int32"), np.array([3, 4, 0, 1], "int32")],
    ],
)
def test_other_data_have_another_fingerprint(other):
    assert fingerprint(other) != fingerprint(ONE)


def test_equal_data_have_the_same_fingerprint_however_they_lie_in_memory():
    same = [np.asfortranarray(ONE[0]), np.repeat(ONE[1], 2)[::2]]
    assert fingerprint(same) == fingerprint(ONE)
    assert fingerprint(ONE).startswith("sha256:") and len(fingerprint(ONE)) == 71


@pytest.mark.thorough
@pytest.mark.parametrize("name", OPTIONS)
def test_a_deterministic_run_that_is_repeated_has_the_same_weights(name, tmp_path):
    run = begin(name, tmp_path, "one", "--deterministic")
    assert run.end() == 0, run.errors.read_text()
    folder = tmp_path / name / "one"
    again = Experiment(name, tmp_path, "--repeat", str(folder))
    assert again.end() == 0, again.errors.read_text()
    assert_same(folder, folder.with_name("one-repeated"))
    assert metrics_of(folder)["data"]["fingerprint"].startswith("sha256:")
