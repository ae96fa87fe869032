"""Serve the page, or write it as files."""

from experiments.playground.command_line import main

if __name__ == "__main__":
    main()
