"""Arguments out of range, and output directories in use, are refused before any work is done."""

import copy
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
import tiny_bert

from minigrad.train import TrainingArguments


@pytest.mark.parametrize(
    "given, told",
    [
        ({"num_train_epochs": 0}, "num_train_epochs is 0; expected a finite number above 0"),
        ({"num_train_epochs": -0.5}, "num_train_epochs is -0.5; expected a finite number above 0"),
        ({"gradient_accumulation_steps": -1}, "gradient_accumulation_steps is -1"),
        ({"logging_steps": 0}, "logging_steps is 0; expected a finite number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"max_grad_norm": float("inf")}, "max_grad_norm is inf; expected a finite number from 0 upwards"),
        ({"warmup_ratio": 1.5}, "warmup_ratio is 1.5; expected a finite number from 0 to 1"),
        (
            {"per_device_train_batch_size": 10**19},
            "batch_size is 1e[+]19; expected a finite number from 1 to 2147483647",
        ),
        (
            {"gradient_accumulation_steps": "9" * 20},
            "gradient_accumulation_steps is 1e[+]20; expected a finite number from 1 to",
        ),
        ({"logging_steps": 2**31}, "logging_steps is 2.14748e[+]09; expected a finite number from 0 to 2147483647"),
        ({"fp16": True, "bf16": True}, "fp16=True and bf16=True: expected one of them"),
        ({"lr_scheduler_type": "cosin"}, "lr_scheduler_type is 'cosin'; expected one of .*: type 'cosine'"),
        ({"eval_strategy": "epochs"}, "eval_strategy is 'epochs'; expected one of no, steps, epoch: type 'epoch'"),
        ({"optim": "adamw_torch_fusd"}, "type 'adamw_torch_fused'"),
        (
            {"load_best_model_at_end": True},
            'load_best_model_at_end needs evaluations and checkpoints at the same steps, but .*"no"',
        ),
        (
            {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 40},
            "save_steps to be a multiple of eval_steps",
        ),
        ({"dataloader_num_workers": -1}, "dataloader_num_workers is -1; expected a finite number from 0"),
        ({"optim_args": "momentum"}, "optim_args is 'momentum'; expected a dict, or a text such as"),
        ({"save_total_limit": 0}, "save_total_limit is 0; expected a finite number from 1"),
    ],
)
def test_what_is_out_of_range(given, told):
    with pytest.raises(ValueError, match=told):
        TrainingArguments("out", **given)


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"learning_rate": "2e-4", "num_train_epochs": "2", "seed": "7", "fp16": "True"}, (2e-4, 2.0, 7, True)),
        ({"learning_rate": 1, "num_train_epochs": 2.0, "seed": 7.0, "fp16": "no"}, (1.0, 2.0, 7, False)),
        (
            {"learning_rate": np.float32(0.5), "num_train_epochs": np.int64(2), "seed": np.int64(7), "fp16": 1},
            (0.5, 2.0, 7, True),
        ),
        (
            {"learning_rate": " 0.5 ", "num_train_epochs": 0.25, "seed": 2**60 + 1, "fp16": np.bool_(True)},
            (0.5, 0.25, 2**60 + 1, True),
        ),
    ],
)
def test_numbers_are_converted(given, expected):
    args = TrainingArguments("out", **given)
    found = args.learning_rate, args.num_train_epochs, args.seed, args.fp16
    assert found == expected and [type(value) for value in found] == [float, float, int, bool]


@pytest.mark.parametrize(
    "given, told",
    [
        ({"learning_rate": "fast"}, "learning_rate is 'fast'; expected a number"),
        ({"learning_rate": True}, "learning_rate is True; expected a number"),
        ({"learning_rate": [1e-4]}, r"learning_rate is \[0.0001\]; expected a number"),
        ({"weight_decay": None}, "weight_decay is None; expected a number"),
        ({"seed": 1.5}, "seed is 1.5; expected a whole number"),
        ({"logging_steps": "2.5"}, "logging_steps is 2.5; expected a whole number, or a fraction of all steps below 1"),
        (
            {"per_device_train_batch_size": float("nan")},
            "per_device_train_batch_size is nan; expected a finite number from 1",
        ),
        ({"fp16": "maybe"}, "fp16 is 'maybe'; expected True or False"),
        ({"overwrite_output_dir": 2}, "overwrite_output_dir is 2; expected True or False"),
    ],
)
def test_what_is_no_number(given, told):
    with pytest.raises(ValueError, match=told):
        TrainingArguments("out", **given)


@pytest.mark.parametrize(
    "given, told",
    [
        ("lr", "TrainingArguments has no argument 'lr': type learning_rate="),
        ("epochs", "type num_train_epochs="),
        ("batch_size", "type per_device_train_batch_size="),
        ("learningrate", "type learning_rate="),
        ("gradient_acumulation_steps", "type gradient_accumulation_steps="),
        ("xyz", "it has output_dir, overwrite_output_dir"),
    ],
)
def test_unknown_names_answer_with_the_nearest(given, told):
    with pytest.raises(TypeError, match=told):
        TrainingArguments("out", **{given: 1})


