"""Make the runs that the command line asks for."""

from experiments.sweep.command_line import main

if __name__ == "__main__":
    main()
