"""Declare settings as dataclass fields, and read them from a command line."""

import argparse
import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence


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
    compared: bool = True,
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
        compared: Whether runs that differ in it are runs of different things: not so
            for the seed, for where results go, and for how they are computed.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help,
            "group": group,
            "choices": choices,
            "compared": compared,
            "bounds": {"least": least, "most": most, "above": above, "below": below},
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
    """Read a command line into a settings dataclass.

    Args:
        settings: A dataclass whose fields are made by `option`.
        argv: The arguments, without the program's name.
        program: How the user calls it, `python -m experiments.NAME`.
        recipes: The defaults that each value of `preset` changes. Options that are
            given win over them.
        preset: The field that selects a recipe.
        **about: `description`, `usage` and `epilog` of the `ArgumentParser`.

    Returns:
        An instance of `settings`. A bad option ends the program with exit status 2.
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
    """Return an argparse type that reads a number within bounds."""
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
    wanted = " ".join(
        [
            {int: "a whole number", float: "a number"}[kind],
            " and ".join(bounds),
        ]
    ).strip()

    def read(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and above < value < below):  # NaN fails as well
            raise argparse.ArgumentTypeError(f"expected {wanted}; received {text!r}")
        return value

    return read


def names(text: str, allowed: Sequence[str], what: str) -> tuple[str, ...]:
    """Read a comma-separated list of names.

    Raises:
        ValueError: One of them is not allowed.
    """
    found = tuple(dict.fromkeys(text.split(",")))
    if not set(found) <= set(allowed):
        raise ValueError(
            f"expected {what} as a comma-separated list from {', '.join(allowed)}; "
            f"received {text!r}"
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


def _parser(settings: type, **about) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **about,
    )
    groups = {}
    for field in _own_first(settings):
        title = field.metadata["group"]
        groups.setdefault(title, parser.add_argument_group(title))
        _add_option(groups[title], field)
    return parser


def _own_first(settings: type) -> list[dataclasses.Field]:
    """Order the fields so that `--help` begins with what is particular to it."""
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
        extra = {
            "type": number(kind, **field.metadata["bounds"])
            if kind in (int, float)
            else kind,
            "choices": choices,
            "metavar": None if choices else kind.__name__.upper(),
        }
        if field.default is not None:
            help += " (default: %(default)s)"
    group.add_argument(flag_of(field.name), default=field.default, help=help, **extra)
