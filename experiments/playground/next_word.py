"""The page of next-word models: what comes next, and texts that they write."""

import itertools
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import gradio
import numpy as np

from experiments.common.terminal import printable
from experiments.playground.limits import check_length
from lstm_keras.language_model import Sampling, stream
from lstm_keras.language_model.generation import beam_stream, most_probable
from lstm_keras.preprocessing import END, FIRST_WORD
from lstm_keras.runs import NextWordRun

TITLE = "The next word"
HEAD = ""

EXAMPLES = ["This film is", "I have never seen", "The best part of", "Once upon a time"]

NEXT_WORDS = 10  # bars
MOST_TOKENS, MOST_BEAMS = 200, 10

# A click on a bar tells its id. The new bars get the focus that the old ones had.
_ON_CLICK = """let clicked = false;
element.addEventListener("click", ({ target }) => {
  const bar = target.closest("button");
  if (!bar) return;
  clicked = true;
  trigger("click", { id: Number(bar.value) });
});
watch("value", () => {
  if (clicked) element.querySelector("button")?.focus();
  clicked = false;
});"""


def build(runs: Sequence[NextWordRun]) -> None:
    """Add the parts of the page."""
    gradio.Markdown(f"# {TITLE}")
    prompt = gradio.Textbox(
        label="End of a text" if runs[0].backwards else "Beginning of a text",
        info="The bars are the likeliest next words; a click appends one.",
        lines=1,
        max_lines=12,
    )
    gradio.Examples(EXAMPLES, prompt, label="Examples")
    how = _settings()
    with gradio.Row():
        write = gradio.Button("Write", variant="primary")
        stop = gradio.Button("Stop")
    bars, texts = [], []
    with gradio.Row():
        for run in runs:
            with gradio.Column(min_width=320):
                gradio.HTML(f"<h2>{escape(printable(str(run.path)))}</h2>")
                bars.append(gradio.HTML(js_on_load=_ON_CLICK))
                texts.append(gradio.Textbox(label="Written text", lines=5))
                texts[-1].interactive = False
    _connect(runs, prompt, how, (write, stop), (bars, texts))


def _settings() -> list:
    """Add the settings of writing, and return them in the order that `written` has."""
    # Label, least, most, first value, step, explanation.
    sliders = [
        ("Words", 1, MOST_TOKENS, 40, 1, None),
        ("Temperature", 0, 2, 0.8, 0.05, "0: always the likeliest word"),
        ("Top-k", 0, 100, 0, 1, "0: among all words"),
        ("Top-p", 0.05, 1, 1, 0.05, "1: among all words"),
        ("Beams", 0, MOST_BEAMS, 0, 1, "0: sampling, not beam search"),
    ]
    with gradio.Accordion("How to write", open=False), gradio.Row():
        return [
            gradio.Slider(
                least, most, first, step=step, label=label, info=info, min_width=260
            )
            for label, least, most, first, step, info in sliders
        ]


def _connect(runs, prompt, how, buttons, outputs):
    """Say what happens when."""
    write, stop = buttons
    bars, texts = outputs
    about = {"api_visibility": "private", "concurrency_id": "models"}

    def show(prompt: str) -> Iterator[dict]:
        try:
            check_length(prompt)
        except gradio.Error:
            yield dict.fromkeys(bars, "")  # not the bars of another text
            raise
        yield {
            place: next_words(run, prompt)
            for place, run in zip(bars, runs, strict=True)
        }

    quiet = {"show_progress": "hidden", "trigger_mode": "always_last"}
    prompt.change(show, prompt, bars, **about, **quiet)
    gradio.context.Context.root_block.load(show, prompt, bars, **about, **quiet)
    for run, its_bars in zip(runs, bars, strict=True):

        def extend(text: str, event: gradio.EventData, run=run) -> str:
            check_length(text)
            return extended(run, text, getattr(event, "id", None))

        its_bars.click(extend, prompt, prompt, **about, **quiet)

    def write_texts(prompt: str, *how: float) -> Iterator[dict]:
        check_length(prompt)
        for now in together([written(run, prompt, *how) for run in runs]):
            yield dict(zip(texts, now, strict=True))

    writing = write.click(write_texts, [prompt, *how], texts, **about)
    stop.click(None, cancels=writing, api_visibility="private")


def next_words(run: NextWordRun, prompt: str) -> str:
    """Return the next words as bars, which are buttons, as HTML."""
    ids, _ = run.read(prompt)
    log_probabilities = run.stepper.feed(ids[None], run.stepper.start())[0][0]
    chosen = most_probable(log_probabilities, NEXT_WORDS)
    shares = np.exp(log_probabilities[chosen])
    found = [f'<div class="bars" role="group" aria-label="{escape(TITLE)}">']
    for i, share in zip(chosen, shares, strict=True):
        name, disabled = run.name_of(i), ""
        if i == END:
            name = "[new line]" if goes_on(run) else "[end of the text]"
            disabled = "" if goes_on(run) else " disabled"
        found.append(
            f'<button value="{i}" style="--share: {share / shares[0]:.1%}"{disabled}>'
            f"<span>{escape(printable(name))}</span><span>{share:.1%}</span></button>"
        )
    found.append("</div>")
    if unknown := run.unknown_words(prompt):
        listed = escape(printable(", ".join(unknown)))
        found.append(f"<p>Words that the model does not know: {listed}</p>")
    return "".join(found)


def goes_on(run: NextWordRun) -> bool:
    """Return whether the model goes on after the end of a line."""
    return run.config["split"] == "stream"


def extended(run: NextWordRun, prompt: str, i: Any) -> str:
    """Return a text with one more word.

    Raises:
        gradio.Error: There is no such word.
    """
    if type(i) is not int or not (END if goes_on(run) else FIRST_WORD) <= i < len(
        run.vocabulary
    ):
        raise gradio.Error(
            f"expected the id of a word; received {i!r:.20}", print_exception=False
        )
    ids, _ = run.read(prompt)
    return joined(run, prompt, run.continuation(ids, [i]))


def joined(run: NextWordRun, prompt: str, continuation: str) -> str:
    """Return a prompt with its continuation, which precedes it if the run is so."""
    if run.backwards:
        return (continuation + prompt.lstrip()).rstrip(" ")
    return (prompt.rstrip(" ") + continuation).lstrip()


def written(
    run: NextWordRun,
    prompt: str,
    tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    beams: int,
) -> Iterator[str]:
    """Yield a text after each word; with beams the best one so far."""
    narrower = (int(top_k) or None, top_p if top_p < 1 else None)
    ids, _ = run.read(prompt)
    sampling = Sampling(temperature, *(narrower if temperature else ()))
    write, how = (beam_stream, int(beams)) if beams else (stream, sampling)
    texts = write(run.stepper, ids, int(tokens), how, stop_at_end=not goes_on(run))
    for so_far in texts:
        yield joined(run, prompt, run.continuation(ids, so_far.ids))


def together(texts: Sequence[Iterator[str]]) -> Iterator[list[str]]:
    """Yield the next text of each; of one that has ended its last one."""
    now = [""] * len(texts)
    for following in itertools.zip_longest(*texts):
        pairs = zip(following, now, strict=True)
        now = [old if one is None else one for one, old in pairs]
        yield now
