"""Run commands in processes of their own, several at a time, here or on a cluster."""

import concurrent.futures
import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.common.signals import INTERRUPTED

SHOWN = 2000  # characters of a failed job's standard error that are kept

POLL = 0.05  # seconds

IS_JOB = "LSTM_KERAS_JOB"  # set in the environment of a job

RETRIES = 3  # on a cluster, after a job or its machine died

# Environment variables by which TensorFlow and torch limit their threads.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit status, and the end of its standard error."""

    name: str
    status: int
    errors: str

    @property
    def how(self) -> str:
        """The end in words."""
        if self.status == INTERRUPTED:
            return "was interrupted"
        if self.status < 0:
            # A real-time signal has no name.
            names = {one.value: one.name for one in signal.Signals}
            return f"was killed by {names.get(-self.status, f'signal {-self.status}')}"
        lines = self.errors.strip().splitlines() or ["no message"]
        return f"ended with status {self.status}: {lines[-1]}"


def end_with_starter() -> None:
    """End this process, if it is a job, as SIGTERM does once its starter is gone."""
    if IS_JOB not in os.environ:
        return
    # What a job starts in turn is not one.
    del os.environ[IS_JOB]

    def wait():
        # Not sys.stdin, which Python locks when it exits.
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def run_here(command: Sequence[str]) -> int:
    """Run what follows `python -m`, with its output here, and return its exit status.

    Ctrl-C and SIGTERM are handed on to it, so that it can end as it would alone.
    """
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=subprocess.PIPE,
        env={**os.environ, IS_JOB: "1"},
        start_new_session=True,
    ) as job:
        while True:
            try:
                return job.wait()
            except KeyboardInterrupt:
                job.terminate()


def run_all(
    commands: Mapping[str, Sequence[str]], count: int, ray: str | None = None
) -> Iterator[Ended]:
    """Run commands, and yield each as it ends; see `Jobs`.

    Args:
        commands: By name, what follows `python -m`.
        count: Number of jobs at a time.
        ray: The address of a Ray cluster to run them on.
    """
    with Jobs(count, ray) as jobs:
        for name, command in commands.items():
            jobs.start(name, command)
        yield from jobs


def run(
    name: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    on_line: Callable[[str], object] | None = None,
    started: Callable[[subprocess.Popen], object] = lambda process: None,
) -> Ended:
    """Run a command, and return how it ended.

    An exception, such as Ctrl-C, asks it to end, as SIGTERM does, and waits for that.

    Args:
        name: What to call it.
        command: What follows `python -m`.
        environment: Its environment variables; by default those of this process.
        folder: Its working folder; by default that of this process.
        on_line: Called with each line that it prints, as it comes.
        started: Called with the process once it runs.
    """
    environment = os.environ if environment is None else environment
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env={**environment, IS_JOB: "1", "PYTHONIOENCODING": "utf-8"},
                cwd=folder,
                stdin=subprocess.PIPE,  # open as long as this process lives
                stdout=subprocess.PIPE if on_line else subprocess.DEVNULL,
                stderr=errors,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # Ctrl-C reaches it through this process alone
            )
        except OSError as error:  # no memory for one more process
            return Ended(name, 1, str(error))
        started(process)
        with process:
            try:
                for line in process.stdout or ():
                    on_line(line)
                while process.poll() is None:  # Ray can't interrupt a longer wait
                    time.sleep(POLL)
            except BaseException:
                process.terminate()
                process.wait()
                raise
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - SHOWN))
        said = errors.read().decode("utf-8", "replace")
    return Ended(name, process.returncode, said)


