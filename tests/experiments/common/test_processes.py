"""Commands as processes: what they end with, how many run, and how they are ended."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments.common import processes, signals


def python(code):
    """Return a command that runs Python code."""
    return ("timeit", "-n", "1", "-r", "1", "-s", code, "pass")


FAILS = python("raise ValueError('no, thanks')")
DIES = python("import os; os.kill(os.getpid(), 9)")
LISTENS = "from experiments.common import processes as p; p.end_with_starter()"


def wait_for(path):
    """Wait until a job has made a file."""
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def ended(commands, count=2, *where):
    return {one.name: one for one in processes.run_all(commands, count, *where)}


def test_a_failing_command_does_not_affect_others():
    found = ended(
        {
            "fine": python("pass"),
            "listens": python(LISTENS),
            "fails": FAILS,
            "dies": DIES,
            "leaves": python("import os; os._exit(3)"),
            "unnamed": python("import os; os.kill(os.getpid(), 40)"),
        }
    )
    assert {name: one.status for name, one in found.items()} == {
        **{"fine": 0, "listens": 0, "fails": 1, "dies": -signal.SIGKILL},
        **{"leaves": 3, "unnamed": -40},
    }
    assert found["dies"].how == "was killed by SIGKILL"
    assert found["unnamed"].how == "was killed by signal 40"
    assert found["fails"].how == "ended with status 1: ValueError: no, thanks"
    assert found["leaves"].how == "ended with status 3: no message"


@pytest.mark.parametrize("count", [1, 2])
def test_the_number_of_jobs_at_a_time_is_limited(tmp_path, count):
    """Each notes how many there are while it runs, itself included."""
    code = f"""
import os, pathlib, time
folder = pathlib.Path({str(tmp_path)!r})
mine = folder / f"{{os.getpid()}}.running"
mine.touch()
for _ in range(20):
    time.sleep(0.01)
    running = len(list(folder.glob("*.running")))
    (folder / f"{{os.getpid()}}-{{running}}.seen").touch()
mine.unlink()
"""
    found = ended({str(i): python(code) for i in range(2 * count)}, count)
    assert {one.status for one in found.values()} == {0}, found
    seen = {int(path.stem.split("-")[1]) for path in tmp_path.glob("*.seen")}
    assert max(seen) == count


@pytest.mark.parametrize(
    ("count", "mine", "expected"), [(2, None, "4"), (9, None, "1"), (2, "3", "3")]
)
def test_jobs_share_the_cores_out_but_a_limit_of_the_user_holds(
    tmp_path, monkeypatch, count, mine, expected
):
    monkeypatch.setattr(processes.os, "cpu_count", lambda: 8)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    if mine:
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", mine)
    seen = tmp_path / "seen"
    code = f"""
import os, pathlib
pathlib.Path({str(seen)!r}).write_text(os.environ["TF_NUM_INTRAOP_THREADS"])
"""
    assert ended({"one": python(code)}, count)["one"].status == 0
    assert seen.read_text() == expected


def interrupted(folder, *where, presses=1):
    """Press Ctrl-C while a job runs, and return the jobs that ended."""
    wait = "time.sleep(60)" if presses == 2 else "os._exit(7)"
    code = f"""
import os, pathlib, signal, time
def end(*_):
    pathlib.Path({str(folder)!r}, "asked").touch()
    {wait}
signal.signal(signal.SIGTERM, end)
pathlib.Path({str(folder)!r}, "there").touch()
time.sleep(60)
"""

    def press():
        for name in ("there", "asked")[:presses]:
            wait_for(folder / name)
            os.kill(os.getpid(), signal.SIGINT)

    before, found = signal.getsignal(signal.SIGINT), []
    threading.Thread(target=press, daemon=True).start()
    commands = {"one": python(code), "two": python(code)}
    with pytest.raises(KeyboardInterrupt):
        found.extend(processes.run_all(commands, 1, *where))
    assert signal.getsignal(signal.SIGINT) is before
    return [(one.name, one.status) for one in found]


@pytest.mark.parametrize(("presses", "status"), [(1, 7), (2, -signal.SIGKILL)])
def test_ctrl_c_asks_jobs_to_end_and_a_second_one_kills_them(tmp_path, presses, status):
    assert interrupted(tmp_path, presses=presses) == [("one", status)]


def test_a_job_that_is_just_starting_gets_the_ctrl_c(monkeypatch):
    class Slow(processes._Process):
        def __init__(self, environment):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)  # the signal comes before the job is known
            super().__init__(environment)

    monkeypatch.setattr(processes, "_Process", Slow)
    with pytest.raises(KeyboardInterrupt):
        found = ended({"one": python("import time; time.sleep(60)")})
        pytest.fail(f"it was not interrupted: {found}")


def test_a_job_ends_when_its_starter_is_killed(tmp_path):
    job = f"""
