"""The report of a next-word run."""

from collections.abc import Sequence

from experiments.common.result import (
    Figure,
    Finding,
    Note,
    Paragraph,
    Part,
    Section,
    Table,
)
from experiments.next_word.samples import TEMPERATURE, Sample
from experiments.next_word.train import Trained
from lstm_keras import plots
from lstm_keras.datasets import Corpus
from lstm_keras.evaluation import (
    LanguageModelResult,
    accuracy_by_position,
    loss_by_frequency,
    nearest_neighbours,
)

HEADER = (
    "Model",
    "Text",
    "Perplexity",
    "Bits per word",
    "Loss (nats)",
    "Top-1",
    "Top-5",
    "Top-1 of prefixes",
)
CONTINUED = 3  # sentences that the model is shown to go on with
BEGINS = {False: "A sentence begins", True: "A sentence ends"}  # by backwards
CONTINUATIONS = (
    "The model, always with the most probable word",
    f"The model, at temperature {TEMPERATURE}",
    "The text",
)
EXPECTED = {
    False: ("Next word in the text", "Most probable words"),
    True: ("Word before it in the text", "Most probable words"),
}
TEXTS = {"held_out": "held-out", "train": "training"}

# Ranks of the words whose neighbours are shown, from frequent to rare.
NEIGHBOUR_RANKS = (20, 40, 80, 120, 160, 240, 320, 480, 640, 800)


def finding(metrics, trained: Trained) -> Finding:
    """Return the perplexities of the model and of the best n-gram, and their course."""
    text = "held_out" if metrics.results[0].held_out else "train"
    perplexities = {
        result.name: getattr(result, text).perplexity for result in metrics.results
    }
    model, *others = perplexities
    line = (
        f"On the {TEXTS[text]} text {model} has a perplexity of "
        f"{perplexities[model]:.1f} (lower is better)"
    )
    if others:
        best = min(others, key=perplexities.get)
        line += f"; the best n-gram model, {best}, has {perplexities[best]:.1f}"
    references = {
        result.name: result.held_out.perplexity
        for result in metrics.results[1:]
        if result.held_out
    }
    curves = Figure(
        "learning_curves",
        plots.plot_perplexity(trained.fit.history, trained.fit.best_epoch, references),
        "Perplexity after each epoch; on the training text during training, with "
        f"dropout{' and a sampled softmax' if metrics.sampled_softmax else ''}.",
    )
    return Finding(f"{line}.", curves)


def sections(
    metrics,
    corpus: Corpus,
    trained: Trained,
    text: str,
    samples: Sequence[Sample],
    ending: str,
) -> list[Section]:
    """Return the sections of the report; see `Result` for `ending`.

    `text` is what the model writes after nothing.
    """
    warnings = [ending, corpus.note]
    if not metrics.results[0].held_out:
        warnings.append(
            "No text was held out: these numbers show how well the model has memorised "
            "its training text, not how well it predicts."
        )
    return [
        Section(
            None,
            [
                Paragraph(f"Text: {corpus.name}."),
                *(Note(text) for text in warnings if text),
            ],
        ),
        Section("Results", [Table(HEADER, result_rows(metrics))]),
        Section(
            "What it writes",
            [
                Paragraph(f"By itself, at temperature {TEMPERATURE}: “{text}”"),
                *sample_parts(samples, corpus.backwards),
            ],
        ),
        Section("Figures", figures(corpus, trained)),
        Section(
            "Words that the model finds similar", [neighbours_table(corpus, trained)]
        ),
        Section("Method", [Paragraph(measured(metrics), page_only=True)]),
    ]


