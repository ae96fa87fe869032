"""The declaration of an experiment: its name, settings and command line."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from experiments.common import options


@dataclass(frozen=True)
class Experiment:
    """An experiment, as its `settings.py` declares it without loading Keras.

    `experiments.NAME.run` holds `run(settings, context) -> Result`.

    Attributes:
        name: The name of its folder in `experiments`.
        settings: Its settings, a dataclass of `options.option`s.
        description: The beginning of `--help`.
        epilog: The end of `--help`.
        usage: The usage lines.
        recipes: Other defaults, by the value of `preset`.
        preset: The setting that selects a recipe.
        commands: Subcommands: by the first word of the command line the
            "module:function" that takes the other words.
    """

    name: str
    settings: type
    description: str
    epilog: str = ""
    usage: str = "%(prog)s [options]"
    recipes: Mapping[str | bool, Mapping] = field(default_factory=dict)
    preset: str = "recipe"
    commands: Mapping[str, str] = field(default_factory=dict)

    @property
    def program(self) -> str:
        """The command that runs it."""
        return f"python -m experiments.{self.name}"

    def run_function(self) -> Callable:
        """Import the experiment, which loads Keras, and return its `run`."""
        return importlib.import_module(f"experiments.{self.name}.run").run

    def parse(self, argv: Sequence[str]):
        """Parse a command line; an invalid option ends the program with status 2."""
        return options.parse(
            self.settings,
            argv,
            program=self.program,
            usage=self.usage,
            description=self.description,
            epilog=self.epilog,
            recipes=self.recipes,
            preset=self.preset,
            commands=self.commands,
        )