class Jobs:
    """Commands in processes of their own, of which none takes others along.

    Start them inside of `with`, and iterate to get each `Ended` as it ends; more can be
    started meanwhile. They have this process's environment and working folder, and here
    a share of the cores each. Ctrl-C asks those that run to end, as SIGTERM does; a
    second one kills them. When all have ended, the iteration then raises
    `KeyboardInterrupt`.

    Args:
        count: Number of jobs at a time.
        ray: The address of a Ray cluster to run them on, or "local" to start one. There
            a job that is killed, or whose machine dies, is tried again.
        every: Seconds without an end after which the iteration also yields None.

    Raises:
        ValueError: Ray is asked for and not installed.
        ConnectionError: There is no cluster at that address.
    """

    def __init__(self, count: int, ray: str | None = None, every: float | None = None):
        self._every = every
        self._start = (
            functools.partial(_Process, shared_out(count))
            if ray is None
            else connect(ray)
        )
        self._threads = concurrent.futures.ThreadPoolExecutor(count)
        self._waiting: set[concurrent.futures.Future] = set()
        self._running: dict[str, _Process | _Task] = {}
        self._interrupted = False

    def __enter__(self) -> "Jobs":
        """Take Ctrl-C."""
        self._previous = signal.signal(signal.SIGINT, self._on_ctrl_c)
        return self

    def __exit__(self, kind, error, traceback) -> None:
        """Ask jobs that still run to end, and wait for them."""
        self._stop(kill=False)
        self._threads.shutdown()
        signal.signal(signal.SIGINT, self._previous)

    def __iter__(self) -> Iterator[Ended | None]:
        """Yield jobs as they end."""
        while self._waiting:
            done, self._waiting = concurrent.futures.wait(
                self._waiting,
                timeout=self._every,
                return_when=concurrent.futures.FIRST_COMPLETED,
            )
            if not done:
                yield None
            yield from (one.result() for one in done if not one.cancelled())
        if self._interrupted:
            raise KeyboardInterrupt

    def start(self, name: str, command: Sequence[str]) -> None:
        """Run a command as soon as there are fewer than `count` jobs.

        Args:
            name: Of the job, unlike that of any other.
            command: What follows `python -m`.
        """
        if not self._interrupted:
            self._waiting.add(self._threads.submit(self._run, name, command))

    def _run(self, name: str, command: Sequence[str]) -> Ended:
        job = self._running[name] = self._start()
        if self._interrupted:  # after it was taken from the queue
            job.stop(kill=False)
        try:
            return job.run(name, command)
        finally:
            del self._running[name]

    def _on_ctrl_c(self, signum, frame) -> None:
        if not self._interrupted:
            print("\nInterrupted: the jobs end after their step; again to kill them.")
        kill, self._interrupted = self._interrupted, True
        self._stop(kill)

    def _stop(self, kill: bool) -> None:
        for one in self._waiting:
            one.cancel()
        for job in list(self._running.values()):
            job.stop(kill)


def shared_out(count: int) -> dict[str, str]:
    """Return the environment of one of `count` jobs: with its share of the cores.

    Jobs with as many threads as there are cores each would wait for one another. A
    limit that the user has set holds.
    """
    threads = str(max(1, (os.cpu_count() or 1) // count))
    return {**dict.fromkeys(THREADS, threads), **os.environ}


class _Process:
    """A job on this machine, with these environment variables."""

    def __init__(self, environment: Mapping[str, str]):
        self._environment = environment
        self._process, self._stopped = None, False

    def run(self, name: str, command: Sequence[str]) -> Ended:
        return run(name, command, environment=self._environment, started=self._note)

    def stop(self, kill: bool) -> None:
        self._stopped = True
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()

    def _note(self, process: subprocess.Popen) -> None:
        self._process = process
        if self._stopped:  # while it was starting
            process.terminate()


class _Task:
    """A job on a cluster, where Ray starts it again if its machine dies."""

    def __init__(self):
        self._task, self._stopped = None, False

    def run(self, name: str, command: Sequence[str]) -> Ended:
        import ray

        # Those of a Ray worker are its own.
        environment, folder = dict(os.environ), Path.cwd()
        task = ray.remote(_on_worker).options(
            name=name, max_retries=RETRIES, retry_exceptions=[_KilledError]
        )
        self._task = task.remote(name, command, environment, folder)
        if self._stopped:
            ray.cancel(self._task)
        try:
            return ray.get(self._task)
        except ray.exceptions.TaskCancelledError:
            return Ended(name, INTERRUPTED, "")
        except _KilledError as error:  # each time; Ray has wrapped it
            return error.cause.args[0]
        except ray.exceptions.RayError as error:
            return Ended(name, 1, str(error))

    def stop(self, kill: bool) -> None:
        import ray

        self._stopped = True
        if self._task is not None:
            ray.cancel(self._task, force=kill)


class _KilledError(Exception):
    """A job was killed by a signal; the argument is its `Ended`."""


def _on_worker(
    name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Ended:
    ended = run(name, command, environment=environment, folder=folder)
    if ended.status < 0:
        raise _KilledError(ended)
    return ended


def connect(address: str) -> type[_Task]:
    """Connect to a Ray cluster, and return what runs a job on it."""
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            f"--ray needs Ray (pip install 'lstm_keras[ray]'); received {error}"
        ) from error
    if not ray.is_initialized():
        previous = signal.getsignal(signal.SIGTERM)
        ray.init(address, log_to_driver=False)
        signal.signal(signal.SIGTERM, previous)  # Ray has set its own
    return _Task
