"""Where records go: the statistics of gradients and weights, and Weights & Biases without a network."""

import json
import struct
import sys

import numpy as np
import pytest
from test_train_run import new_trainer

from minigrad.train.tensorboard import numbers


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


def contents(path):
    """The records of an offline run, a log in LevelDB's format: blocks of 32 KiB of (check, length, kind, bytes)."""
    data, at, content = path.read_bytes(), 7, b""
    while at < len(data):
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15
        _, length, part = struct.unpack_from("<IHB", data, at)
        content += data[at + 7 : at + 7 + length]
        at += 7 + length
        if part in (1, 4):  # a whole record, or the last part of one
            yield content
            content = b""


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    """What the library kept on this machine is what the run recorded."""
    wandb = pytest.importorskip("wandb")
    protocol = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    trainer = new_trainer(tmp_path, max_steps=4, save_steps=2, report_to="wandb", run_name="mine")
    trainer.train()
    wandb.teardown()  # waits until its own process has written all
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    found, names = [], []
    for content in contents(file):
        record = protocol.Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            found.append({name: value for name, value in items.items() if not name.startswith("_")})
        elif record.WhichOneof("record_type") == "run":
            names.append(record.run.display_name)
    assert names[0] == "mine" and len(found) == len(trainer.history)
    for row, record in zip(found, trainer.history, strict=True):
        assert row == {**numbers(record), "train/global_step": record["step"]}
    assert "train/loss" in found[0] and "eval/accuracy" in found[-2]
