"""In a notebook the run is one cell, updated in place: a bar, a table that has the records' numbers, and a curve."""

import sys
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import pytest
from test_train_run import new_trainer

from minigrad.train import notebook
from minigrad.train.callbacks import ProgressCallback
from minigrad.train.notebook import NotebookProgressCallback


@pytest.fixture
def cells(monkeypatch):
    """A notebook's display: each cell is the list of what it showed."""
    cells = []

    def display(page, display_id):
        assert display_id is True
        cells.append([page])
        return SimpleNamespace(update=cells[-1].append)

    package, module = ModuleType("IPython"), ModuleType("IPython.display")
    package.get_ipython, package.display, module.display = lambda: SimpleNamespace(kernel=1), module, display
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(notebook, "PERIOD", 0)
    return cells


def parsed(page):
    return ElementTree.fromstring(f"<page>{page._repr_html_()}</page>")


def test_a_run_is_one_cell_with_a_live_table_and_a_curve(tmp_path, cells, capsys):
    trainer = new_trainer(tmp_path, logging_steps=1, save_strategy="no")
    trainer.train()
    (shown,) = cells
    assert len(shown) >= 12 and capsys.readouterr().err == ""
    assert "min left" in repr(shown[3]) and repr(shown[-1]) == "step 12 of 12, epoch 2.00 of 2"
    page = parsed(shown[-1])
    assert page.find(".//progress").attrib["value"] == "12"
    head, *rows = [[cell.text or "" for cell in row] for row in page.iter("tr")]
    evaluations = [record for record in trainer.history if "eval_loss" in record]
    assert [row[0] for row in rows] == ["6", "12"]
    for row, record in zip(rows, evaluations, strict=True):
        told = dict(zip(head, row, strict=True))
        assert told["eval_loss"] == f"{record['eval_loss']:.4g}" and told["epoch"] == f"{record['epoch']:g}"
        assert told["eval_accuracy"] == f"{record['eval_accuracy']:.4g}" and "loss" in told
    assert not [name for name in head if "second" in name or "runtime" in name]
    lines = {line.attrib["stroke"]: line.attrib["points"].split() for line in page.iter("polyline")}
    assert len(lines["#36c"]) >= 12 and len(lines["#c63"]) >= 2
    assert all(
        0 <= float(x) <= 420 and 0 <= float(y) <= 180
        for points in lines.values()
        for x, y in [p.split(",") for p in points]
    )


def test_without_evaluations_the_records_are_the_rows(tmp_path, cells):
    new_trainer(tmp_path, logging_steps=2, eval_strategy="no", save_strategy="no").train()
    head, *rows = [[cell.text for cell in row] for row in parsed(cells[0][-1]).iter("tr")]
    assert head == ["step", "epoch", "loss", "accuracy"] and [row[0] for row in rows] == [
        "2",
        "4",
        "6",
        "8",
        "10",
        "12",
    ]


def test_a_resumed_run_shows_the_records_before_it(tmp_path, cells):
    new_trainer(tmp_path, max_steps=6, save_steps=6, logging_steps=2, eval_strategy="no").train()
    new_trainer(tmp_path, max_steps=6, save_steps=6, logging_steps=2, eval_strategy="no", num_train_epochs=2).train(
        True
    )
    rows = [[cell.text for cell in row] for row in parsed(cells[1][0]).iter("tr")]
    assert [row[0] for row in rows] == ["step", "2", "4", "6"]


def test_elsewhere_it_is_a_bar(tmp_path, cells, monkeypatch):
    def kinds(**more):
        return {type(callback) for callback in new_trainer(tmp_path, **more).handler.callbacks}

    assert NotebookProgressCallback in kinds() and NotebookProgressCallback not in kinds(disable_tqdm=True)
    sys.modules["IPython"].get_ipython = lambda: SimpleNamespace()  # in a terminal
    assert ProgressCallback in kinds() and NotebookProgressCallback not in kinds()
    monkeypatch.delitem(sys.modules, "IPython")
    assert ProgressCallback in kinds()