import pathlib, signal, time
from experiments.common import processes
def end(*_):
    pathlib.Path({str(tmp_path)!r}, "ended").touch()
    raise SystemExit
signal.signal(signal.SIGTERM, end)
processes.end_with_starter()
pathlib.Path({str(tmp_path)!r}, "there").touch()
time.sleep(60)
"""
    commands = {"one": python(job)}
    code = "from experiments.common import processes as p; list(p.run_all({}, 1))"
    starter = subprocess.Popen([sys.executable, "-c", code.format(commands)])
    for name in ("there", "ended"):
        wait_for(tmp_path / name)
        starter.kill()
    starter.wait()


def test_more_can_be_started_while_some_run():
    with processes.Jobs(2) as jobs:
        jobs.start("first", python("pass"))
        names = []
        for one in jobs:
            names.append(one.name)
            if one.name == "first":
                jobs.start("second", python("pass"))
    assert names == ["first", "second"]


def test_an_error_of_the_starter_ends_what_runs(tmp_path):
    there = str(tmp_path / "there")
    code = f"import pathlib, time; pathlib.Path({there!r}).touch(); time.sleep(60)"
    start = time.monotonic()
    with pytest.raises(ZeroDivisionError), processes.Jobs(2) as jobs:
        jobs.start("slow", python(code))
        wait_for(tmp_path / "there")
        raise ZeroDivisionError
    assert time.monotonic() - start < 50


def test_lines_come_as_they_are_printed_and_errors_beside_them():
    lines = []
    code = "import os, sys; print(os.environ['X']); print('½'); sys.exit('no')"
    environment = {**os.environ, "X": "set"}
    found = processes.run(
        "one", python(code), environment=environment, on_line=lines.append
    )
    assert lines == ["set\n", "½\n"]
    assert found.how == "ended with status 1: SystemExit: no"


def test_ray_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"--ray needs Ray \(pip install"):
        list(processes.run_all({"one": python("pass")}, 1, "auto"))


@pytest.fixture(scope="module")
def cluster():
    """Start a Ray cluster of two machines, and give its address."""
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    machines = cluster_utils.Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False},
    )
    machines.add_node(num_cpus=1)
    previous = signal.getsignal(signal.SIGTERM)
    processes.connect(machines.address)
    assert signal.getsignal(signal.SIGTERM) is previous
    yield machines.address
    ray.shutdown()
    machines.shutdown()


DIES_ONCE = """
import os, pathlib, signal
checkpoint, victim = pathlib.Path({path!r}), {victim}
if not checkpoint.exists():
    checkpoint.write_text("half")
    os.kill(victim, signal.SIGKILL)
    raise SystemExit
checkpoint.with_suffix(".done").write_text(
    checkpoint.read_text() + os.environ["KERAS_BACKEND"] + os.getcwd()
)
"""


@pytest.mark.thorough
def test_a_job_that_dies_on_a_cluster_is_tried_again_and_finds_its_checkpoint(
    cluster, tmp_path, monkeypatch
):
    """Environment and folder are those of the starter, not of Ray's workers."""
    monkeypatch.setenv("KERAS_BACKEND", " and that of the starter, in ")
    monkeypatch.chdir(tmp_path)
    victims = {"job": "os.getpid()", "worker": "os.getppid()"}
    commands = {
        name: python(DIES_ONCE.format(path=str(tmp_path / name), victim=victim))
        for name, victim in victims.items()
    }
    found = ended({**commands, "fails": FAILS}, 3, cluster)
    assert found["fails"].status == 1
    for name in victims:
        assert found[name].status == 0, found[name]
        done = (tmp_path / name).with_suffix(".done").read_text()
        assert done == f"half and that of the starter, in {tmp_path}"


@pytest.mark.thorough
def test_a_job_that_always_dies_on_a_cluster_is_reported(cluster, monkeypatch):
    monkeypatch.setattr(processes, "RETRIES", 1)
    (one,) = processes.run_all({"dies": DIES}, 1, cluster)
    assert one.how == "was killed by SIGKILL"


@pytest.mark.thorough
def test_ctrl_c_asks_jobs_on_a_cluster_to_end(cluster, tmp_path):
    assert interrupted(tmp_path, cluster) == [("one", signals.INTERRUPTED)]
    assert (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("code", "status"), [("print('seen')", 0), ("import os; os._exit(3)", 3)]
)
def test_a_command_here_shows_its_output_and_gives_its_status(capfd, code, status):
    assert processes.run_here(python(code)) == status
    assert ("seen" in capfd.readouterr().out) == (status == 0)


def test_ctrl_c_is_handed_on_to_a_command_here(tmp_path):
    begun = tmp_path / "begun"
    code = f"open({str(begun)!r}, 'w'); import time; time.sleep(60)"

    def interrupt():
        wait_for(begun)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    assert processes.run_here(python(code)) == -signal.SIGTERM
