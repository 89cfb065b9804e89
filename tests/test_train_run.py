"""Resuming: k steps, and k more in another trainer, give the 2k steps of an uninterrupted run, bit for bit."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_train_trainer import CLASSES, assert_same, dataset, new_model, weights

import minigrad as mg
from minigrad import nn
from minigrad.data import Subset
from minigrad.nn import Module
from minigrad.train import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments, latest_checkpoint
from minigrad.train import checkpoint as checkpoints

ROOT = Path(__file__).parent.parent
DIFFERENT = ("_runtime", "_per_second", "seconds")


def new_trainer(output, model=None, data=None, **more):
    arguments = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
        "logging_steps": 2,
        "eval_strategy": "epoch",
        "save_steps": 1,
        "seed": 3,
    }
    options = {name: more.pop(name) for name in ("callbacks", "plan", "data_collator", "optimizers") if name in more}
    return Trainer(
        model or new_model(),
        TrainingArguments(output, **arguments | more),
        data or dataset(44),
        dataset(21, seed=1),
        **options,
    )


def told(history):
    return [{name: value for name, value in record.items() if not name.endswith(DIFFERENT)} for record in history]


def assert_same_run(resumed, whole):
    assert_same(weights(resumed.model), weights(whole.model))
    assert told(resumed.history) == told(whole.history)
    assert resumed.state.best_metric == whole.state.best_metric


class Noisy:
    """A collator that draws: token dropout, from a generator of its own and from the global ones."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.pad = mg.data.DataCollatorWithPadding()

    def __call__(self, items):
        batch = self.pad(items)
        ids = batch["input_ids"]
        batch["input_ids"] = np.where(
            self.rng.random(ids.shape) + 0.1 * random.random() + 0.1 * np.random.random() < 0.2, 2, ids
        )
        return batch


FEATURES = {
    "dropout, shuffling, accumulation": {},
    "length groups": {"group_by_length": True},
    "float16": {"fp16": True},
    "bfloat16": {"bf16": True},
    "averages": {"ema_decay": 0.9},
    "momentum and cosine": {
        "optim": "sgd",
        "optim_args": "momentum=0.9",
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.3,
    },
    "a plateau": {
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"patience": 0, "threshold": 10.0},
    },
    "the best model": {
        "load_best_model_at_end": True,
        "save_strategy": "steps",
        "eval_strategy": "steps",
        "eval_steps": 1,
    },
    "max_steps in an epoch": {"max_steps": 9},
    "drop_last and data_seed": {"dataloader_drop_last": True, "data_seed": 9},
    "smoothing": {"label_smoothing_factor": 0.1},
    "workers": {"dataloader_num_workers": 3, "group_by_length": True},
    "recomputing": {"gradient_checkpointing": True},
}


def two_layers():
    from minigrad.pretrained import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(
        BertConfig(
            vocab_size=9,
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=8,
            num_labels=CLASSES,
            max_position_embeddings=16,
            initializer_range=0.2,
        ),
        rng=0,
    )


@pytest.mark.parametrize("name", FEATURES)
def test_k_and_k_steps_are_2k_steps(tmp_path, name):
    features, model = FEATURES[name], two_layers if name == "recomputing" else new_model
    whole = new_trainer(tmp_path / "whole", model(), **features)
    whole.train()
    assert len({str(record) for record in told(whole.history)}) == len(whole.history)
    for step in (1, 5, 6, whole.steps - 1, whole.steps):
        parts = new_trainer(tmp_path / str(step), model(), **features)
        parts.train(resume_from_checkpoint=tmp_path / "whole" / f"checkpoint-{step}")
        assert_same_run(parts, whole)


def test_a_collator_that_draws_goes_on_drawing(tmp_path):
    random.seed(1)
    np.random.seed(1)
    whole = new_trainer(tmp_path / "whole", data_collator=Noisy(0))
    whole.train()
    random.seed(2)
    np.random.seed(2)
    parts = new_trainer(tmp_path / "parts", data_collator=Noisy(5))
    parts.train(tmp_path / "whole" / "checkpoint-5")
    assert_same_run(parts, whole)


