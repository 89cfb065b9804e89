"""The names of tasks, and which of them a model directory is for."""

import json

import pytest
import tiny_bert

from minigrad.pretrained import BertConfig, BertForSequenceClassification
from minigrad.tasks import ALIASES, TASKS, task_class, task_of


def test_every_task_has_its_name_and_answers_to_it():
    for name in TASKS:
        assert task_class(name).name == name
    for other, name in ALIASES.items():
        if name in TASKS:
            assert task_class(other) is task_class(name)


def test_a_name_that_is_none_is_told_the_nearest():
    with pytest.raises(
        ValueError, match="task is 'text-clasification'; expected one of 'text-classification'.* did you"
    ):
        task_class("text-clasification")
    with pytest.raises(ValueError, match=r"task is \['ner'\]; expected one of"):
        task_class(["ner"])


def test_the_architecture_tells_the_task(tmp_path):
    base = tiny_bert.save_model(tmp_path)
    assert task_of(base).name == "text-classification"  # though it has no head, which loading it will tell
    config = BertConfig(hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    assert task_of(BertForSequenceClassification(config, rng=0)).name == "text-classification"
    entries = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(entries | {"architectures": ["X"], "model_type": "marvin"}))
    with pytest.raises(ValueError, match=r"a model of the kind \[.X.\] cannot be used; expected one"):
        task_of(base)
