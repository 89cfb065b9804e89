"""Arguments out of range, and output directories in use, are refused before any work is done."""
import pytest
import tiny_bert

from minigrad.train import TrainingArguments


@pytest.mark.parametrize("given, told", [
    ({"num_train_epochs": 0}, "num_train_epochs is 0; expected a finite number from 1 upwards"),
    ({"gradient_accumulation_steps": -1}, "gradient_accumulation_steps is -1"),
    ({"logging_steps": 0}, "logging_steps is 0; expected a finite number from 1 upwards"),
    ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ({"max_grad_norm": float("inf")}, "max_grad_norm is inf; expected a finite number from 0 upwards"),
    ({"warmup_ratio": 1.5}, "warmup_ratio is 1.5; expected a finite number from 0 to 1"),
    ({"fp16": True, "bf16": True}, "fp16=True and bf16=True: expected one of them"),
    ({"metric_for_best_model": "bleu"}, "'bleu'; expected one of accuracy, macro_f1, loss"),
])
def test_what_is_out_of_range(given, told):
    with pytest.raises(ValueError, match=told):
        TrainingArguments("out", **given)


def test_a_new_or_empty_output_directory_is_taken(tmp_path):
    TrainingArguments(tmp_path / "new").check_output_dir()
    assert not (tmp_path / "new").exists()
    (tmp_path / ".left-by-a-crash").touch()
    TrainingArguments(tmp_path).check_output_dir()


def test_a_model_is_overwritten_on_request_only(tmp_path):
    tiny_bert.save_model(tmp_path)
    with pytest.raises(FileExistsError, match="holds a model already.* left as it is: pass another directory, or overwrite=True"):
        TrainingArguments(tmp_path).check_output_dir()
    TrainingArguments(tmp_path, overwrite_output_dir=True).check_output_dir()


@pytest.mark.parametrize("overwrite", [False, True])
def test_anything_else_is_never_overwritten(tmp_path, overwrite):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"holds something other than a model \(thesis.tex\): pass a new or an empty directory"):
        TrainingArguments(tmp_path, overwrite).check_output_dir()
    with pytest.raises(NotADirectoryError, match="thesis.tex is a file"):
        TrainingArguments(tmp_path / "thesis.tex", overwrite).check_output_dir()
