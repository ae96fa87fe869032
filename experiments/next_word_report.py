"""The report of a next-word run, as a page and as text."""

from collections.abc import Sequence
from pathlib import Path

from experiments import report

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
TEXTS = {"held_out": "held out", "train": "training"}

# Frequent, middling and rare: the words whose neighbours are shown, by rank.
NEIGHBOUR_RANKS = (20, 40, 80, 120, 160, 240, 320, 480, 640, 800)


def result_rows(metrics: dict) -> list[list[str]]:
    """Return the rows of the table of results, held-out text first."""
    return [
        [result["name"], name, *numbers(result[text])]
        for text, name in TEXTS.items()
        for result in metrics["results"]
        if result[text]
    ]


def numbers(result: dict) -> list[str]:
    """Return a result's columns."""
    prefixes = result["prefix_accuracy"]
    return [
        f"{result['perplexity']:.1f}",
        f"{result['bits_per_word']:.3f}",
        f"{result['loss']:.4f}",
        f"{result['accuracy']:.4f}",
        f"{result['top5_accuracy']:.4f}",
        "–" if prefixes is None else f"{prefixes:.4f}",
    ]


def summary_line(metrics: dict) -> str:
    """Return the perplexities of the model and of the best n-gram in one line."""
    text = "held_out" if metrics["results"][0]["held_out"] else "train"
    model, *others = metrics["results"]
    line = f"Perplexity on the {TEXTS[text]} text: {model[text]['perplexity']:.1f}"
    if others:
        best = min(others, key=lambda result: result[text]["perplexity"])
        line += f" ({best['name']}: {best[text]['perplexity']:.1f})"
    return line


def figures(corpus, trained, metrics: dict) -> dict:
    """Return the figures by name, each with its caption.

    Args:
        corpus: The text.
        trained: The model's fit and scores.
        metrics: What `metrics.json` holds.
    """
    from lstm_keras import plots
    from lstm_keras.evaluation import language as language_evaluation

    scores = trained.held_out_scores or trained.train_scores
    text = TEXTS["held_out" if trained.held_out_scores else "train"]
    references = {
        result["name"]: result["held_out"]["perplexity"]
        for result in metrics["results"][1:]
        if result["held_out"]
    }
    result = {
        "learning_curves": (
            plots.plot_perplexity(
                trained.fit.history, trained.fit.best_epoch, references
            ),
            "Perplexity after each epoch. That of the training text is measured while "
            "the model learns, with dropout"
            + (" and a sampled softmax." if metrics["sampled_softmax"] else "."),
        ),
        "frequency_loss": (
            plots.plot_frequency_loss(
                language_evaluation.loss_by_frequency(scores, corpus.counts)
            ),
            f"Loss on the {text} text by how often a word occurs in the training text.",
        ),
        "calibration": (
            plots.plot_top_calibration(scores),
            f"How often the most probable word comes true on the {text} text.",
        ),
    }
    if not corpus.stream:
        rows = language_evaluation.accuracy_by_position(scores)
        result["position_accuracy"] = (
            plots.plot_position_accuracy(rows),
            f"Accuracy on the {text} text by the position in the sentence.",
        )
    return result


def neighbours(corpus, trained) -> list[dict]:
    """Return for some words the words with the most similar vectors."""
    from lstm_keras.evaluation.language import nearest_neighbours

    words = corpus.vocabulary.words
    chosen = [
        words[rank]
        for rank in NEIGHBOUR_RANKS
        if rank < len(words) and words[rank].isalpha()
    ]
    vectors = trained.parts.model.get_layer("embedding").get_weights()[0]
    return nearest_neighbours(vectors, words, chosen or words[:1])


def page(
    metrics: dict, settings: dict, pictures: Sequence, neighbours: Sequence[dict]
) -> str:
    """Return the HTML report.

    Args:
        metrics: What `metrics.json` holds.
        settings: What `config.json` holds.
        pictures: PNG bytes and caption of each figure.
        neighbours: The rows of the table of nearest neighbours.
    """
    data = metrics["data"]
    parts = [
        report.paragraph(summary_line(metrics) + "."),
        report.paragraph(f"Text: {data['name']}."),
    ]
    parts += [report.note(text) for text in notes(metrics)]
    parts += [
        report.heading("Results"),
        report.table(HEADER, result_rows(metrics)),
        report.paragraph(measured(metrics)),
        report.heading("Figures"),
        *(report.figure(png, caption) for png, caption in pictures),
        report.heading("Words that the model finds similar"),
        report.table(
            ("Word", "Nearest by cosine of their vectors"),
            [
                (
                    row["word"],
                    ", ".join(
                        f"{near['word']} {near['cosine']:.2f}"
                        for near in row["neighbours"]
                    ),
                )
                for row in neighbours
            ],
        ),
        *report.provenance(metrics, settings),
    ]
    return report.page(f"Next word: {settings['name']}", parts)


def notes(metrics: dict) -> list[str]:
    """Return what the reader must not miss."""
    texts = [metrics["ending"], metrics["data"]["note"]]
    if not metrics["results"][0]["held_out"]:
        texts.append(
            "No text was held out: these numbers tell how well the model knows its "
            "training text by heart, not how well it predicts."
        )
    return [text for text in texts if text]


def measured(metrics: dict) -> str:
    """Return what the numbers count."""
    data = metrics["data"]
    rate = data["held_out"]["oov_rate"]
    share = "" if rate is None else f", {rate:.1%} of the held-out ones"
    return (
        "Every word, sign and end of a line is counted once. Words outside the "
        f"vocabulary of {data['vocabulary']:,} ids ({data['train']['oov_rate']:.1%} of "
        f"the training tokens{share}) count as one word, for all models alike. Top-1 "
        "of prefixes leaves out first words and ends, as the usual tutorial does. "
        f"The network has {metrics['parameters']:,} parameters; training took "
        f"{metrics['training_seconds']:.0f} s for {metrics['epochs']} epochs."
    )


def text(metrics: dict, path: Path) -> str:
    """Return what the terminal shows at the end."""
    rows = [HEADER, *result_rows(metrics)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += ["", summary_line(metrics), f"Text: {metrics['data']['name']}"]
    lines += notes(metrics)
    return "\n".join(["", *lines, f"Report: {path / 'report.html'}"])