class DrawingItems:
    """Token dropout in the items, from a generator of the dataset's own, which an evaluation draws from, too."""

    def __init__(self, seed, n=44):
        self.items, self.rng = dataset(n), np.random.default_rng(seed)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        item = self.items[i]
        ids = np.array(item["input_ids"])
        return {**item, "input_ids": np.where(self.rng.random(len(ids)) < 0.3, 2, ids).tolist()}


@pytest.mark.parametrize("workers", [0, 2])
def test_items_that_draw_go_on_drawing_with_any_number_of_workers(tmp_path, workers):
    def new(name, seed, number):
        data = DrawingItems(seed)
        trainer = new_trainer(
            tmp_path / name, data=data, dataloader_num_workers=number, eval_strategy="steps", eval_steps=3
        )
        trainer.eval_dataset = Subset(data, range(20))
        return trainer

    whole = new("whole", 1, 0)
    whole.train()
    for step in (2, 3, 7):
        parts = new(f"{step}", 9, workers)
        parts.train(tmp_path / "whole" / f"checkpoint-{step}")
        assert_same_run(parts, whole)
    other = new("other", 1, workers)
    other.train()
    assert_same_run(other, whole)
    parts = new("parts", 9, 0)
    parts.train(tmp_path / "other" / "checkpoint-5")
    assert_same_run(parts, whole)


class ScoresOf(TrainerCallback):
    """Evaluations that are as told: by the evaluation's number, so that a resumed run must know it."""

    def __init__(self, losses):
        self.losses, self.seen = losses, 0

    def on_evaluate(self, args, state, control, metrics=None, **more):
        metrics["eval_loss"] = self.losses[self.seen]
        self.seen += 1

    def state_dict(self):
        return {"seen": self.seen}


@pytest.mark.parametrize("step", [3, 6, 12, 18])
def test_early_stopping_stops_a_resumed_run_where_it_stops_the_whole_one(tmp_path, step):
    """Best in epoch 2; patience 2, so epoch 4 is the last of 6, whether the run stopped in between or not."""

    def new(output):
        return new_trainer(
            output,
            num_train_epochs=6,
            metric_for_best_model="loss",
            callbacks=[ScoresOf([3.0, 1.0, 2.0, 1.5, 9.0]), EarlyStoppingCallback(2)],
        )

    whole, parts = new(tmp_path / "whole"), new(tmp_path / "parts")
    whole.train()
    assert whole.step == 24
    parts.train(tmp_path / "whole" / f"checkpoint-{step}")
    assert_same_run(parts, whole)


@pytest.mark.parametrize("seeded", [False, True])
def test_a_run_with_other_generators_is_told_of_mg_seed_and_nothing_is_changed(tmp_path, seeded):
    def new(on):
        mg.seed(0 if on else None)
        return new_trainer(tmp_path, max_steps=2)

    try:
        new(seeded).train()
        other = new(not seeded)
        before = weights(other.model)
        with pytest.raises(ValueError, match="cannot resume from .* call mg.seed before the model is made if that run"):
            other.train(True)
        assert_same(weights(other.model), before)
        assert new(seeded).train(True).global_step == 2
    finally:
        mg.seed(None)


@pytest.mark.parametrize("event", ["on_step_end", "on_evaluate"])
def test_a_run_that_a_callback_stopped_goes_on_without_it(tmp_path, event):
    """What asks a run to stop is the callback, not the checkpoint: the first part is then that of a shorter run."""

    class Stop(TrainerCallback):
        def __init__(self, step):
            self.step = step

        def stop(self, args, state, control, **more):
            control.should_training_stop |= state.global_step >= self.step

        def state_dict(self):
            return {}

    setattr(Stop, event, Stop.stop)
    whole, stopped = new_trainer(tmp_path / "whole"), new_trainer(tmp_path / "parts", callbacks=[Stop(6)])
    whole.train()
    assert stopped.train().global_step == 6 < whole.step
    later = new_trainer(tmp_path / "parts", callbacks=[Stop(8)])
    assert later.train(True).global_step == (8 if event == "on_step_end" else whole.step)
    resumed = new_trainer(tmp_path / "parts")
    resumed.train(tmp_path / "parts" / "checkpoint-6")
    assert_same(weights(resumed.model), weights(whole.model))
    assert resumed.step == whole.step


