"""Commands as processes: what they end with, how many run, and how they are ended."""

import os
import signal
import subprocess
import sys
import threading
import time

import joblib
import pytest

from experiments import jobs


def python(code):
    """A command that runs Python code."""
    return ("timeit", "-n", "1", "-r", "1", "-s", code, "pass")


def ended(commands, count=2):
    return {one.name: one for one in jobs.run_all(commands, count)}


def test_each_command_ends_by_itself_and_none_takes_others_along():
    found = ended(
        {
            "fine": python("pass"),
            "fails": python("raise ValueError('no, thanks')"),
            "dies": python("import os; os.kill(os.getpid(), 9)"),
            "leaves": python("import os; os._exit(3)"),
            "unnamed": python("import os; os.kill(os.getpid(), 40)"),
            "last": python("pass"),
        }
    )
    assert {name: one.status for name, one in found.items()} == {
        **{"fine": 0, "fails": 1, "dies": -signal.SIGKILL},
        **{"leaves": 3, "unnamed": -40, "last": 0},
    }
    assert found["dies"].how == "was killed by SIGKILL"
    assert found["unnamed"].how == "was killed by signal 40"
    assert found["fails"].how == "ended with status 1: ValueError: no, thanks"
    assert found["leaves"].how == "ended with status 3: no message"


@pytest.mark.parametrize("count", [1, 2])
def test_so_many_run_at_a_time(tmp_path, count):
    """Each notes how many there are while it runs, itself included."""
    code = f"""
import os, pathlib, time
folder = pathlib.Path({str(tmp_path)!r})
mine = folder / f"{{os.getpid()}}.running"
mine.touch()
for _ in range(30):
    time.sleep(0.01)
    running = len(list(folder.glob("*.running")))
    (folder / f"{{os.getpid()}}-{{running}}.seen").touch()
mine.unlink()
"""
    found = ended({str(i): python(code) for i in range(5)}, count)
    assert {one.status for one in found.values()} == {0}, found
    seen = {int(path.stem.split("-")[1]) for path in tmp_path.glob("*.seen")}
    assert max(seen) == count


@pytest.mark.parametrize(("presses", "status"), [(1, 7), (2, -signal.SIGKILL)])
def test_ctrl_c_asks_them_to_end_and_a_second_one_kills_them(tmp_path, presses, status):
    wait = "time.sleep(60)" if presses == 2 else "os._exit(7)"
    code = f"""
import os, pathlib, signal, time
def end(*_):
    pathlib.Path({str(tmp_path)!r}, "asked").touch()
    {wait}
signal.signal(signal.SIGTERM, end)
pathlib.Path({str(tmp_path)!r}, "there").touch()
time.sleep(60)
"""

    def press():
        for name in ("there", "asked")[:presses]:
            while not (tmp_path / name).exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

    before, found = signal.getsignal(signal.SIGINT), []
    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        found.extend(jobs.run_all({"one": python(code), "two": python(code)}, 1))
    assert [(one.name, one.status) for one in found] == [("one", status)]
    assert signal.getsignal(signal.SIGINT) is before


def test_on_a_cluster_they_have_the_environment_and_the_folder_of_their_starter(
    tmp_path, monkeypatch
):
    """Ray's place is taken by processes that are there before, as its workers are."""
    joblib.register_parallel_backend("ray", joblib.parallel.LokyBackend)
    monkeypatch.setattr(jobs, "_connect", lambda address: None)
    with joblib.parallel_config(backend="ray", n_jobs=2):
        joblib.Parallel()(joblib.delayed(time.sleep)(0.1) for _ in range(4))
    monkeypatch.setenv("KERAS_BACKEND", "that of the starter")
    monkeypatch.chdir(tmp_path)
    code = "import os, pathlib; pathlib.Path('{}').write_text(os.environ['{}'])"
    commands = {n: python(code.format(n, "KERAS_BACKEND")) for n in ("one", "two")}
    found = list(jobs.run_all(commands, 2, "auto"))
    assert [one.status for one in found] == [0, 0], found
    for name in commands:
        assert (tmp_path / name).read_text() == "that of the starter"


def test_a_job_that_listens_to_its_starter_ends_by_itself(tmp_path):
    code = "from experiments import jobs; jobs.end_with_starter(); import time"
    found = ended({"one": python(f"{code}; time.sleep(0.3)")})
    assert found["one"].status == 0, found["one"].errors


def test_a_job_ends_when_its_starter_is_killed(tmp_path):
    job = f"""
import pathlib, signal, time
from experiments import jobs
def end(*_):
    pathlib.Path({str(tmp_path)!r}, "ended").touch()
    raise SystemExit
signal.signal(signal.SIGTERM, end)
jobs.end_with_starter()
pathlib.Path({str(tmp_path)!r}, "there").touch()
time.sleep(60)
"""
    commands = {"one": python(job)}
    code = f"from experiments import jobs; list(jobs.run_all({commands!r}, 1))"
    starter = subprocess.Popen([sys.executable, "-c", code])
    for name in ("there", "ended"):
        end = time.monotonic() + 60
        while not (tmp_path / name).exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        starter.kill()
    starter.wait()


def test_ray_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"expected Ray for --ray \(pip install ray\)"):
        list(jobs.run_all({"one": python("pass")}, 1, "auto"))
