"""Run the experiment of `settings.py`."""

from experiments.common.command_line import main
from experiments.memory.settings import EXPERIMENT

if __name__ == "__main__":
    main(EXPERIMENT)
