"""The pictures show the numbers they were given."""
import sys

import numpy as np
import pytest

from minigrad.insight import plot_confusion_matrix, plot_history

HISTORY = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0},
           {"step": 2, "train_loss": 1.5, "train_accuracy": 0.3, "eval_loss": 0.9, "eval_accuracy": 0.6, "eval_macro_f1": 0.5},
           {"step": 3, "loss": 0.8},
           {"step": 3, "train_loss": 0.8, "train_accuracy": 0.7, "eval_loss": 0.7, "eval_accuracy": 0.8, "eval_macro_f1": 0.7}]


def test_curves():
    pytest.importorskip("matplotlib")
    loss, scores = plot_history(HISTORY).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for axes in (loss, scores) for line in axes.lines}
    assert drawn == {"training, each record": [[1, 2.0], [2, 1.0], [3, 0.8]], "training, mean of the epoch": [[2, 1.5], [3, 0.8]],
                     "evaluation": [[2, 0.9], [3, 0.7]], "training accuracy": [[2, 0.3], [3, 0.7]],
                     "evaluation accuracy": [[2, 0.6], [3, 0.8]], "evaluation macro-F1": [[2, 0.5], [3, 0.7]]}


@pytest.mark.filterwarnings("error")
def test_a_run_without_scores_has_curves_of_its_loss():
    pytest.importorskip("matplotlib")
    history = [{name: value for name, value in record.items() if not name.endswith(("accuracy", "f1"))} for record in HISTORY]
    loss, scores = plot_history(history).axes
    assert [len(axes.lines) for axes in (loss, scores)] == [3, 0]
    assert loss.lines[2].get_xydata().tolist() == [[2, 0.9], [3, 0.7]]


def test_confusion_matrix(tmp_path):
    pytest.importorskip("matplotlib")
    figure = plot_confusion_matrix(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]), ["a", "b", "never"])
    axes, = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])
    assert {(text.get_position(), text.get_text()) for text in axes.texts} == {((0, 0), "3"), ((1, 0), "1"), ((1, 1), "2")}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "never"]
    figure.savefig(tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_error_says_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'need matplotlib .*: pip install "minigrad-learn\[viz\]"'):
        plot_history(HISTORY)
