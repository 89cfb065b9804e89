"""Where records go: the statistics of gradients and weights, and Weights & Biases without a network."""

import sys

import numpy as np
import pytest
from test_train_run import new_trainer


def test_statistics_are_the_norms_of_the_gradients_and_weights(tmp_path):
    trainer = new_trainer(tmp_path, max_steps=4, report_to="statistics", max_grad_norm=0)
    trainer.train()
    rows = trainer.handler.callbacks[2].rows
    assert {row[0] for row in rows} == {2, 4} and len(rows) == 2 * len(trainer.model.parameters())
    joint = np.sqrt(sum(row[2] ** 2 for row in rows if row[0] == 4))
    assert joint == pytest.approx([record for record in trainer.history if "loss" in record][-1]["grad_norm"], rel=1e-5)
    page = (tmp_path / "statistics.html").read_text()
    assert page.count("<tr>") == 1 + len(trainer.model.parameters()) and "bert.pooler.dense.weight" in page


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r'report_to="wandb" needs wandb .*pip install "minigrad-learn\[wandb\]"'):
        new_trainer(tmp_path, report_to="wandb")


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    new_trainer(tmp_path, max_steps=4, report_to="wandb").train()
    assert list((tmp_path / "wandb").glob("offline-run-*"))
