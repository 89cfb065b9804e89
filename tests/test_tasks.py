"""The names of tasks, and which of them a model directory is for."""

import json

import pytest
import tiny_bert

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


def test_a_model_without_a_head_is_for_no_task(tmp_path):
    base = tiny_bert.save_model(tmp_path)
    with pytest.raises(ValueError, match=r"holds a model of the kind \[.BertModel.\], which is for no task; expected"):
        task_of(base)
    entries = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(entries | {"architectures": ["BertForSequenceClassification"]}))
    assert task_of(base).name == "text-classification"
