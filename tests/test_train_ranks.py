"""N ranks are one rank: the same weights, records and predictions, for every task and wherever the run was cut."""

import numpy as np
import pytest
import rank_runs
from mpi import needs_mpi, program, ranks

from minigrad.pretrained.checkpoint import safetensors
from minigrad.train import TrainingArguments

pytestmark = [pytest.mark.slow, needs_mpi]
PROGRAM = rank_runs.__file__


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The directory with what one, two and three ranks made of every case."""
    directory = tmp_path_factory.mktemp("ranks")
    for n in (1, 2, 3):
        done = ranks(n, PROGRAM, directory, n, *rank_runs.CASES)
        assert done.returncode == 0, done.stderr
    return directory


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("case", rank_runs.CASES)
def test_ranks_are_one_rank(runs, case, n):
    one, many = (np.load(runs / f"{case}-{count}.npz") for count in (1, n))
    assert set(one) == set(many) and len(one) > 20
    for name in one:
        np.testing.assert_allclose(many[name], one[name], rtol=1e-11, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("n", [2, 3])
def test_a_shared_out_optimiser_state_changes_no_bit_and_takes_its_share(runs, n):
    sharded, whole = (np.load(runs / f"{case}-{n}.npz") for case in ("sharded", "whole"))
    for name in whole:
        np.testing.assert_array_equal(sharded[name], whole[name], err_msg=name)
    held, all_of_it = (
        [int(np.load(runs / f"{case}-{n}-held-{rank}.npz")["bytes"]) for rank in range(n)]
        for case in ("sharded", "whole")
    )
    assert sum(held) == all_of_it[0] and max(held) < 1.05 * all_of_it[0] / n


@pytest.mark.parametrize(("case", "before", "after"), [("classes", 1, 3), ("classes", 2, 1), ("sharded", 3, 2)])
def test_a_run_goes_on_with_another_number_of_ranks(runs, tmp_path, case, before, after):
    for n, resume in ((before, "no"), (after, "resume")):
        done = ranks(n, PROGRAM, tmp_path, n, case, CUT=resume)
        assert done.returncode == 0, done.stderr
    whole, cut = np.load(runs / f"{case}-1.npz"), np.load(tmp_path / f"{case}-{after}.npz")
    for name in whole:
        np.testing.assert_allclose(cut[name], whole[name], rtol=1e-11, atol=1e-12, err_msg=name)


def test_one_rank_alone_writes_and_reports(runs):
    assert sorted(path.name for path in (runs / "classes-3").iterdir()) == ["metrics.jsonl", "run.json"]


def test_a_rank_with_other_data_or_arguments_is_named(tmp_path):
    for what in ("data", "rate", "model"):
        done = ranks(2, PROGRAM, tmp_path, 2, "classes", OTHER=what)
        expected = {
            "data": "train_dataset from rank 0",
            "rate": "set of arguments from rank 0: learning_rate 0.02, not learning_rate 0.01",
            "model": "model from rank 0: bert.embeddings.word_embeddings.weight ('float64', 21, 8), not bert.",
        }
        assert done.returncode != 0 and f"rank 1 has a different {expected[what]}" in done.stderr, done.stderr
        assert done.stderr.count("Traceback") == 1


def test_a_batch_size_that_each_rank_would_find_for_itself_is_refused(tmp_path):
    done = ranks(2, PROGRAM, tmp_path, 2, "classes", OTHER="auto")
    assert "auto_find_batch_size=True with 2 ranks" in done.stderr
    assert TrainingArguments(output_dir=tmp_path).auto_find_batch_size is False


ADAPTERS = """
import sys
import numpy as np
from minigrad.finetune import LoraConfig, get_peft_model
from minigrad.pretrained import BertConfig, BertForSequenceClassification
from minigrad.train import Trainer, TrainingArguments

sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
model = get_peft_model(BertForSequenceClassification(BertConfig(**sizes), rng=0), LoraConfig(r=2), rng=0)
data = [{"input_ids": np.array([1, 2 + i % 3]), "labels": i % 2} for i in range(8)]
options = {"max_steps": 1, "per_device_train_batch_size": 2, "save_strategy": "no", "zero_stage": int(sys.argv[2])}
arguments = TrainingArguments(sys.argv[1], report_to=[], **options)
trainer = Trainer(model, arguments, data)
trainer.train()
trainer.save_model(sys.argv[1])
"""


@pytest.mark.parametrize("zero_stage", [0, 1])
def test_ranks_write_no_frozen_weight_into_the_file_of_an_adapter(zero_stage, tmp_path):
    """What every rank has already is not written into, or it would count as trained."""
    done = program(2, ADAPTERS, tmp_path, zero_stage)
    assert done.returncode == 0, done.stderr
    names = safetensors.read(tmp_path / "adapter_model.safetensors")
    assert len(names) == 4 and all(".lora_" in name for name in names), names