def test_a_run_that_stopped_early_goes_on_with_more_patience(tmp_path):
    def new(patience):
        stopping = EarlyStoppingCallback(patience, early_stopping_threshold=9.0)  # which no evaluation comes up to
        return new_trainer(tmp_path, num_train_epochs=6, metric_for_best_model="loss", callbacks=[stopping])

    assert new(2).train().global_step == 18
    assert new(2).train(True).global_step == 18
    assert new(4).train(True).global_step == 30


@pytest.mark.parametrize("again", [False, True])
def test_freezing_and_unfreezing_shifts_no_memory(tmp_path, again):
    """The optimiser's state is kept by name: a model that was half frozen goes on with what each parameter had."""

    class Unfreeze(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **more):
            if state.global_step == 4:
                model.unfreeze("bert.**")
                model.freeze("classifier.**")
            elif state.global_step == 8:
                model.unfreeze()

    def new(output):
        model = new_model()
        model.freeze("bert.**")
        return new_trainer(output, model, callbacks=[Unfreeze])

    whole, parts = new(tmp_path / "whole"), new(tmp_path / "parts")
    whole.train()
    parts.train(tmp_path / "whole" / f"checkpoint-{9 if again else 5}")
    assert_same_run(parts, whole)


def test_steps_in_the_middle_of_an_epoch_with_a_plan(tmp_path):
    """Phases, gradual unfreezing, a setting that moves, batches that grow, evaluations that are due: resumed at every
    step.
    """
    plan = pytest.importorskip("minigrad.train.plan")

    def new(output):
        schedule = (
            plan.Plan()
            .phase("head", until=0.25, freeze="bert.**", lr=plan.linear(0, 1e-2))
            .phase("top", until=0.5, unfreeze="bert.pooler.**", lr=plan.cosine(1e-2, 1e-3))
            .phase("all", until=1.0, unfreeze="bert.**", lr=5e-3)
            .at(3, plan.set("**.dropout", p=0.3, over=6), batch_size=12)
            .every(4, "evaluate", "log")
        )
        return new_trainer(output, plan=schedule, logging_steps=1, eval_strategy="no")

    whole = new(tmp_path / "whole")
    whole.train()
    assert [record["step"] for record in whole.history if "eval_loss" in record] == [4, 8, 12]
    assert sum("plan" in record for record in whole.history) >= 4
    assert [record["learning_rate"] for record in whole.history if "learning_rate" in record] == [
        whole.bound.state(step).lr for step in range(12)
    ]
    for step in range(1, 13):
        parts = new(tmp_path / str(step))
        parts.train(tmp_path / "whole" / f"checkpoint-{step}")
        assert_same_run(parts, whole)


# What is on the disk.


def test_a_checkpoint_holds_no_pickle_and_is_a_model_by_itself(tmp_path):
    new_trainer(tmp_path, max_steps=1, ema_decay=0.5).train()
    names = {path.name for path in (tmp_path / "checkpoint-1").iterdir()}
    assert names == {
        "model.safetensors",
        "config.json",
        "optimizer.safetensors",
        "optimizer.json",
        "ema.safetensors",
        "manifest.json",
        "trainer_state.json",
        "run_state.json",
        "training_args.json",
        "environment.json",
    }
    assert type(new_model()).from_pretrained(tmp_path / "checkpoint-1").config.num_labels == CLASSES
    kept = mg.pretrained.checkpoint.safetensors.read(tmp_path / "checkpoint-1" / "optimizer.safetensors")
    assert "exp_avg/bert.pooler.dense.weight" in kept


