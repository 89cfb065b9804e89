"""The pictures show the numbers they were given."""

import sys

import numpy as np
import pytest

from minigrad.insight import plot_confusion_matrix, plot_history
from minigrad.train import plots

HISTORY = [
    {"step": 1, "loss": 2.0},
    {"step": 2, "loss": 1.0},
    {"step": 2, "train_loss": 1.5, "train_accuracy": 0.3, "eval_loss": 0.9, "eval_accuracy": 0.6, "eval_macro_f1": 0.5},
    {"step": 3, "loss": 0.8},
    {"step": 3, "train_loss": 0.8, "train_accuracy": 0.7, "eval_loss": 0.7, "eval_accuracy": 0.8, "eval_macro_f1": 0.7},
]


def test_curves():
    pytest.importorskip("matplotlib")
    loss, scores = plot_history(HISTORY).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for axes in (loss, scores) for line in axes.lines}
    assert drawn == {
        "training, each record": [[1, 2.0], [2, 1.0], [3, 0.8]],
        "training, mean of the epoch": [[2, 1.5], [3, 0.8]],
        "evaluation": [[2, 0.9], [3, 0.7]],
        "training accuracy": [[2, 0.3], [3, 0.7]],
        "evaluation accuracy": [[2, 0.6], [3, 0.8]],
        "evaluation macro-F1": [[2, 0.5], [3, 0.7]],
    }


@pytest.mark.filterwarnings("error")
def test_a_run_without_scores_has_curves_of_its_loss():
    pytest.importorskip("matplotlib")
    history = [
        {name: value for name, value in record.items() if not name.endswith(("accuracy", "f1"))} for record in HISTORY
    ]
    (loss,) = plot_history(history).axes  # and no empty panel
    assert len(loss.lines) == 3
    assert loss.lines[2].get_xydata().tolist() == [[2, 0.9], [3, 0.7]]


def test_confusion_matrix(tmp_path):
    pytest.importorskip("matplotlib")
    figure = plot_confusion_matrix(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]), ["a", "b", "never"])
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])
    assert {(text.get_position(), text.get_text()) for text in axes.texts} == {
        ((0, 0), "3"),
        ((1, 0), "1"),
        ((1, 1), "2"),
    }
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "never"]
    figure.savefig(tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


def test_where_a_curve_is_not_a_number_is_shown():
    pytest.importorskip("matplotlib")
    history = [{"step": i, "loss": 1.0 if i < 50 else (np.nan, np.inf)[i % 2]} for i in range(1, 101)]
    (axes,) = plot_history(history).axes
    curve, marks = axes.lines
    assert marks.get_xdata().tolist() == list(range(50, 101)) and marks.get_label() == "NaN or inf: step 50 to 100"
    assert axes.get_xlim()[1] >= 100 and np.isnan(curve.get_ydata()[49:]).all()


def test_negative_losses_are_in_the_picture():
    pytest.importorskip("matplotlib")
    (axes,) = plot_history([{"step": i, "loss": -float(i)} for i in range(1, 10)]).axes
    assert axes.get_ylim()[0] < -9
    (axes,) = plot_history([{"step": i, "loss": float(i)} for i in range(1, 10)]).axes
    assert axes.get_ylim()[0] == 0


def test_many_epochs_have_few_markers():
    pytest.importorskip("matplotlib")
    epochs = [{"step": i, "train_loss": 1 / i, "eval_loss": 2 / i, "eval_accuracy": 0.5} for i in range(1, 1001)]
    for axes in plot_history(epochs).axes:
        assert axes.lines and all(len(line.get_xdata()) / line.get_markevery() <= 40 for line in axes.lines)


@pytest.mark.parametrize("history", [[HISTORY[0]], [HISTORY[2]], []])
def test_a_short_history_is_drawn(history, tmp_path):
    pytest.importorskip("matplotlib")
    figure = plot_history(history)
    figure.savefig(tmp_path / "short.png")
    assert [line.get_marker() for line in figure.axes[0].lines] == ["."] * (history == [HISTORY[0]]) + ["o", "s"] * (
        history == [HISTORY[2]]
    )


@pytest.mark.parametrize(
    "history, error, told",
    [
        (HISTORY[0], TypeError, r"history is a dict: give a list of records, such as trainer.history or \[record\]"),
        (3, TypeError, "history is a int"),
        ([[1, 2]], TypeError, "holds a list: each record is a dictionary"),
        ([{"loss": 1.0}], ValueError, "has no \"step\", only 'loss'"),
    ],
)
def test_what_is_no_history_is_refused(history, error, told):
    with pytest.raises(error, match=told):
        plot_history(history)


@pytest.mark.parametrize(
    "matrix, names",
    [
        (np.eye(3), ["a", "b"]),
        (np.eye(2), ["a", "b", "c"]),
        (np.ones((2, 3)), ["a", "b"]),
        (np.ones(2), ["a", "b"]),
        (np.ones((0, 0)), []),
    ],
)
def test_a_matrix_that_does_not_fit_its_names_is_refused(matrix, names):
    with pytest.raises(ValueError, match="give a square matrix and a name for each of its rows"):
        plot_confusion_matrix(matrix, names)


def labels(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_a_long_name_is_shortened_and_dollars_are_no_formula(tmp_path):
    pytest.importorskip("matplotlib")
    figure = plot_confusion_matrix(np.eye(2, dtype=int), ["x" * 300 + " the end", "from $5 to $10"])
    long, dollars = labels(figure)
    assert len(long) <= 32 and long.startswith("xxx") and long.endswith("the end") and dollars == "from $5 to $10"
    figure.savefig(tmp_path / "long.png")
    axes = figure.axes[0]
    assert axes.get_position().width > 0.35 and not axes.get_yticklabels()[1].get_parse_math()


def test_a_thousand_classes_are_a_picture_of_bounded_size():
    pytest.importorskip("matplotlib")
    figure = plot_confusion_matrix(np.eye(1000, dtype=int), [f"class {i}" for i in range(1000)])
    assert max(figure.get_size_inches()) < 30 and len(labels(figure)) <= 60 and not figure.axes[0].texts


@pytest.mark.filterwarnings("error")
def test_chinese_names_are_set_in_a_font_that_has_them(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(plots, "_family_with", lambda letters: "Noto Sans CJK SC" if ord("正") in letters else None)
    figure = plot_confusion_matrix(np.eye(2, dtype=int), ["正面", "neutral"])
    assert labels(figure) == ["正面", "neutral"]
    assert figure.axes[0].get_yticklabels()[0].get_fontfamily()[0] == "Noto Sans CJK SC"


def test_a_font_that_is_installed_is_found():
    pytest.importorskip("matplotlib")
    found = plots._family_with(frozenset(map(ord, "aß")))
    assert found and plots._family_with(frozenset([0x10FFFF])) is None


def test_without_a_font_the_classes_go_by_numbers_and_the_package_is_named(monkeypatch, tmp_path, recwarn):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(plots, "_family_with", lambda letters: None)
    figure = plot_confusion_matrix(np.eye(3, dtype=int), ["正面", "体育 sports", "neutral"])
    assert labels(figure) == ["class 0", "1: sports", "neutral"]
    figure.savefig(tmp_path / "chinese.png")
    (told,) = (str(warning.message) for warning in recwarn)
    assert "class 0 is 正面" in told and "apt install fonts-noto-cjk" in told


def test_without_matplotlib_the_error_says_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'need matplotlib .*: pip install "minigrad-learn\[viz\]"'):
        plot_history(HISTORY)
