"""verify-resume proves a run that can be resumed, finds one that cannot, and kills processes."""

import numpy as np
import pytest
import tiny_bert
from test_train_run import new_trainer
from test_train_trainer import new_model

import minigrad as mg
from minigrad.cli import main
from minigrad.data import DataCollatorWithPadding
from minigrad.pretrained import BertForSequenceClassification
from minigrad.train import verify_resume


def make(output):
    """For `minigrad verify-resume DIR --trainer test_train_verify:make`."""
    return new_trainer(output, num_train_epochs=2, save_strategy="no")


class Hidden:
    """A collator that draws from what no one can find: a generator in a closure of a C function."""

    def __init__(self):
        self.next = iter(np.random.default_rng().random, None).__next__

    def __call__(self, items):
        batch = DataCollatorWithPadding()(items)
        batch["input_ids"][:, -1] = int(9 * self.next())
        return batch


def test_a_run_that_can_be_resumed():
    assert verify_resume(make, steps=4) == []


def test_a_run_whose_model_was_given_the_generator_of_mg_seed():
    def seeded(output):
        mg.seed(0)
        return new_trainer(output, BertForSequenceClassification(new_model().config))

    try:
        assert verify_resume(seeded, steps=2) == []
    finally:
        mg.seed(None)


def test_a_run_that_cannot_is_found_out():
    told = verify_resume(lambda output: new_trainer(output, data_collator=Hidden()), steps=2)
    assert any("model.safetensors: " in line for line in told)


def test_a_run_that_is_too_short():
    with pytest.raises(ValueError, match="the run ends before step 40: give fewer steps"):
        verify_resume(make, steps=20)


def test_the_command(tmp_path, capsys, monkeypatch):
    pytest.importorskip("tokenizers")
    monkeypatch.chdir(tmp_path)
    tiny_bert.save_model(tmp_path / "base")
    tiny_bert.save_csv(tmp_path / "train.csv", tiny_bert.examples())
    assert main("finetune base --train train.csv --output out --epochs 2 --batch-size 8".split()) == 0
    capsys.readouterr()
    assert main("verify-resume out --steps 4".split()) == 0
    assert capsys.readouterr().out == "8 steps, and 4 + 4: the same, bit for bit\n"
    assert main("verify-resume base".split()) == 2 and "base has no finetune.json" in capsys.readouterr().err
    assert main("verify-resume out --steps 3 --kills 1".split()) == 0
    assert "killed 1 times" in capsys.readouterr().out
