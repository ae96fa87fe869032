"""Dataclass fields that become command-line options."""

import argparse
import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations, and suggests what may have been meant.

    Args:
        commands: First words that others parse, to suggest them, too.
        **about: Arguments of `ArgumentParser`.
    """

    def __init__(self, commands: Collection[str] = (), **about):
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **about,
        )
        self._commands = commands

    def parse_args(self, args=None, namespace=None):
        """Parse a command line; an unknown word ends the program with status 2."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [*self._option_string_actions, *self._commands]
            words = (re.sub("^-+", "--", word.partition("=")[0]) for word in unknown)
            meant = [name for word in words if (name := closest(word, known))]
            meant = ", ".join(dict.fromkeys(meant))
            hint = f" (did you mean {meant}?)" if meant else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found


def closest(word: str, names: Collection[str]) -> str:
    """Return the name that a mistyped or abbreviated one may stand for, or ""."""
    short = [
        name
        for name in names
        # --lr of --learning-rate
        if word
        and (name.startswith(word) or re.sub("(?<=[a-z])[a-z]+-?", "", name) == word)
    ]
    found = difflib.get_close_matches(word, short or names, 1, 0 if short else 0.6)
    return found[0] if found else ""


def did_you_mean(word: str, names: Collection[str]) -> str:
    """Return the end of an error message: the name that was meant, if one is close."""
    name = closest(word, names)
    return f" (did you mean {name}?)" if name not in ("", word) else ""


