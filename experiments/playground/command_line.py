"""The command line of the playground, which refuses wrong runs before Keras."""

import argparse
import importlib
import os
import socket
import tempfile
from collections.abc import Sequence

from experiments.common.command_line import readable_errors
from experiments.common.options import Parser, number
from experiments.common.signals import sigterm_as_ctrl_c
from experiments.common.trained_run import check_run

DESCRIPTION = """\
Open a page on which the model of a run is tried: what it says of a text, and why; or
how it continues one. Of two runs of one experiment the page shows both side by side.

  python -m experiments.playground runs/imdb_sentiment/demo
  python -m experiments.playground runs/imdb_sentiment/ours runs/imdb_sentiment/keras
  python -m experiments.playground runs/next_word/book --static page
      a folder of files instead, for any web server: the model runs in the browser
"""

EPILOG = """\
Only this machine can open the page, unless --share is given. The page loads nothing
from elsewhere, and reports nothing to anyone. Ctrl-C ends it.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Serve or write the page that a command line asks for."""
    arguments = parse(argv)
    with sigterm_as_ctrl_c(), readable_errors():
        kinds = [
            check_run(run, "imdb_sentiment", "next_word") for run in arguments.runs
        ]
        if len({*kinds}) > 1:
            raise ValueError(
                "expected two runs of one experiment; received one of "
                + " and one of ".join(kinds)
            )
        if arguments.static is None:
            check_port(arguments.port)
            with tempfile.TemporaryDirectory() as temporary:
                # Gradio, once imported, writes there, not where all users do.
                os.environ["GRADIO_TEMP_DIR"] = temporary
                serve = importlib.import_module("experiments.playground.server").serve
                serve(arguments.runs, kinds[0], arguments.port, arguments.share)
        else:
            write = importlib.import_module("experiments.playground.static_page").write
            write(arguments.runs[0], kinds[0], arguments.static, arguments.runtime)


def check_port(port: int | None) -> None:
    """Raise an `OSError` if a port is given that cannot be had."""
    if port is None:
        return
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise OSError(
            f"expected a free port; received --port {port} ({error.strerror})"
        ) from error


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a command line; a wrong one ends the program."""
    parser = Parser(
        prog="python -m experiments.playground", description=DESCRIPTION, epilog=EPILOG
    )
    add = parser.add_argument
    add(
        "runs",
        metavar="RUN",
        nargs="+",
        help="the folder of a run of imdb_sentiment or next_word; at most two",
    )
    add(
        "--port",
        type=number(int, least=1, most=65535),
        help="port of the page (default: the first free one from 7860 on)",
    )
    add(
        "--share",
        action="store_true",
        help="let gradio make a public address that leads to this machine for a week",
    )
    add("--static", metavar="FOLDER", help="write the page of one run as files")
    add(
        "--runtime",
        metavar="FOLDER",
        help="with --static: the npm package onnxruntime-web, unpacked or installed "
        "(default: npm fetches it)",
    )
    arguments = parser.parse_args(argv)
    if len(arguments.runs) > 2:
        parser.error(f"expected at most two runs; received {len(arguments.runs)}")
    if arguments.static is not None and (
        len(arguments.runs) > 1 or arguments.port or arguments.share
    ):
        parser.error("expected --static with one run, without --port and --share")
    if arguments.runtime is not None and arguments.static is None:
        parser.error("expected --runtime with --static")
    return arguments
