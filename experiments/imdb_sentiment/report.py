"""The report of a sentiment run."""

import re
from collections.abc import Sequence

from experiments.common.result import (
    Figure,
    Finding,
    Note,
    Paragraph,
    Section,
    Table,
)
from experiments.imdb_sentiment.settings import Settings
from experiments.imdb_sentiment.train import Trained, log_loss
from lstm_keras import plots
from lstm_keras.datasets import Split
from lstm_keras.evaluation import Mistake, confident_mistakes

BEGINNINGS, MEMBERS = "language models", "averaged models"  # in the facts on the data
HEADER = ("Model", "Test accuracy", "95% interval", "F1", "ROC AUC", "Log loss")


def finding(metrics) -> Finding:
    """Return the test accuracy of the model and of the best baseline."""
    data, both, tested = (
        metrics.data,
        metrics.summary,
        [run.test for run in metrics.runs],
    )
    seeds = "" if both.seeds == 1 else f" (mean of {both.seeds} seeds)"
    kind = "test" if data["real"] else "generated"
    text = (
        f"{metrics.engine['layer']} classifies {both.test_accuracy.mean:.1%} of "
        f"{data['test']:,} {kind} reviews correctly{seeds}"
    )
    if metrics.baselines:
        best = max(metrics.baselines, key=lambda one: one.accuracy)
        text += f", the best baseline {best.accuracy:.1%} ({best.name})"
    return Finding(
        f"{text}.",
        Figure(
            "accuracy",
            plots.plot_accuracies(tested, metrics.baselines),
            "Accuracy on the test reviews.",
        ),
    )


def sections(
    metrics, settings: Settings, best: Trained, test: Split, notes: Sequence[str]
) -> list[Section]:
    """Return the sections of the report.

    `best` is the saved model; `notes` are failures and interruptions, in sentences.
    """
    data = metrics.data
    warnings = [*notes, data["note"]]
    if not data["real"]:
        warnings.append("These numbers are from generated reviews, not from IMDB.")
    mistakes = confident_mistakes(test.texts, test.labels, best.test_probabilities)
    return [
        Section(
            None,
            [
                *(Note(text) for text in warnings if text),
                Paragraph(f"Data: {data['name']}."),
                *(Paragraph(text) for text in origins(data)),
            ],
        ),
        Section(
            "Results",
            [
                Paragraph(summary_line(metrics) + "."),
                Table(HEADER, result_rows(metrics)),
            ],
        ),
        *order_section(metrics),
        Section(
            "Figures",
            [
                Paragraph(
                    f"The saved model, seed {metrics.saved_seed}.", page_only=True
                ),
                *figures(best, test, settings.maxlen),
            ],
        ),
        Section(
            "Most confident mistakes",
            [mistakes_table(mistakes)]
            if mistakes
            else [Paragraph("None.", page_only=True)],
        ),
        Section("Method", [Paragraph(measured(metrics, settings), page_only=True)]),
    ]


def summary_line(metrics) -> str:
    """Return validation and test accuracy in one line."""

    def words(spread) -> str:
        deviation = spread.standard_deviation
        more = "" if deviation is None else f" ± {deviation:.4f}"
        return f"{spread.mean:.4f}{more}"

    both = metrics.summary
    seeds = "" if both.seeds == 1 else f" (mean of {both.seeds} seeds)"
    return (
        f"Accuracy{seeds}: validation {words(both.validation_accuracy)}, "
        f"test {words(both.test_accuracy)}"
    )


def result_rows(metrics) -> list[list[str]]:
    """Return the rows of the table of results: every seed, then the baselines."""
    return [
        [
            result.name,
            f"{result.accuracy:.4f}",
            "{:.4f} to {:.4f}".format(*result.accuracy_interval),
            f"{result.f1:.4f}",
            "–" if result.roc_auc is None else f"{result.roc_auc:.4f}",
            f"{result.log_loss:.4f}",
        ]
        for result in (*(one.test for one in metrics.runs), *metrics.baselines)
    ]


def origins(data) -> list[str]:
    """Return a sentence for each model that this one is made of."""
    return [
        f"{how} {run}."
        for role, how in ((BEGINNINGS, "It begins with"), (MEMBERS, "One of them is"))
        for run in data.get(role, ())
    ]


