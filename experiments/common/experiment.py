"""What an experiment is: a name, its settings, and a function that runs them."""

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
        description: Shown at the top of `--help`.
        epilog: Shown at its end.
        usage: The forms of its command, if there are several.
        recipes: The defaults that each value of `preset` changes.
        preset: The setting that selects a recipe.
        commands: Other things that it does, by the first word of the command line:
            "module:function", which takes the words after that.
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
        """How a user calls it."""
        return f"python -m experiments.{self.name}"

    def run_function(self) -> Callable:
        """Import the experiment, and Keras with it, and return its `run`."""
        return importlib.import_module(f"experiments.{self.name}.run").run

    def parse(self, argv: Sequence[str]):
        """Read its command line; a bad option ends the program with exit status 2."""
        return options.parse(
            self.settings,
            argv,
            program=self.program,
            usage=self.usage,
            description=self.description,
            epilog=self.epilog,
            recipes=self.recipes,
            preset=self.preset,
        )
