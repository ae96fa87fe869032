"""Commands as processes of their own, several at a time; none takes others along."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.common.signals import INTERRUPTED

# Of what a job wrote on standard error the end is shown if it failed.
SHOWN = 2000

IS_JOB = "LSTM_KERAS_JOB"  # says so in a job's environment


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit status, and the end of what it wrote as errors."""

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
    # What a job starts in turn is none.
    del os.environ[IS_JOB]

    def wait():
        # Not sys.stdin, which Python wants to itself when it ends.
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def run_all(
    commands: Mapping[str, Sequence[str]], jobs: int, ray: str | None = None
) -> Iterator[Ended]:
    """Run commands, and yield each as it ends; Ray's all at the end.

    They have this process's environment and working folder. Ctrl-C asks those that run
    to end, as SIGTERM does; a second one kills them.

    Args:
        commands: By name, what follows `python -m`.
        jobs: So many at a time.
        ray: The address of a Ray cluster to run them on.

    Raises:
        KeyboardInterrupt: After Ctrl-C, when all have ended.
        ValueError: Ray is asked for and not installed.
    """
    from joblib import Parallel, delayed, parallel_config

    # Those of a Ray worker are its own.
    surroundings = {"env": {**os.environ, IS_JOB: "1"}, "cwd": Path.cwd()}
    jobs_of = [(name, tuple(command)) for name, command in commands.items()]
    if ray is not None:
        _connect(ray)
        with parallel_config(backend="ray", n_jobs=jobs):  # which has no generators
            yield from Parallel()(delayed(_run)(*job, surroundings) for job in jobs_of)
        return
    running = _Running()
    with running.ended_by_ctrl_c(), parallel_config(backend="threading", n_jobs=jobs):
        ended = Parallel(return_as="generator_unordered")(
            delayed(running.run)(*job, surroundings) for job in jobs_of
        )
        yield from filter(None, ended)
    if running.asked:
        raise KeyboardInterrupt


def _run(
    name: str,
    command: Sequence[str],
    surroundings: Mapping,
    begun=lambda process: None,
) -> Ended:
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,  # open as long as we live
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches it through us alone
            **surroundings,
        )
    except OSError as error:  # no memory for one more process
        return Ended(name, 1, str(error))
    begun(process)
    with process:
        errors = process.stderr.read()
        status = process.wait()
    return Ended(name, status, errors[-SHOWN:])


@dataclass
class _Running:
    """The processes of this machine that run now."""

    asked: bool = False
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)

    def run(
        self, name: str, command: Sequence[str], surroundings: Mapping
    ) -> Ended | None:
        if self.asked:
            return None

        def begun(process: subprocess.Popen) -> None:
            self.processes[name] = process
            if self.asked:  # while it was starting
                process.terminate()

        try:
            return _run(name, command, surroundings, begun)
        finally:
            self.processes.pop(name, None)

    @contextlib.contextmanager
    def ended_by_ctrl_c(self) -> Iterator[None]:
        previous = signal.signal(signal.SIGINT, self._end)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    def _end(self, signum, frame) -> None:
        if not self.asked:
            print("\nInterrupted: the jobs end after their step; again to kill them.")
        for process in list(self.processes.values()):
            process.kill() if self.asked else process.terminate()
        self.asked = True


def _connect(address: str) -> None:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise ValueError(
            f"expected Ray for --ray (pip install ray); received {error}"
        ) from error
    ray.init(address=None if address == "local" else address, ignore_reinit_error=True)
    register_ray()
