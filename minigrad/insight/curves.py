"""Pictures of a training run: how loss and scores moved, and which classes are taken for which.

Each function returns a matplotlib Figure: show it in a notebook, or write it to a file with `.savefig("name.png")`.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def plot_history(history: Sequence[dict[str, Any]]) -> Any:
    """Loss and scores, if there are any, over the steps, from `Trainer.history`.  Raises ImportError without matplotlib."""
    steps, epochs = ([record for record in history if key in record] for key in ("loss", "eval_loss"))

    def draw(axes, records, key, *style, **more):
        if records := [record for record in records if key in record]:
            axes.plot([record["step"] for record in records], [record[key] for record in records], *style, **more)

    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    draw(left, steps, "loss", color="tab:blue", alpha=0.3, linewidth=1, label="training, each record")
    draw(left, epochs, "train_loss", "o-", color="tab:blue", label="training, mean of the epoch")
    draw(left, epochs, "eval_loss", "s-", color="tab:orange", label="evaluation")
    left.set(title="loss", xlabel="step", ylim=(0, None))
    draw(right, epochs, "train_accuracy", "o-", color="tab:blue", label="training accuracy")
    draw(right, epochs, "eval_accuracy", "s-", color="tab:orange", label="evaluation accuracy")
    draw(right, epochs, "eval_macro_f1", "^--", color="tab:green", label="evaluation macro-F1")
    right.set(title="scores", xlabel="step", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    return figure


def plot_confusion_matrix(matrix: np.ndarray, names: Sequence[str]) -> Any:
    """Counts by true and predicted class, coloured by their share of the true class.  Raises ImportError without matplotlib."""
    matrix = np.asarray(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 3 + 0.4 * len(names)
    figure = new_figure(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(names)), yticks=range(len(names)), yticklabels=names)
    axes.set_xticklabels(names, rotation=45, ha="right", rotation_mode="anchor")
    for row, column in np.argwhere(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=colour)
    return figure


def new_figure(width: float, height: float) -> Any:
    """An empty Figure of that many inches.  Made without pyplot, it needs no screen and leaves no global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f'pictures need matplotlib ({error}): pip install "minigrad-learn[viz]"') from None
    return Figure(figsize=(width, height), layout="constrained")
