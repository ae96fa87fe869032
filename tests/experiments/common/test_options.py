"""The command line that a dataclass declares."""

import dataclasses
from dataclasses import dataclass

import pytest

from experiments.common import options
from experiments.common.options import option


@dataclass(frozen=True)
class Settings:
    recipe: str = option("plain", "defaults", group="a", choices=("plain", "tuned"))
    units: int = option(64, "size in %", group="a", least=1)
    rate: float = option(0.5, "a rate", group="b", above=0, below=1)
    limit: int | None = option(None, "a limit", group="b", least=10)
    masked: bool = option(False, "mask", group="b")
    batch_size: int = option(2, "size", group="b")


RECIPES = {"plain": {}, "tuned": {"units": 32, "masked": True}}


def parse(*argv):
    return options.parse(Settings, argv, program="program", recipes=RECIPES)


def test_without_options_the_defaults_hold():
    assert parse() == Settings()


def test_options_set_the_fields():
    settings = parse("--units", "8", "--rate=0.25", "--limit", "10", "--masked")
    assert settings == Settings(units=8, rate=0.25, limit=10, masked=True)


def test_a_recipe_changes_defaults_and_an_option_wins_over_it():
    assert parse("--recipe", "tuned") == Settings("tuned", units=32, masked=True)
    given = parse("--units", "8", "--recipe", "tuned", "--no-masked")
    assert given == Settings("tuned", units=8, masked=False)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--units", "0", "a whole number of at least 1"),
        ("--units", "2.5", "a whole number of at least 1"),
        ("--units", "many", "a whole number of at least 1"),
        ("--rate", "nan", "a number above 0 and below 1"),
        ("--rate", "inf", "a number above 0 and below 1"),
        ("--rate", "1", "a number above 0 and below 1"),
        ("--limit", "-10", "a whole number of at least 10"),
    ],
)
def test_a_bad_number_is_refused_with_what_was_expected(
    option, value, expected, capsys
):
    with pytest.raises(SystemExit, match="2"):
        parse(option, value)
    assert f"{option}: expected {expected}; received '{value}'" in (
        capsys.readouterr().err
    )


def test_help_names_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse("--help")
    help = capsys.readouterr().out
    for name in ("--units", "--rate", "--limit", "--no-masked", "--recipe"):
        assert name in help
    assert "size in % (default: 64)" in help


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        ("--unit 8", "--units"),  # abbreviations are not taken
        ("--unit=8 --mask", "--units, --masked"),
        ("--batch_size 8", "--batch-size"),
        ("--bs 8", "--batch-size"),
        ("-units 8", "--units"),
        ("units 8", "--units"),
        ("--no-mask", "--no-masked"),
        ("predct run", "predict"),
        ("--zzz 8", None),
        ("8", None),
    ],
)
def test_an_unknown_word_ends_the_program_with_what_may_be_meant(argv, meant, capsys):
    with pytest.raises(SystemExit, match="2"):
        options.parse(
            Settings, argv.split(), program="program", commands=("predict", "generate")
        )
    hint = f" (did you mean {meant}?)" if meant else ""
    said = capsys.readouterr().err
    assert said.endswith(f"error: unrecognized arguments: {argv}{hint}\n")


@pytest.mark.parametrize(
    ("value", "hint"),
    [("tuend", " (did you mean tuned?)"), ("t", " (did you mean tuned?)"), ("", "")],
)
def test_a_value_that_is_no_choice_is_refused_with_all_of_them(value, hint, capsys):
    with pytest.raises(SystemExit, match="2"):
        options.parse(Settings, ["--recipe", value], program="program")
    expected = f"--recipe: expected one of plain, tuned; received '{value}'{hint}\n"
    assert capsys.readouterr().err.endswith(expected)


def test_a_name_that_is_right_is_not_suggested():
    assert options.did_you_mean("tuned", ("plain", "tuned")) == ""


def test_the_given_options_are_told_from_defaults():
    argv = ("--units", "64", "--no-masked", "--rate=0.5")
    assert options.given(Settings, argv) == {"units", "masked", "rate"}


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings("tuned", units=1, rate=1e-9, limit=10, masked=True),
        Settings(rate=0.1 + 0.2),
    ],
)
def test_settings_become_a_command_line_that_gives_them_back(settings):
    words = options.arguments(Settings, dataclasses.asdict(settings) | {"other": 1})
    assert options.parse(Settings, words, program="program") == settings


@pytest.mark.parametrize("text", ["", "a,", "c", "a,c"])
def test_a_list_of_names_holds_allowed_names_alone(text):
    with pytest.raises(ValueError, match="expected x as a comma-separated list from a"):
        options.names(text, ("a", "b"), "x")


@pytest.mark.parametrize("text", ["", "1,", "0", "nan", "inf", "one", "1,0"])
def test_a_list_of_numbers_holds_finite_numbers_above_the_least(text):
    with pytest.raises(ValueError, match=r"expected x as .* at least 0\.5; received"):
        options.numbers(text, float, 0.5, "x")


def test_lists_keep_their_order_and_each_value_once():
    assert options.names("b,a,b", ("a", "b"), "x") == ("b", "a")
    assert options.numbers("3,1,3", int, 1, "x") == (3, 1)
