"""Run the experiment of `settings.py`."""

from experiments.ablation.settings import EXPERIMENT
from experiments.common.command_line import main

if __name__ == "__main__":
    main(EXPERIMENT)
