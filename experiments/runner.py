"""What all experiments share: the command line, and what they say of the machine.

Neither Keras nor `lstm_keras` is imported at the top of this file or of a script, so
that `--help` answers, and a wrong option is refused, before TensorFlow is loaded.
"""

import argparse
import contextlib
import dataclasses
import math
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

# TensorFlow logs much about CUDA and oneDNN when it starts, and a little even so.
# Errors still come through as exceptions. Set it to 0 to read everything.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

INTERRUPTED = 130  # exit status: the shells' number for Ctrl-C


def option(
    default,
    help: str,
    *,
    group: str,
    choices: Sequence[str] | None = None,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
):
    """Declare a field of an experiment's settings, which becomes a command-line option.

    Args:
        default: Its default.
        help: What it does, for `--help`.
        group: The heading in `--help` under which it stands.
        choices: The allowed values, if they can be listed.
        least: Smallest allowed number.
        most: Largest allowed number.
        above: A bound that the number must exceed.
        below: A bound that the number must stay under.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help,
            "group": group,
            "choices": choices,
            "bounds": {"least": least, "most": most, "above": above, "below": below},
        },
    )


def parse(
    settings: type,
    argv: Sequence[str],
    *,
    program: str,
    description: str,
    usage: str = "%(prog)s [options]",
    epilog: str = "",
    preset: str = "recipe",
    recipes: dict | None = None,
):
    """Read the command line into a settings dataclass.

    Args:
        settings: A dataclass whose fields are made by `option`.
        argv: The arguments, without the program's name.
        program: How the user calls it, `python -m experiments.NAME`.
        description: Shown at the top of `--help`.
        usage: The forms of the command.
        epilog: Shown at its end.
        preset: The field that `recipes` are for.
        recipes: What each of its values changes among the defaults. Options that are
            given win over it.

    Returns:
        An instance of `settings`. A bad option ends the program with exit status 2.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        usage=usage,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(parser, settings)
    if recipes:
        chosen = parser.parse_known_args([a for a in argv if a not in ("-h", "--help")])
        parser.set_defaults(**recipes[getattr(chosen[0], preset)])
    return settings(**vars(parser.parse_args(argv)))


def given(settings: type, argv: Sequence[str]) -> set[str]:
    """Return the names of the options that a command line, which is right, holds."""
    parser, absent = argparse.ArgumentParser(), object()
    _add_options(parser, settings)
    found = argparse.Namespace(**dict.fromkeys(_names(settings), absent))
    parser.parse_args(argv, found)
    return {name for name, value in vars(found).items() if value is not absent}


def arguments(settings: type, values: dict) -> list[str]:
    """Return the command line that gives an experiment all its options.

    Args:
        settings: See `parse`.
        values: Of its fields; others are left out.
    """
    words = []
    for name in _names(settings):
        flag, value = "--" + name.replace("_", "-"), values.get(name)
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif value is not None:
            words.append(f"{flag}={value}")
    return words


def configuration(experiment: str, settings) -> dict:
    """Return what `config.json` says: all settings but for `resume`."""
    kept = dataclasses.asdict(settings)
    kept.pop("resume", None)
    return {"experiment": experiment, **kept}


def start(
    run: Callable,
    settings: type,
    argv: Sequence[str],
    *,
    experiment: str,
    named_after: str | None = "layer",
    **about,
) -> None:
    """Read an experiment's command line and run it, with errors a user can read.

    Args:
        run: Takes the settings, which have a name then, and the command.
        settings: See `parse`.
        argv: See `parse`.
        experiment: The script's name.
        named_after: The setting with which a name that was not given begins; None for
            a name of date and time alone.
        **about: Further arguments of `parse`.
    """
    program = f"python -m experiments.{experiment}"
    chosen = parse(settings, argv, program=program, **about)
    if chosen.name is None:
        name = time.strftime("%Y%m%d-%H%M%S")
        if named_after is not None:
            name = f"{getattr(chosen, named_after)}-{name}"
        chosen = dataclasses.replace(chosen, name=name)
    with sigterm_as_ctrl_c(), readable_errors():
        from experiments import earlier, jobs

        jobs.end_with_starter()
        command = command_line(experiment, argv)
        if getattr(chosen, "resume", None):
            chosen, command = earlier.resumed(chosen, argv, experiment)
        elif getattr(chosen, "repeat", None):
            chosen, command = earlier.repeated(chosen, argv, experiment)
        path = run(chosen, command)
        # That of a resumed run, too: it may be one that was begun with --repeat.
        earlier.end(path, getattr(chosen, "repeat", None))


