"""Pictures of a training run: loss and scores over the steps, and the confusion matrix of a classifier.

Each function returns a matplotlib Figure: show it in a notebook, or write it to a file with `.savefig("name.png")`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..places import warn

MAX_MARKERS = 40  # on a curve
MAX_LETTERS = 32  # of a class name
MAX_NAMES = 60  # of classes at an axis; with more classes, only every second or third, and so on, has its name
CJK = (
    "Noto Sans CJK",
    "Noto Sans SC",
    "Source Han Sans",
    "WenQuanYi",
    "PingFang",
    "Microsoft YaHei",
    "SimHei",
    "Hiragino",
    "Arial Unicode",
    "Droid Sans Fallback",
)


def plot_history(history: Sequence[dict[str, Any]]) -> Any:
    """Loss and, if there are any, scores over the steps, from `Trainer.history`.

    Where a value is NaN or infinite, the curve has a gap, with a mark at the lower edge.

    Raises:
        TypeError, ValueError: history is not a list of records, or one has no "step".
        ImportError: matplotlib is not installed.
    """
    if isinstance(history, (Mapping, str)) or not isinstance(history, Iterable):
        raise TypeError(
            f"history is a {type(history).__name__}: give a list of records, such as trainer.history or [record]"
        )
    history = list(history)
    for record in history:
        if not isinstance(record, Mapping):
            raise TypeError(
                f"history holds a {type(record).__name__}: each record is a dictionary, such as "
                '{"step": 1, "loss": 0.5}'
            )
        if "step" not in record:
            raise ValueError(
                f'a record of history has no "step", only {", ".join(map(repr, record)) or "nothing"}: each is like '
                '{"step": 1, "loss": 0.5}'
            )

    def curve(records, key):
        return [(record["step"], float(record[key])) for record in records if isinstance(record.get(key), (int, float))]

    steps, epochs = ([record for record in history if key in record] for key in ("loss", "eval_loss"))
    epochs = epochs or [record for record in history if "train_loss" in record or "train_accuracy" in record]
    losses = [
        ("training, each record", curve(steps, "loss"), "-", "tab:blue"),
        ("training, mean of the epoch", curve(epochs, "train_loss"), "o-", "tab:blue"),
        ("evaluation", curve(epochs, "eval_loss"), "s-", "tab:orange"),
    ]
    scores = [
        ("training accuracy", curve(epochs, "train_accuracy"), "o-", "tab:blue"),
        ("evaluation accuracy", curve(epochs, "eval_accuracy"), "s-", "tab:orange"),
        ("evaluation macro-F1", curve(epochs, "eval_macro_f1"), "^--", "tab:green"),
    ]
    panels = [("loss", losses)] + [("scores", scores)] * any(points for _, points, *_ in scores)
    figure = new_figure(5 * len(panels) + (len(panels) == 1) * 2, 4)
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axes.set(title=title, xlabel="step")
        for label, points, style, colour in curves:
            _draw(axes, label, points, style, colour)
        bad = sorted({x for _, points, *_ in curves for x, y in points if not math.isfinite(y)})
        if bad:
            reach = f"step {bad[0]:g}" + (f" to {bad[-1]:g}" if len(bad) > 1 else "")
            axes.plot(
                bad,
                [0.02] * len(bad),
                "|",
                color="tab:red",
                markersize=12,
                transform=axes.get_xaxis_transform(),
                label=f"NaN or inf: {reach}",
            )
        finite = [y for _, points, *_ in curves for _, y in points if math.isfinite(y)]
        if title == "scores":
            axes.set_ylim(0, 1)
        elif not finite or min(finite) >= 0:  # the negative logarithm of a density may be negative
            axes.set_ylim(0, None)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=9, framealpha=0.6)
    return figure


def _draw(axes: Any, label: str, points: list[tuple[float, float]], style: str, colour: str) -> None:
    """Draw a curve, with gaps where values are not finite, and at most MAX_MARKERS markers."""
    if not points:
        return
    x, y = np.array(points, float).T
    faint = {"alpha": 0.3, "linewidth": 1} if style == "-" else {}
    if style == "-" and len(x) == 1:
        style = "."
    axes.plot(
        x,
        np.where(np.isfinite(y), y, np.nan),
        style,
        color=colour,
        label=label,
        markevery=max(1, math.ceil(len(x) / MAX_MARKERS)),
        **faint,
    )


def plot_confusion_matrix(matrix: np.ndarray, names: Sequence[str]) -> Any:
    """Counts by true and predicted class, coloured by their share of the true class.

    Names in letters that the default font lacks, such as Chinese, are set in an installed font that has them.  If there
    is none, a warning says how to get one, and the classes are labelled with their numbers.

    Args:
        matrix: (classes, classes), a row for each true class.
        names: the names of the classes, in order.

    Raises:
        ValueError: the matrix is not square, or there is not one name for each class.
        ImportError: matplotlib is not installed.
    """
    matrix, names = np.asarray(matrix), [names] if isinstance(names, str) else [str(name) for name in names]
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(names) != len(matrix) or not names:
        raise ValueError(
            f"the matrix has the shape {matrix.shape}, and there {'is' if len(names) == 1 else 'are'} {len(names)} "
            f"name{'s' * (len(names) != 1)}: give a square matrix and a name for each of its rows"
        )
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"the matrix holds {matrix.dtype}: give numbers, as minigrad.metrics.confusion_matrix does")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    every = math.ceil(len(names) / MAX_NAMES)
    families, shown = _legible(names)
    ticks, shown = range(0, len(names), every), [_short(name) for name in shown[::every]]
    side = 3 + 0.4 * min(len(names), MAX_NAMES) + 0.08 * max(map(len, shown))  # inches, with room for the longest name
    figure = new_figure(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", xticks=ticks, yticks=ticks)
    look = {"parse_math": False, **({"fontfamily": families} if families else {})}
    axes.set_yticklabels(shown, **look)
    axes.set_xticklabels(shown, rotation=45, ha="right", rotation_mode="anchor", **look)
    for row, column in np.argwhere(matrix) if every == 1 else ():
        colour = "white" if shares[row, column] > 0.5 else "black"
        value = matrix[row, column]
        axes.text(
            column, row, value if matrix.dtype.kind != "f" else f"{value:.3g}", ha="center", va="center", color=colour
        )
    return figure


def _short(name: str) -> str:
    """A name on one line; a long one is shortened to its beginning and its end."""
    name = " ".join(name.split())
    return name if len(name) <= MAX_LETTERS else f"{name[: MAX_LETTERS - 10].rstrip()} … {name[-7:].lstrip()}"


def _legible(names: list[str]) -> tuple[list[str], list[str]]:
    """Font families that have all letters of the names, if the default one lacks some, and the names to show."""
    from matplotlib import font_manager, rcParams

    usual = font_manager.get_font(font_manager.findfont(font_manager.FontProperties())).get_charmap()
    missing = frozenset(
        ord(letter) for name in names for letter in name if not letter.isspace() and ord(letter) not in usual
    )
    if not missing:
        return [], names
    if (family := _family_with(missing)) is not None:
        return [family, *rcParams["font.sans-serif"][:1]], names
    shown = []
    for i, name in enumerate(names):
        kept = " ".join("".join(letter for letter in name if ord(letter) not in missing).split())
        whole = not missing.intersection(map(ord, name))
        shown.append(name if whole else f"{i}: {kept}" if any(letter.isalnum() for letter in kept) else f"class {i}")
    changed = [f"{now} is {name}" for now, name in zip(shown, names) if now != name]
    listed = "; ".join(changed[:10]) + (f"; and {len(changed) - 10} more" if len(changed) > 10 else "")
    warn(
        f"no installed font has all letters of the class names, so the picture shows numbers ({listed}).  Noto has "
        "them: on Debian or Ubuntu, sudo apt install fonts-noto-cjk (fonts-noto for other scripts); on Fedora, "
        "sudo dnf install google-noto-sans-cjk-fonts; or download it from https://fonts.google.com/noto"
    )
    return [], shown


@cache
def _family_with(letters: frozenset[int]) -> str | None:
    """An installed font family that has all these letters, well-known ones first."""
    from matplotlib import font_manager

    fonts = {font.name: font for font in font_manager.fontManager.ttflist if "Last Resort" not in font.name}
    for font in sorted(fonts.values(), key=lambda font: (not font.name.startswith(CJK), font.name)):
        try:
            if letters <= font_manager.get_font(font.fname).get_charmap().keys():
                return font.name
        except (OSError, RuntimeError):  # a font that cannot be read
            continue
    return None


def new_figure(width: float, height: float) -> Any:
    """An empty Figure, its size in inches.  Made without pyplot, it needs no screen and leaves no global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f'pictures need matplotlib ({error}): pip install "minigrad-learn[viz]"') from None
    return Figure(figsize=(width, height), layout="constrained")
