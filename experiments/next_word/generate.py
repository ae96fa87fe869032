"""Generate text with the model of a run."""

import argparse
from collections.abc import Sequence

from experiments.common.options import Parser, number
from experiments.common.trained_run import open_run
from experiments.next_word.settings import EXPERIMENT

SAMPLING = ("temperature", "top_k", "top_p")


def main(argv: Sequence[str]) -> None:
    """Continue the prompt on a command line, or show the most probable next words."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if contradiction := contradiction_in(arguments):
        parser.error(contradiction)
    run = open_run(arguments.run, EXPERIMENT.name)
    unknown = run.unknown_words(arguments.prompt)
    if unknown:
        print(f"(unknown words: {', '.join(unknown)})")
    if arguments.show:
        for word, probability in run.next_words(arguments.prompt, arguments.show):
            print(f"{probability:7.2%}  {bar(probability)}  {word}")
        return
    how = {name: getattr(arguments, name) for name in (*SAMPLING, "beam", "seed")}
    print(run.generate(arguments.prompt, tokens=arguments.tokens or 20, **how).text)


def contradiction_in(arguments: argparse.Namespace) -> str:
    """Return what `NextWordRun.generate` would refuse, or ""."""
    given = {name for name, value in vars(arguments).items() if value is not None}
    drawn = given & {*SAMPLING, "seed"}
    if arguments.show and given & {*SAMPLING, "seed", "beam", "tokens"}:
        return "expected --show without options for writing a text"
    if arguments.beam and drawn:
        return "expected --beam without options for sampling, since it samples nothing"
    if arguments.temperature == 0 and drawn > {"temperature"}:
        return "expected a --temperature above 0 with --top-k, --top-p or --seed"
    if drawn == {"seed"}:
        return "expected --seed with --temperature, --top-k or --top-p"
    return ""


def bar(probability: float, width: int = 30) -> str:
    """Return a probability as a bar."""
    return ("█" * round(probability * width)).ljust(width)


def _parser() -> Parser:
    parser = Parser(
        prog=f"{EXPERIMENT.program} generate",
        description="Continue a text, by default always with the most probable word.",
    )
    add, count = parser.add_argument, number(int, least=1)
    add("run", metavar="RUN", help="a run folder")
    add("prompt", metavar="PROMPT", help="beginning of the text, or ''")
    add("--tokens", type=count, help="largest number of tokens to add (default: 20)")
    add(
        "--temperature",
        type=number(float, least=0),
        help="sample the words at this temperature; 1: as the model predicts",
    )
    add("--top-k", type=count, help="sample among this number of most probable words")
    add(
        "--top-p",
        type=number(float, above=0, most=1),
        help="sample among the most probable words with this total probability",
    )
    add("--beam", type=count, help="use beam search of this width")
    add("--seed", type=number(int, least=0), help="seed of the sampling")
    add("--show", type=count, help="only print this number of most probable next words")
    return parser
