"""Figures of a language model."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lstm_keras.evaluation.language import TokenScores, top_calibration
from lstm_keras.plots.parts import (
    calibration_figure,
    check_history,
    draw_accuracy,
    draw_epochs,
)
from lstm_keras.plots.style import (
    BASELINE,
    LINE_STYLES,
    OURS,
    REFERENCE_LINE,
    WIDTH,
    legend_below,
    logarithmic_if_wide,
    new_panel,
    whole_ticks,
)

Rows = Sequence[Mapping[str, Any]]


def plot_perplexity(
    history: Mapping[str, Sequence[float]],
    best_epoch: int | None = None,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Draw perplexity by epoch, training beside validation and other models.

    The axis is logarithmic if the values span more than `LINEAR_RANGE`.

    Args:
        history: one value per epoch under "perplexity" and "val_perplexity", as in
            `plot_learning_curves`.
        best_epoch: the epoch to mark, counted from 1.
        references: by name of the model the perplexity to draw a line at.

    Raises:
        ValueError: as `plot_learning_curves`, or for a perplexity below 1.
    """
    references = references or {}
    curves, epochs = check_history(history, ("perplexity",), best_epoch)
    values = np.concatenate([*curves.values(), list(references.values())])
    values = values[np.isfinite(values)]
    if (values < 1).any():
        raise ValueError(f"expected perplexities >= 1; received {values.min()}")
    figure, axes = new_panel(
        WIDTH, 3.6, "Perplexity by epoch", "Epoch", "Perplexity (lower is better)"
    )
    draw_epochs(axes, curves, "perplexity", epochs, best_epoch)
    for (name, value), dashes in zip(references.items(), cycle(LINE_STYLES)):
        label = f"{name} ({value:,.1f})"
        axes.axhline(value, label=label, linestyle=dashes, color=BASELINE)
    logarithmic_if_wide(axes, "y", values)
    legend_below(figure, [axes])
    return figure


def plot_top_calibration(scores: TokenScores) -> Figure:
    """Draw the calibration of the most probable token, as in `plot_calibration`.

    Args:
        scores: a language model's scores of a text.
    """
    return calibration_figure(
        "Calibration: does the most probable word come true?",
        "Observed share of right words",
        {"most probable word": top_calibration(scores)},
    )


def plot_position_accuracy(rows: Rows) -> Figure:
    """Draw a language model's accuracy by a token's position in its segment.

    Each group of positions is drawn at its middle, with the 95% interval of Wilson
    (1927). The axis of positions is logarithmic if it spans more than `LINEAR_RANGE`.

    Args:
        rows: the result of `evaluation.accuracy_by_position`.

    Raises:
        ValueError: for no rows.
    """
    _check_rows(rows)
    figure, axes = new_panel(
        WIDTH,
        3.8,
        "Accuracy by position in the segment",
        "Position (tokens from 1; middle of the group)",
        "Top-1 accuracy (share of right answers)",
    )
    middles = np.array([(row["first"] + row["last"]) / 2 for row in rows])
    draw_accuracy(
        axes,
        middles,
        [row["accuracy"] for row in rows],
        [row["tokens"] for row in rows],
        label="accuracy, with 95% interval",
    )
    whole_ticks(axes)
    logarithmic_if_wide(axes, "x", middles)
    legend_below(figure, [axes])
    return figure


def plot_frequency_loss(rows: Rows) -> Figure:
    """Draw a language model's loss by a word's frequency in the training text.

    Args:
        rows: the result of `evaluation.loss_by_frequency`.

    Raises:
        ValueError: for no rows.
    """
    _check_rows(rows)
    losses = np.array([row["loss"] for row in rows])
    tokens = np.array([row["tokens"] for row in rows])
    special = [row["frequency"] in ("END", "OOV") for row in rows]
    names = [
        f"{row['frequency']} ({share:.1%})"
        for row, share in zip(rows, tokens / tokens.sum(), strict=True)
    ]
    figure, axes = new_panel(
        WIDTH,
        1.6 + 0.3 * len(rows),
        "Loss by frequency of the word",
        "Mean loss (nats per token)",
        "Occurrences in training\n(share of the tokens)",
    )
    colors = [to_rgba(OURS, 0.5 if pale else 1) for pale in special]
    axes.barh(names, losses, color=colors)
    mean = np.average(losses, weights=tokens)
    axes.axvline(
        mean, label=f"all {tokens.sum():,} tokens ({mean:.2f})", **REFERENCE_LINE
    )
    axes.invert_yaxis()
    legend_below(figure, [axes])
    return figure


def _check_rows(rows: Rows) -> None:
    if not rows:
        raise ValueError("expected at least one row; received none")
