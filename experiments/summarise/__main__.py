"""Summarise the runs that the command line names."""

from experiments.summarise.command_line import main

if __name__ == "__main__":
    main()
