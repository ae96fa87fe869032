"""The page of sentiment models: what they say of a text, and why."""

from collections.abc import Iterator, Sequence
from html import escape

import gradio
from markupsafe import Markup

from experiments.common import render
from experiments.common.result import Figure, Finding, Html, Note, Part, Section
from experiments.gate_dynamics import sentence_view
from experiments.gate_dynamics.sentence import read_sentence
from experiments.imdb_sentiment.settings import vocabulary_note
from experiments.playground.limits import check_length
from lstm_keras import plots
from lstm_keras.preprocessing import tokenize
from lstm_keras.runs import Prediction, SentimentRun

TITLE = "Sentiment of a text"

EXAMPLES = [
    "I loved every moment of it.",
    "What a waste of time: boring, predictable and far too long.",
    "I expected a bad film, but it was not bad at all.",
    "Not the best film that I have seen, and not the worst one.",
    "The actors are brilliant. The story, sadly, is dull.",
]

# The answer is a page within the page, in which a text can do nothing to the page
# around it. That page makes it as tall as it is.
_TALL = Markup(
    "<style>main { padding: 0 .2rem 1rem; }</style><script>new ResizeObserver(() => "
    "parent.postMessage({ height: document.body.offsetHeight }, '*')"
    ").observe(document.body);</script>"
)
HEAD = """<script>
addEventListener("message", ({ data, source }) => {
  for (const frame of document.querySelectorAll("iframe.answer")) {
    if (frame.contentWindow === source) frame.style.height = `${Number(data.height)}px`;
  }
});
</script>"""


def build(runs: Sequence[SentimentRun]) -> None:
    """Add the parts of the page."""
    gradio.Markdown(f"# {TITLE}")
    text = gradio.Textbox(
        label="Text",
        info="Enter or the button asks; Shift+Enter begins a line.",
        lines=1,
        max_lines=12,
    )
    ask = gradio.Button("What does the model say?", variant="primary")
    gradio.Examples(EXAMPLES, text, label="Examples")
    with gradio.Row():
        answers = []
        for _ in runs:
            with gradio.Column(min_width=320):
                answers.append(gradio.HTML())

    def ask_all(text: str) -> Iterator[dict]:
        check_length(text)
        predictions = [run.predict(text) for run in runs]
        every = [*zip(answers, runs, predictions, strict=True)]
        yield {place: page(run, said(run, one)) for place, run, one in every}
        for place, run, one in every:
            if one.label is not None:
                yield {place: page(run, [*said(run, one), *why(run, text)])}

    gradio.on(
        [ask.click, text.submit], ask_all, text, answers, api_visibility="private"
    )


def page(run: SentimentRun, parts: Sequence[Part]) -> str:
    """Return the answer of a run as a page inside the page."""
    whole = render.page(str(run.path), [Section(None, [*parts, Html(_TALL)])])
    return (
        f'<iframe class="answer" title="What {escape(run.path.name)} says" '
        f'sandbox="allow-scripts" srcdoc="{escape(whole)}"></iframe>'
    )


def said(run: SentimentRun, prediction: Prediction) -> list[Part]:
    """Return what a model says of a text, as parts of a report."""
    remarks = notes(run, prediction)
    return [Finding(verdict(prediction)), *([Note(" ".join(remarks))] * bool(remarks))]


def why(run: SentimentRun, text: str) -> list[Part]:
    """Return what the words of a text do to the model, as parts of a report."""
    reading = read_sentence(run, text)
    after_each = Figure(
        "prediction",
        plots.plot_prefix_predictions(reading.words, reading.probabilities),
        "Prediction if the text ended after each word.",
    )
    missing = [
        Note(f"No {method}: {one}.")
        for method, one in reading.attributions.items()
        if isinstance(one, str)
    ]
    return [sentence_view.part(reading.page_data()), *missing, after_each]


def verdict(prediction: Prediction) -> str:
    """Return what the model says in a sentence."""
    if prediction.label is None:
        return "No label: the model knows none of the words that it read."
    name = prediction.label.capitalize()
    return f"{name}: the probability of “positive” is {prediction.probability:.3f}."


def notes(run: SentimentRun, prediction: Prediction) -> list[str]:
    """Return what else the user should know, in sentences."""
    found = []
    if prediction.read < prediction.words:
        found.append(
            f"The model has read the last {prediction.read} of {prediction.words} "
            "words."
        )
    tokens = tokenize(prediction.text, run.vocabulary.tokenizer)
    unknown = [one for one in dict.fromkeys(tokens) if one not in run.vocabulary]
    if unknown:
        found.append(f"Words that it does not know: {', '.join(unknown)}.")
        if note := vocabulary_note(len(run.vocabulary.words)):
            found.append(note)
    return found