def _names(settings: type) -> list[str]:
    return [field.name for field in dataclasses.fields(settings)]


def _add_options(parser: argparse.ArgumentParser, settings: type) -> None:
    groups = {}
    for field in dataclasses.fields(settings):
        title = field.metadata["group"]
        groups.setdefault(title, parser.add_argument_group(title))
        _add_option(groups[title], field)


def _add_option(group, field: dataclasses.Field) -> None:
    kind = field.type
    if isinstance(kind, types.UnionType):  # `int | None`: an option without a default
        kind = typing.get_args(kind)[0]
    help = field.metadata["help"].replace("%", "%%")
    flag = "--" + field.name.replace("_", "-")
    if kind is bool:
        arguments = {"action": argparse.BooleanOptionalAction}
    else:
        arguments = {
            "type": number(kind, **field.metadata["bounds"])
            if kind in (int, float)
            else kind,
            "choices": field.metadata["choices"],
            "metavar": None if field.metadata["choices"] else kind.__name__.upper(),
        }
    if kind is bool:
        help += f" (default: {'yes' if field.default else 'no'})"
    elif field.default is not None:
        help += " (default: %(default)s)"
    group.add_argument(flag, default=field.default, help=help, **arguments)


def number(
    kind: type,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
):
    """Return a reader of numbers within bounds, for argparse."""
    bounds = [
        f"{word} {bound if isinstance(bound, int) else f'{bound:g}'}"
        for word, bound in (
            ("at least", least),
            ("at most", most),
            ("above", above),
            ("below", below),
        )
        if math.isfinite(bound)
    ]
    wanted = {int: "a whole number", float: "a number"}[kind] + (
        f" {' and '.join(bounds)}" if bounds else ""
    )

    def read(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and above < value < below):  # NaN fails as well
            raise argparse.ArgumentTypeError(f"expected {wanted}; received {text!r}")
        return value

    return read


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """End the program with a one-line message for the errors a user can cause."""
    try:
        yield
    except BrokenPipeError:  # whoever read our output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\ninterrupted: no report was written", file=sys.stderr)
        sys.exit(INTERRUPTED)


def command_line(module: str, argv: Sequence[str]) -> str:
    """Return the command that was typed, ready to be pasted into a shell."""
    variables = [
        f"{name}={shlex.quote(os.environ[name])}"
        for name in ("LSTM_KERAS_DATA", "KERAS_BACKEND")
        if name in os.environ
    ]
    command = shlex.join(["python", "-m", f"experiments.{module}", *argv])
    return " ".join([*variables, command])


def environment(devices: Sequence[str] = ()) -> dict:
    """Return the versions, the backend and the machine that the numbers depend on.

    Args:
        devices: Those that share each batch, if there are several.
    """
    from importlib.metadata import version

    import keras

    backend = keras.backend.backend()
    packages = {"keras", "numpy", "scikit-learn", backend}
    return {
        "python": platform.python_version(),
        "backend": backend,
        "versions": {name: version(name) for name in sorted(packages)},
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "platform": platform.platform(),
        },
        "devices": len(devices) or 1,
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Return the commit of this checkout, and whether files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit, changes = (
            subprocess.run(
                [*git, *words], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for words in (
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no"),
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changes else "")


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, by which others end a program, do what Ctrl-C does."""

    def end(*_):
        # Shells let what they start in the background ignore Ctrl-C.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """Finish what takes seconds and must not be left half done."""
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def stage(text: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    print(f"{text} … ", end="", flush=True)
    start = time.perf_counter()
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        print(f"{outcome} in {time.perf_counter() - start:.1f} s", flush=True)
