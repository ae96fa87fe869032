"""Generate text with the model of a run."""

import argparse
from collections.abc import Sequence

from experiments.common.options import number
from experiments.next_word.settings import EXPERIMENT


def main(argv: Sequence[str]) -> None:
    """Continue the prompt on a command line, or show the most probable next words."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    search = {
        name: getattr(arguments, name)
        for name in ("temperature", "top_k", "top_p", "beam", "seed")
    }
    if arguments.show and any(value is not None for value in search.values()):
        parser.error("expected --show without options for sampling or searching")
    # Only now: Keras takes seconds to load, --help should not.
    from lstm_keras import load_run

    run = load_run(arguments.run)
    if not hasattr(run, "generate"):
        raise ValueError(
            f"expected a run of {EXPERIMENT.name}; received {arguments.run}, a run of "
            f"{run.config.get('experiment', 'another experiment')}"
        )
    unknown = run.unknown_words(arguments.prompt)
    if unknown:
        print(f"(unknown words: {', '.join(unknown)})")
    if arguments.show:
        for word, probability in run.next_words(arguments.prompt, arguments.show):
            print(f"{probability:7.2%}  {bar(probability)}  {word}")
        return
    print(run.generate(arguments.prompt, tokens=arguments.tokens, **search).text)


def bar(probability: float, width: int = 30) -> str:
    """Return a probability as a bar."""
    return ("█" * round(probability * width)).ljust(width)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{EXPERIMENT.program} generate",
        description="Continue a text, by default always with the most probable word.",
    )
    add, count = parser.add_argument, number(int, least=1)
    add("run", metavar="RUN", help="a run folder")
    add("prompt", metavar="PROMPT", help="beginning of the text, or ''")
    add(
        "--tokens",
        type=count,
        default=20,
        help="largest number of tokens to add (default: 20)",
    )
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