@pytest.mark.parametrize("harm", ["cut", "changed", "missing", "no manifest"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path, harm):
    new_trainer(tmp_path, max_steps=3).train()
    file = tmp_path / "checkpoint-3" / ("manifest.json" if harm == "no manifest" else "optimizer.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    {"cut": lambda: file.write_bytes(data[:-1]), "changed": lambda: file.write_bytes(data)}.get(harm, file.unlink)()
    with pytest.warns(UserWarning, match="checkpoint-3 is damaged and was skipped: "):
        assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    with pytest.raises(ValueError, match="checkpoint-3 is not a complete checkpoint"):
        new_trainer(tmp_path, max_steps=3).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    with pytest.warns(UserWarning, match="damaged"):
        assert new_trainer(tmp_path, max_steps=3).train(resume_from_checkpoint=True).global_step == 3


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(tmp_path):
    assert latest_checkpoint(tmp_path / "none") is None
    with pytest.raises(
        ValueError, match="there is no complete checkpoint in .* to resume from: to begin anew, leave out"
    ):
        new_trainer(tmp_path).train(resume_from_checkpoint=True)


def test_checkpoints_of_an_earlier_run_in_the_same_directory_are_not_taken(tmp_path):
    new_trainer(tmp_path, max_steps=4).train()
    new_trainer(tmp_path, max_steps=2, save_steps=2, seed=4).train()
    with pytest.warns(
        UserWarning, match="checkpoint-4 is of an earlier run and was skipped; to resume from it, name it"
    ):
        assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-2"


def test_only_so_many_stay_the_best_among_them(tmp_path):
    new_trainer(tmp_path, max_steps=6, save_total_limit=2).train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-5", "checkpoint-6", "run.json"]
    scores = [5.0, 1.0, 3.0, 2.0, 4.0, 6.0]
    trainer = new_trainer(
        tmp_path / "best",
        max_steps=6,
        save_total_limit=2,
        eval_strategy="steps",
        eval_steps=1,
        metric_for_best_model="loss",
    )
    measured, calls = trainer.measured, iter(scores)
    trainer.measured = lambda *given: {**measured(*given), "eval_loss": next(calls)}
    trainer.train()
    assert sorted(path.name for path in (tmp_path / "best").glob("check*")) == ["checkpoint-2", "checkpoint-6"]


@pytest.mark.parametrize(
    "other, told",
    [
        (lambda: new_model().to("float64"), None),
        (two_layers, "is a checkpoint of another model .*; nothing was loaded"),
        (lambda: nn.Linear(3, 2), "cannot be called with"),
    ],
)
def test_a_checkpoint_of_another_model_changes_nothing(tmp_path, other, told):
    new_trainer(tmp_path, max_steps=1).train()
    model = other()
    before = weights(model)
    if told is None:
        return
    with pytest.raises(ValueError, match=told) as error:
        new_trainer(tmp_path, model).train(resume_from_checkpoint=True)
    assert "\n" not in str(error.value)
    assert_same(weights(model), before)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"per_device_train_batch_size": 2}, "the saved position is in other batches: batch_size was 8, here it is 4"),
        ({"optim": "sgd"}, "its optimiser is AdamW, here it is SGD"),
        ({"seed": 5}, "seed was 3, here it is 5"),
        ({"data": dataset(20)}, "items was 44, here it is 20"),
    ],
)
def test_other_arguments_that_would_be_another_run_are_refused(tmp_path, change, told):
    new_trainer(tmp_path, max_steps=1).train()
    trainer = new_trainer(tmp_path, **change)
    before = weights(trainer.model)
    with pytest.raises(ValueError, match=told):
        trainer.train(resume_from_checkpoint=True)
    assert_same(weights(trainer.model), before)


def test_a_full_disk_leaves_the_checkpoints_there_are(tmp_path, monkeypatch):
    """It fills up while the third is written; the error is one line, and the run goes on from the second."""
    whole = new_trainer(tmp_path / "whole", max_steps=5)
    whole.train()
    write, calls = checkpoints.safetensors.write, []

    def full(path, arrays):
        calls.append(path)
        if len(calls) == 6:  # a model and an optimiser each
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.safetensors, "write", full)
        with pytest.raises(
            OSError,
            match="checkpoint-3 could not be written in .*No space left.*checkpoint-2, the newest, is unchanged",
        ) as error:
            new_trainer(tmp_path / "parts", max_steps=5).train()
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["checkpoint-1", "checkpoint-2", "run.json"]
    parts = new_trainer(tmp_path / "parts", max_steps=5)
    parts.train(resume_from_checkpoint=True)
    assert_same_run(parts, whole)


