"""The report of a sentiment run, as a page and as text."""

import re
from collections.abc import Sequence
from pathlib import Path

from experiments import report

RESULT_HEADER = ("Model", "Test accuracy", "95% interval", "F1", "ROC AUC", "Log loss")


def figures(fit, result, test, probabilities, maxlen: int) -> dict:
    """Return the figures of one model by name, each with its caption.

    Args:
        fit: How its training went.
        result: What it achieved on the test reviews.
        test: The test reviews.
        probabilities: What it predicts for them, (n,).
        maxlen: How many words it reads.
    """
    from lstm_keras import plots

    labels = test.labels
    curves = {result.name: (labels, probabilities)}
    lengths = [len(ids) - 1 for ids in test.ids]
    cut_at = maxlen if max(lengths) > maxlen else None
    return {
        "learning_curves": (
            plots.plot_learning_curves(fit.history, fit.best_epoch),
            "Loss and accuracy after each epoch.",
        ),
        "confusion_matrix": (
            plots.plot_confusion_matrix(result.confusion),
            "Test reviews by true and predicted sentiment.",
        ),
        "roc": (plots.plot_roc(curves), "ROC curve on the test reviews."),
        "calibration": (
            plots.plot_calibration(curves),
            "How often the predicted probabilities come true on the test reviews.",
        ),
        "length_accuracy": (
            plots.plot_length_accuracy(lengths, labels, probabilities, cut_at),
            f"Test accuracy by length; the model reads the last {maxlen} words.",
        ),
    }


def result_rows(metrics: dict) -> list[list[str]]:
    """Return the rows of the table of results: every seed, then the baselines."""
    results = [one["test"] for one in metrics["runs"]] + metrics["baselines"]
    return [
        [
            result["name"],
            f"{result['accuracy']:.4f}",
            "{:.4f} to {:.4f}".format(*result["accuracy_interval"]),
            f"{result['f1']:.4f}",
            "–" if result["roc_auc"] is None else f"{result['roc_auc']:.4f}",
            f"{result['log_loss']:.4f}",
        ]
        for result in results
    ]


def summary_line(metrics: dict) -> str:
    """Return validation and test accuracy in one line."""

    def words(spread: dict) -> str:
        deviation = spread["standard_deviation"]
        more = "" if deviation is None else f" ± {deviation:.4f}"
        return f"{spread['mean']:.4f}{more}"

    both = metrics["summary"]
    seeds = "" if both["seeds"] == 1 else f" (mean of {both['seeds']} seeds)"
    return (
        f"Accuracy{seeds}: validation {words(both['validation_accuracy'])}, "
        f"test {words(both['test_accuracy'])}"
    )


def page(metrics: dict, settings: dict, pictures: Sequence, mistakes: Sequence) -> str:
    """Return the HTML report.

    Args:
        metrics: What `metrics.json` holds.
        settings: What `config.json` holds.
        pictures: PNG bytes and caption of each figure.
        mistakes: The `lstm_keras.evaluation.classification.Mistake`s to show.
    """
    data = metrics["data"]
    parts = [
        report.paragraph(summary_line(metrics) + "."),
        report.paragraph(f"Data: {data['name']}."),
    ]
    if metrics["ending"]:
        parts.append(report.note(metrics["ending"]))
    if not data["real"]:
        parts.append(
            report.note("These numbers are of generated reviews, not of IMDB's.")
        )
    if data["note"]:
        parts.append(report.note(data["note"]))
    seconds = sum(one["training_seconds"] for one in metrics["runs"])
    parts += [
        report.heading("Results"),
        report.table(RESULT_HEADER, result_rows(metrics)),
        report.paragraph(
            f"{data['test']:,} test reviews. The networks learned from "
            f"{data['train']:,} training reviews and chose their epoch on "
            f"{data['validation']:,} more, and read the last {settings['maxlen']} "
            "words of a review. The baselines learned from all of both, and read "
            f"whole reviews unless they say otherwise. Training took {seconds:.0f} s."
        ),
        report.heading("Figures"),
        report.paragraph(f"Of the saved model, seed {metrics['saved_seed']}."),
        *(report.figure(png, caption) for png, caption in pictures),
        report.heading("Most confident mistakes"),
        mistakes_table(mistakes) if mistakes else report.paragraph("None."),
        *report.provenance(metrics, settings),
    ]
    return report.page(f"IMDB sentiment: {settings['name']}", parts)


def mistakes_table(mistakes: Sequence) -> str:
    """Return the mistakes as a table, long reviews cut."""
    rows = [
        (
            excerpt(one.text),
            ("negative", "positive")[one.label],
            f"{one.probability:.4f}",
        )
        for one in mistakes
    ]
    return report.table(("Review", "True", "Predicted probability of positive"), rows)


def excerpt(review: str, length: int = 600) -> str:
    """Return the end of a review, which is what the model reads, on one line."""
    words = " ".join(re.sub(r"<br\s*/?>", " ", review).split())
    return words if len(words) <= length else f"… {words[-length:]}"


def text(metrics: dict, path: Path) -> str:
    """Return what the terminal shows at the end."""
    rows = [RESULT_HEADER, *result_rows(metrics)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += ["", summary_line(metrics), f"Data: {metrics['data']['name']}"]
    if metrics["ending"]:
        lines.append(metrics["ending"])
    return "\n".join(["", *lines, f"Report: {path / 'report.html'}"])