def sample_parts(samples: Sequence[Sample], backwards: bool) -> list[Part]:
    """Return continuations of sentences of the text, and the words it expects."""
    if not samples:
        return [Paragraph("The text has no sentence that is long enough.")]
    first, *_ = samples
    begins, goes_on = BEGINS[backwards], "follows" if backwards else "goes on"
    continued = [
        (sample.beginning, sample.greedy, sample.sampled, sample.rest)
        for sample in samples[:CONTINUED]
    ]
    expected = [
        (
            sample.beginning,
            shares([(sample.following, sample.probability)]),
            shares(sample.expected),
        )
        for sample in samples
    ]
    return [
        Paragraph(
            f"“{first.beginning}” {goes_on}, at temperature {TEMPERATURE}: "
            f"“{first.sampled}”"
        ),
        Table((begins, *CONTINUATIONS), continued, page_only=True),
        Table((begins, *EXPECTED[backwards]), expected, page_only=True),
    ]


def shares(words: Sequence[tuple[str, float]]) -> str:
    """Return words with their probabilities."""
    return ", ".join(
        f"“{word}” {share:.1%}" if share >= 0.001 else f"“{word}” <0.1%"
        for word, share in words
    )


def result_rows(metrics) -> list[list[str]]:
    """Return the rows of the table of results, held-out text first."""
    return [
        [result.name, name, *columns(getattr(result, text))]
        for text, name in TEXTS.items()
        for result in metrics.results
        if getattr(result, text)
    ]


def columns(result: LanguageModelResult) -> list[str]:
    """Return a result's columns in the table."""
    prefixes = result.prefix_accuracy
    return [
        f"{result.perplexity:.1f}",
        f"{result.bits_per_word:.3f}",
        f"{result.loss:.4f}",
        f"{result.accuracy:.4f}",
        f"{result.top5_accuracy:.4f}",
        "–" if prefixes is None else f"{prefixes:.4f}",
    ]


def measured(metrics) -> str:
    """Return an explanation of the numbers."""
    data = metrics.data
    rate = data["held_out"]["oov_rate"]
    share = "" if rate is None else f", {rate:.1%} of the held-out ones"
    text = TEXTS["train" if rate is None else "held_out"]
    return (
        "Each word, punctuation mark and line end ([END]) is a token. Words outside "
        f"the vocabulary of {data['vocabulary']:,} ids "
        f"({data['train']['oov_rate']:.1%} of the training tokens{share}) count as one "
        "word, [UNK], for all models alike. Top-1 of prefixes leaves out first words "
        "and ends, as the usual tutorial does. The sentences to go on with are of the "
        f"{text} text, chosen by the seed. "
        f"The network has {metrics.parameters:,} parameters; training took "
        f"{metrics.training_seconds:.0f} s for {metrics.epochs} epochs."
    )


def figures(corpus: Corpus, trained: Trained) -> list[Figure]:
    """Return the figures besides that of the finding."""
    scores = trained.held_out_scores or trained.train_scores
    text = TEXTS["held_out" if trained.held_out_scores else "train"]
    found = [
        Figure(
            "frequency_loss",
            plots.plot_frequency_loss(loss_by_frequency(scores, corpus.counts)),
            f"Loss on the {text} text by the word's frequency in the training text.",
        ),
        Figure(
            "calibration",
            plots.plot_top_calibration(scores),
            f"Accuracy by the probability of the most probable word, {text} text.",
        ),
    ]
    if not corpus.stream:
        by_position = Figure(
            "position_accuracy",
            plots.plot_position_accuracy(accuracy_by_position(scores)),
            f"Accuracy on the {text} text by the position in the sentence.",
        )
        found.append(by_position)
    return found


def neighbours_table(corpus: Corpus, trained: Trained) -> Table:
    """Return the words with the most similar vectors to some words."""
    words = corpus.vocabulary.words
    chosen = [
        words[rank]
        for rank in NEIGHBOUR_RANKS
        if rank < len(words) and words[rank].isalpha()
    ]
    vectors = trained.parts.model.get_layer("embedding").get_weights()[0]
    rows = [
        (
            row["word"],
            ", ".join(
                f"{near['word']} {near['cosine']:.2f}" for near in row["neighbours"]
            ),
        )
        for row in nearest_neighbours(vectors, words, chosen or words[:1])
    ]
    return Table(("Word", "Nearest by cosine of their vectors"), rows, page_only=True)