def option(
    default,
    help: str,
    *,
    group: str,
    choices: Sequence[str] | None = None,
    compared: bool = True,
    **bounds: float,
):
    """Declare a field of an experiment's settings, which becomes a command-line option.

    Args:
        default: Its default.
        help: Its help text.
        group: Its heading in `--help`.
        choices: The allowed values, if they can be listed.
        compared: Whether a different value makes a run a different configuration: no
            for the seed, the place of the results and the way they are computed.
        **bounds: Bounds of a number; see `number`.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help,
            "group": group,
            "choices": choices,
            "compared": compared,
            "bounds": bounds,
        },
    )


def parse(
    settings: type,
    argv: Sequence[str],
    *,
    program: str,
    recipes: Mapping[str | bool, Mapping] | None = None,
    preset: str = "recipe",
    **about,
):
    """Parse a command line into a settings dataclass.

    Args:
        settings: A dataclass whose fields are made by `option`.
        argv: The arguments, without the program's name.
        program: The command, `python -m experiments.NAME`.
        recipes: Other defaults, by the value of `preset`. Explicit options override
            them.
        preset: The field that selects a recipe.
        **about: `description`, `usage`, `epilog` and `commands` of the `Parser`.

    Returns:
        An instance of `settings`. An invalid option ends the program with status 2.
    """
    parser = _parser(settings, prog=program, **about)
    if recipes:
        words = [word for word in argv if word not in ("-h", "--help")]
        chosen, _ = parser.parse_known_args(words)
        parser.set_defaults(**recipes[getattr(chosen, preset)])
    return settings(**vars(parser.parse_args(argv)))


def given(settings: type, argv: Sequence[str]) -> set[str]:
    """Return the names of the options that a valid command line contains."""
    absent = object()
    names = [field.name for field in dataclasses.fields(settings)]
    found = argparse.Namespace(**dict.fromkeys(names, absent))
    _parser(settings).parse_args(argv, found)
    return {name for name, value in vars(found).items() if value is not absent}


def arguments(settings: type, values: Mapping) -> list[str]:
    """Return the command line that sets every option explicitly.

    Args:
        settings: See `parse`.
        values: The values by field name; other keys are ignored.
    """
    words = []
    for field in dataclasses.fields(settings):
        flag, value = flag_of(field.name), values.get(field.name)
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif value is not None:
            words.append(f"{flag}={value}")
    return words


def flag_of(name: str) -> str:
    """Return the option of a field: `--learning-rate` of `learning_rate`."""
    return "--" + name.replace("_", "-")


def number(
    kind: type,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> Callable[[str], float]:
    """Return an argparse type that reads a number within bounds.

    Args:
        kind: `int` or `float`.
        least: Smallest allowed number.
        most: Largest allowed number.
        above: A bound that the number must exceed.
        below: A bound that the number must stay under.
    """
    bounds = {"at least": least, "at most": most, "above": above, "below": below}
    wanted = " and ".join(
        f"{word} {bound if isinstance(bound, int) else f'{bound:g}'}"
        for word, bound in bounds.items()
        if math.isfinite(bound)
    )
    of = "of " if wanted.startswith("at ") else ""
    wanted = f"{'a whole number' if kind is int else 'a number'} {of}{wanted}".rstrip()

    def read(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and above < value < below):  # NaN fails as well
            raise argparse.ArgumentTypeError(f"expected {wanted}; received {text!r}")
        return value

    return read


def one_of(choices: Collection[str]) -> Callable[[str], str]:
    """Return an argparse type that reads one of some names."""

    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(
                f"expected one of {', '.join(choices)}; received {text!r}"
                f"{did_you_mean(text, choices)}"
            )
        return text

    return read


def names(text: str, allowed: Sequence[str], what: str) -> tuple[str, ...]:
    """Read a comma-separated list of names.

    Raises:
        ValueError: One of them is not allowed.
    """
    found = tuple(dict.fromkeys(text.split(",")))
    for name in found:
        if name not in allowed:
            raise ValueError(
                f"expected {what} as a comma-separated list from {', '.join(allowed)}; "
                f"received {text!r}{did_you_mean(name, allowed)}"
            )
    return found


def numbers(text: str, kind: type, least: float, what: str) -> tuple:
    """Read a comma-separated list of finite numbers.

    Raises:
        ValueError: It is empty, or one of them is not a number of at least `least`.
    """
    try:
        found = tuple(dict.fromkeys(map(kind, text.split(","))))
    except ValueError:
        found = ()
    if not found or not all(least <= value < math.inf for value in found):
        raise ValueError(
            f"expected {what} as a comma-separated list of numbers of at least "
            f"{least:g}; received {text!r}"
        )
    return found


def check_source(text: str, named: Sequence[str], what: str) -> None:
    """Refuse a source of data that does not exist, before anything is loaded.

    Raises:
        FileNotFoundError: It is neither one of `named` nor an existing path.
    """
    if text not in named and not (text and Path(text).exists()):
        raise FileNotFoundError(
            f"expected {what} as one of {named} or an existing path; received {text!r}"
            f"{did_you_mean(text, named)}"
        )


def _parser(settings: type, **about) -> Parser:
    parser, groups = Parser(**about), {}
    for field in _own_first(settings):
        title = field.metadata["group"]
        groups.setdefault(title, parser.add_argument_group(title))
        _add_option(groups[title], field)
    return parser


def _own_first(settings: type) -> list[dataclasses.Field]:
    """Return the fields, those that the class does not inherit first."""
    inherited = {
        field.name
        for base in settings.__mro__[1:]
        if dataclasses.is_dataclass(base)
        for field in dataclasses.fields(base)
    }
    return sorted(
        dataclasses.fields(settings), key=lambda field: field.name in inherited
    )


def _add_option(group, field: dataclasses.Field) -> None:
    kind = field.type
    if isinstance(kind, types.UnionType):  # `int | None`: an option without a default
        kind = typing.get_args(kind)[0]
    help = field.metadata["help"].replace("%", "%%")
    choices = field.metadata["choices"]
    if kind is bool:
        extra = {"action": argparse.BooleanOptionalAction}
        help += f" (default: {'yes' if field.default else 'no'})"
    else:
        extra = {"type": kind, "metavar": kind.__name__.upper()}
        if choices:
            extra = {"type": one_of(choices), "metavar": f"{{{','.join(choices)}}}"}
        elif kind in (int, float):
            extra["type"] = number(kind, **field.metadata["bounds"])
        if field.default is not None:
            help += " (default: %(default)s)"
    group.add_argument(flag_of(field.name), default=field.default, help=help, **extra)