def order_section(metrics) -> list[Section]:
    """Return what becomes of each model when words change places, if measured."""
    ordered = {
        one.name: one for one in (*(r.test for r in metrics.runs), *metrics.baselines)
    }
    rows = [
        [
            one.name,
            f"{ordered[one.name].accuracy:.4f}",
            f"{one.accuracy:.4f}",
            f"{one.accuracy - ordered[one.name].accuracy:+.4f}",
        ]
        for one in metrics.shuffled
    ]
    # Keras's reviews have no signs that end a sentence.
    part = "review" if metrics.data["source"] == "keras.datasets.imdb" else "sentence"
    text = (
        f"The same test reviews with the words of each {part} shuffled: what a model "
        "loses is what it owes to the order of words."
    )
    header = ("Model", "Test accuracy", "Words shuffled", "Change")
    content = [Paragraph(text), Table(header, rows)]
    return [Section("Order counts", content)] if rows else []


def measured(metrics, settings: Settings) -> str:
    """Return an explanation of the numbers."""
    data = metrics.data
    seconds = sum(one.training_seconds for one in metrics.runs)
    return (
        f"{data['test']:,} test reviews. The networks were trained on "
        f"{data['train']:,} reviews, their best epoch was chosen on "
        f"{data['validation']:,} more, and they read the last {settings.maxlen} words "
        "of a review. The baselines were trained on all of these reviews, and read "
        f"whole reviews unless stated otherwise. Training took {seconds:.0f} s."
        + objective(data, settings)
    )


def objective(data, settings: Settings) -> str:
    """Return a sentence on the losses of a mixed objective, or ""."""
    if not settings.mixed:
        return ""
    weights = {
        "adversarial": settings.adversarial,
        "virtual adversarial": settings.virtual_adversarial,
        "entropy": settings.entropy,
    }
    named = [
        f"{weight:g} times the {name}" for name, weight in weights.items() if weight
    ]
    more = data.get("unlabelled")
    texts = f", on {more:,} reviews without labels, too" if more else ""
    return (
        f" The loss in training is the log loss and {', '.join(named)} loss{texts} "
        "(experiments/imdb_sentiment/objective.py)."
    )


def training_figure(best: Trained) -> list[Figure]:
    """Return the figure of the training, if there was one."""
    if not best.fit.history:
        return []
    history = best.fit.history
    if log_loss.__name__ in history:  # the loss is a sum that validation does not have
        history = history | {"loss": history[log_loss.__name__]}
    curves = plots.plot_learning_curves(history, best.fit.best_epoch)
    return [Figure("learning_curves", curves, "Log loss and accuracy by epoch.")]


def figures(best: Trained, test: Split, maxlen: int) -> list[Figure]:
    """Return the figures of one model."""
    labels, probabilities = test.labels, best.test_probabilities
    curves = {best.test.name: (labels, probabilities)}
    lengths = [len(ids) - 1 for ids in test.ids]
    cut_at = maxlen if max(lengths) > maxlen else None
    return [
        *training_figure(best),
        Figure(
            "confusion_matrix",
            plots.plot_confusion_matrix(best.test.confusion),
            "Test reviews by true and predicted sentiment.",
        ),
        Figure("roc", plots.plot_roc(curves), "ROC curve on the test reviews."),
        Figure(
            "calibration",
            plots.plot_calibration(curves),
            "Observed frequency of positive by predicted probability, test reviews.",
        ),
        Figure(
            "length_accuracy",
            plots.plot_length_accuracy(lengths, labels, probabilities, cut_at),
            f"Test accuracy by length; the model reads the last {maxlen} words.",
        ),
    ]


def mistakes_table(mistakes: Sequence[Mistake]) -> Table:
    """Return the mistakes as a table, with long reviews truncated."""
    rows = [
        (
            excerpt(one.text),
            ("negative", "positive")[one.label],
            f"{one.probability:.4f}",
        )
        for one in mistakes
    ]
    header = ("Review", "True", "Predicted probability of positive")
    return Table(header, rows, page_only=True)


def excerpt(review: str, length: int = 600) -> str:
    """Return the end of a review, which is what the model reads, on one line."""
    words = " ".join(re.sub(r"<br\s*/?>", " ", review).split())
    return words if len(words) <= length else f"… {words[-length:]}"
