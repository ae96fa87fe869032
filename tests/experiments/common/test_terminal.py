"""What appears on standard error while Keras is imported. Oracle: a pipe reads it."""

import os
import subprocess
import sys

import pytest

from tests.helpers.fresh_process import CHECKOUT


def said(how, **environment):
    """What a process says in which an import logs a line and then ends somehow."""
    program = (
        "import os, sys\n"
        "from experiments.common.terminal import start_up_messages_held\n"
        "try:\n"
        "    with start_up_messages_held():\n"
        "        os.write(2, b'logged ')\n"
        f"        {how}\n"
        "except BaseException: pass\n"
        "print('afterwards', file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )
    return done.stderr.split()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("pass", ["afterwards"]),
        ("raise ImportError", ["logged", "afterwards"]),
        ("raise KeyboardInterrupt", ["afterwards"]),
        ("os.abort()", ["logged"]),
    ],
    ids=["imported", "failed", "interrupted", "crashed"],
)
def test_start_up_messages_appear_only_if_the_import_fails(how, words):
    assert said(how) == words


def test_a_log_level_of_the_users_own_shows_them():
    assert said("pass", TF_CPP_MIN_LOG_LEVEL="0") == ["logged", "afterwards"]