def test_an_output_directory_has_a_name():
    with pytest.raises(TypeError, match="output_dir is None; expected the name of a directory"):
        TrainingArguments(None)


def test_a_metric_may_have_the_name_it_has_in_the_records():
    assert [
        TrainingArguments("out", metric_for_best_model=name).metric_for_best_model
        for name in ("eval_loss", "loss", "eval_accuracy", None)
    ] == ["loss", "loss", "accuracy", None]


def test_arguments_can_be_copied():
    args = TrainingArguments("out", seed=3)
    assert copy.deepcopy(args) == pickle.loads(pickle.dumps(args)) == replace(args) == args
    assert replace(args, seed="4").seed == 4


def test_a_new_or_empty_output_directory_is_taken(tmp_path):
    TrainingArguments(tmp_path / "new").check_output_dir()
    assert not (tmp_path / "new").exists()
    (tmp_path / ".left-by-a-crash").touch()
    TrainingArguments(tmp_path).check_output_dir()


def test_a_model_is_overwritten_on_request_only(tmp_path):
    tiny_bert.save_model(tmp_path)
    with pytest.raises(
        FileExistsError, match="already holds a model.* left unchanged: pass another directory, or overwrite=True"
    ):
        TrainingArguments(tmp_path).check_output_dir()
    TrainingArguments(tmp_path, overwrite_output_dir=True).check_output_dir()


@pytest.mark.parametrize("overwrite", [False, True])
def test_anything_else_is_never_overwritten(tmp_path, overwrite):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(
        ValueError, match=r"holds something other than a model \(thesis.tex\): pass a new or an empty directory"
    ):
        TrainingArguments(tmp_path, overwrite).check_output_dir()
    with pytest.raises(NotADirectoryError, match="thesis.tex is a file"):
        TrainingArguments(tmp_path / "thesis.tex", overwrite).check_output_dir()


def test_names_and_defaults_are_hugging_faces():
    """Of all that both have, but for `warmup_ratio` and `group_by_length`, which are their older names for what they
    have.
    """
    theirs = pytest.importorskip("transformers").TrainingArguments
    known = {field.name: field.default for field in fields(theirs)}
    ours = {field.name: field.default for field in fields(TrainingArguments)}
    assert set(ours) - set(known) == {
        *("overwrite_output_dir", "ema_decay", "zero_stage", "reduce_dtype"),
        *("warmup_ratio", "group_by_length"),
    }
    same = set(ours) & set(known) - {"output_dir", "gradient_checkpointing"}
    assert {name: ours[name] for name in same} == {name: known[name] for name in same}


@pytest.mark.parametrize(
    "given, name, expected",
    [
        (
            {"optim_args": "momentum=0.9,nesterov=True,kind=fast"},
            "optim_args",
            {"momentum": 0.9, "nesterov": True, "kind": "fast"},
        ),
        ({"lr_scheduler_kwargs": '{"num_cycles": 2}'}, "lr_scheduler_kwargs", {"num_cycles": 2}),
        ({"save_total_limit": "3"}, "save_total_limit", 3),
        ({"max_steps": "10"}, "max_steps", 10),
        ({"eval_steps": "0.25"}, "eval_steps", 0.25),
        ({"data_seed": "none"}, "data_seed", None),
        ({"report_to": "tensorboard, jsonl"}, "report_to", ["tensorboard", "jsonl"]),
        ({"report_to": "none"}, "report_to", []),
        ({"save_strategy": "EPOCH"}, "save_strategy", "epoch"),
        ({"eval_strategy": False}, "eval_strategy", "no"),
        ({"resume_from_checkpoint": "true"}, "resume_from_checkpoint", True),
        ({"resume_from_checkpoint": "out/checkpoint-2"}, "resume_from_checkpoint", "out/checkpoint-2"),
    ],
)
def test_texts_of_a_command_line_are_converted(given, name, expected):
    found = getattr(TrainingArguments("out", **given), name)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    "given, greater",
    [
        ({"metric_for_best_model": "eval_loss"}, False),
        ({"metric_for_best_model": "f1"}, True),
        ({"metric_for_best_model": "f1", "greater_is_better": "no"}, False),
        ({}, None),
    ],
)
def test_the_direction_of_a_metric_is_settled_as_hugging_face_does(given, greater):
    assert TrainingArguments("out", **given).greater_is_better is greater


def test_steps_below_one_are_parts_of_all_steps():
    args = TrainingArguments("out", eval_steps=0.1, save_steps=7, warmup_steps=0.25)
    assert (args.every("eval", 55), args.every("save", 55), args.every("logging", 55), args.warmup(40)) == (
        6,
        7,
        500,
        10,
    )
    assert (
        TrainingArguments("out", warmup_ratio=0.5).warmup(5) == 3
        and TrainingArguments("out", warmup_ratio=0.5).warmup(1) == 0
    )
    assert TrainingArguments("out", warmup_steps=6, warmup_ratio=0.5).warmup(20) == 6