def test_a_directory_that_cannot_be_written_in_is_said_before_any_step(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    trainer = new_trainer(tmp_path / "file")
    with pytest.raises(
        OSError, match="cannot be written to, so no checkpoint could be saved .*: give another output_dir"
    ):
        trainer.train()
    assert trainer.step == 0


# Signals.

PROGRAM = """
import sys
sys.path.insert(0, "tests")
import numpy as np
from test_train_run import new_trainer
from minigrad.train import latest_checkpoint
out = sys.argv[1]
callbacks = [lambda record: print(record["step"], flush=True)]
trainer = new_trainer(out, num_train_epochs=6, save_steps=3, callbacks=callbacks)
trainer.train(resume_from_checkpoint=latest_checkpoint(out))
np.savez(out + "/end.npz", **{name: t.numpy() for name, t in trainer.model.state_dict().items()})
"""


def program(output, **more):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(output)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **more,
    )


def end_of(output):
    return dict(np.load(output / "end.npz"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    assert program(out).wait() == 0
    return end_of(out)


def test_a_run_that_is_killed_five_times_ends_with_the_bits_of_one_that_is_not(tmp_path, uninterrupted):
    """kill -9, after so many records; `minigrad verify-resume DIR --kills 100` does it at random moments."""
    for lines in (1, 4, 2, 5, 3):
        process = program(tmp_path)
        for _ in range(lines):
            process.stdout.readline()
        process.kill()
        process.communicate()
    assert not (tmp_path / "end.npz").exists()
    assert latest_checkpoint(tmp_path) is not None
    done = program(tmp_path)
    out, error = done.communicate()
    assert done.returncode == 0, error
    assert_same(end_of(tmp_path), uninterrupted)


@pytest.mark.parametrize("number, status", [(signal.SIGINT, None), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(tmp_path, uninterrupted, number, status):
    process = program(tmp_path)
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(number)
    _, error = process.communicate()
    assert "saved in" in error and "to resume, type trainer.train(resume_from_checkpoint=True)" in error
    assert ("on the command line --resume true" in error) == (number == signal.SIGTERM)
    assert process.returncode == status if status else process.returncode in (1, -signal.SIGINT)
    assert program(tmp_path).wait() == 0
    assert_same(end_of(tmp_path), uninterrupted)


def test_a_checkpoint_that_is_being_replaced_is_found(tmp_path):
    """Killed between the two renames, the old one and the new one are both there, under names of their own."""
    new_trainer(tmp_path, max_steps=2).train()
    (tmp_path / "checkpoint-2").rename(tmp_path / ".checkpoint-2.old")
    assert latest_checkpoint(tmp_path).name == ".checkpoint-2.old"
    shutil.copytree(tmp_path / ".checkpoint-2.old", tmp_path / ".checkpoint-2.new")
    assert latest_checkpoint(tmp_path).name == ".checkpoint-2.new"
    trainer = new_trainer(tmp_path, max_steps=3)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.step == 3 and json.loads((tmp_path / "run.json").read_text())["run_id"] == trainer.state.run_id


class Counter(Module):
    """A model whose buffer and whose own generator count what it has seen."""

    def __init__(self):
        self.layer, self.seen = nn.Linear(4, 2, rng=0), nn.Buffer(np.zeros(1))
        self.rng = np.random.default_rng(0)

    def forward(self, x, labels):
        if self.training:
            self.seen.copy_(self.seen.numpy() + len(labels))
        logits = self.layer(x + np.float32(0.1) * self.rng.normal(size=x.shape).astype(np.float32))
        return {"loss": mg.functional.cross_entropy(logits, labels), "logits": logits}


def test_a_model_of_ones_own_goes_on_with_its_buffers_and_generators(tmp_path):
    data = [{"x": np.random.default_rng(i).normal(size=4).astype(np.float32), "labels": i % 2} for i in range(30)]

    def new(output):
        return Trainer(
            Counter(), TrainingArguments(output, per_device_train_batch_size=4, max_steps=12, save_steps=5), data
        )

    whole, parts = new(tmp_path / "whole"), new(tmp_path / "parts")
    whole.train()
    parts.train(tmp_path / "whole" / "checkpoint-5")
    assert_same(weights(parts.model), weights(whole.model))
    assert whole.model.seen.numpy() == 30 + 4 * 4
