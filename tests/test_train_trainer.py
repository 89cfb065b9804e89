"""The laws of training: accumulation is the big batch, a seed is a run, and the best model is the one that is kept."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_bert

import minigrad as mg
from minigrad import losses, nn
from minigrad.data import DataCollatorWithPadding, TextDataset
from minigrad.data.text import IGNORED
from minigrad.nn import Module
from minigrad.pretrained import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    ViTConfig,
    ViTForImageClassification,
)
from minigrad.pretrained.checkpoint import safetensors
from minigrad.train import Trainer, TrainerState, TrainingArguments
from minigrad.train.optimizers import decay_groups

CLASSES = 3


def dataset(n, seed=0):
    """Token lists of many lengths; most tokens of a list are the one of its class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    ids = [
        [1, *np.where(rng.random(m) < 0.7, 2 + label, rng.integers(2, 9, m)).tolist()]
        for label, m in zip(labels, rng.integers(1, 12, n), strict=True)
    ]
    return TextDataset({"input_ids": ids}, labels)


def new_model(dropout=0.1):
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=9,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            num_labels=CLASSES,
            max_position_embeddings=16,
            initializer_range=0.2,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        ),
        rng=0,
    )


EACH_EPOCH = {"eval_strategy": "epoch", "save_strategy": "epoch", "logging_steps": 1}


def new_trainer(output, model=None, tokenizer=None, callbacks=(), **arguments):
    arguments = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-2,
        "warmup_ratio": 0.1,
        "weight_decay": 0.01,
        "seed": 0,
        "group_by_length": True,
        **EACH_EPOCH,
        **arguments,
    }
    return Trainer(
        model or new_model(),
        TrainingArguments(output, **arguments),
        dataset(44),
        dataset(21, seed=1),
        tokenizer=tokenizer,
        callbacks=callbacks,
    )


def weights(model):
    return {name: t.numpy().copy() for name, t in model.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def step_losses(trainer):
    return [record["loss"] for record in trainer.history if "loss" in record]


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("size", [2, 3, 7])
def test_the_gradients_of_micro_batches_are_those_of_the_whole_batch(tmp_path, size):
    data = dataset(8)
    data.columns["label"][5] = IGNORED  # so that micro-batches of one size have different shares
    found = []
    for cut in (8, size):
        model = new_model(dropout=0.0).to("float64").train()
        means = new_trainer(tmp_path, model, per_device_train_batch_size=cut).gradients([data[i] for i in range(8)])
        found.append((means, {name: p.grad.numpy() for name, p in model.named_parameters()}))
    (means, whole), (other_means, parts) = found
    np.testing.assert_allclose(other_means, means, rtol=1e-12)
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=0, atol=1e-12, err_msg=name)


def test_a_run_with_accumulation_is_the_run_with_the_big_batch(tmp_path):
    runs = [
        new_trainer(
            tmp_path / str(k),
            new_model(dropout=0.0).to("float64"),
            per_device_train_batch_size=12 // k,
            gradient_accumulation_steps=k,
        )
        for k in (1, 4)
    ]
    for trainer in runs:
        trainer.train()
    np.testing.assert_allclose(*map(step_losses, runs), rtol=1e-9)
    assert len(step_losses(runs[0])) == 8


def test_one_seed_is_one_run_bit_for_bit(tmp_path):
    runs = [new_trainer(tmp_path / str(i), seed=seed) for i, seed in enumerate((3, 3, 4))]
    for trainer in runs:
        trainer.train()
    assert step_losses(runs[0]) == step_losses(runs[1]) != step_losses(runs[2])
    assert_same(weights(runs[0].model), weights(runs[1].model))


def test_it_learns_and_keeps_a_record(tmp_path):
    seen = []
    trainer = new_trainer(tmp_path, num_train_epochs=12, callbacks=[seen.append])
    out = trainer.train()
    best = trainer.history[-2]
    assert out.global_step == 72 and out.metrics["train_loss"] == out.training_loss
    assert out.training_loss == pytest.approx(np.mean(step_losses(trainer)))
    first, *_, last = [record for record in trainer.history if "eval_loss" in record]
    assert last["train_loss"] < 0.7 * first["train_loss"] and best["eval_accuracy"] > 0.6  # by chance: a third
    assert seen == trainer.history
    assert TrainerState.load_from_json(tmp_path / "checkpoint-72" / "trainer_state.json").log_history == seen[:-1]
    assert [record["step"] for record in seen if "loss" in record] == list(range(1, 73))
    rates = [record["learning_rate"] for record in seen if "loss" in record]
    assert rates[0] == 0 and max(rates) == rates[8] == 1e-2 and 0 < rates[-1] < 2e-4
    sizes = [len(batch) for batch in trainer.train_loader().batches(0)]
    assert first["train_loss"] == pytest.approx(np.average(step_losses(trainer)[:6], weights=sizes))


@pytest.mark.parametrize("fp16", [False, True])
def test_a_record_of_several_steps_has_their_means(tmp_path, fp16):
    """Six steps to an epoch, four to a record: the second record begins in one epoch and ends in the next."""
    runs = [new_trainer(tmp_path / str(n), logging_steps=n, fp16=fp16) for n in (1, 4)]
    for trainer in runs:
        trainer.train()
    (each, epochs), (records, same_epochs) = (
        [[r for r in trainer.history if key in r] for key in ("loss", "eval_loss")] for trainer in runs
    )
    assert [(record["epoch"], record["step"]) for record in records] == [(4 / 6, 4), (8 / 6, 8), (2, 12)]
    for record, steps in zip(records, (each[:4], each[4:8], each[8:]), strict=True):
        for key in ("loss", "accuracy"):
            assert record[key] == pytest.approx(np.mean([step[key] for step in steps]), rel=1e-12)
        assert {**record, "loss": 0, "accuracy": 0} == {**steps[-1], "loss": 0, "accuracy": 0}
    for a, b in zip(epochs, same_epochs, strict=True):
        assert [b["train_loss"], b["train_accuracy"]] == pytest.approx(
            [a["train_loss"], a["train_accuracy"]], rel=1e-12
        )
        assert a["eval_loss"] == b["eval_loss"]
    assert_same(weights(runs[0].model), weights(runs[1].model))


def test_evaluation_is_the_models_own_in_the_datasets_order(tmp_path):
    trainer = new_trainer(tmp_path, per_device_eval_batch_size=4)
    data = trainer.eval_dataset
    alone = np.concatenate(
        [
            trainer.model.eval()(input_ids=np.array([item["input_ids"]])).logits.numpy()
            for item in map(data.__getitem__, range(len(data)))
        ]
    )
    predictions, label_ids, told = trainer.predict(data)
    np.testing.assert_allclose(predictions, alone, atol=1e-5)
    np.testing.assert_array_equal(label_ids, data.columns["label"])
    assert told["test_loss"] == trainer.evaluate()["eval_loss"] and told["test_runtime"] > 0
    found, labels = trainer.evaluate(), data.columns["label"]
    assert found["eval_loss"] == pytest.approx(float(losses.cross_entropy(alone, labels)), rel=1e-5)
    assert found["eval_accuracy"] == np.mean(alone.argmax(1) == labels)
    assert np.trace(found["eval_confusion_matrix"]) == (alone.argmax(1) == labels).sum()
    assert np.sum(found["eval_confusion_matrix"], axis=1).tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    "metric, scores, kept", [("macro_f1", (0.2, 0.5, 0.5, 0.4), 2), ("loss", (0.2, 0.5, 0.1, 0.4), 3)]
)
def test_the_best_epoch_is_loaded_back(tmp_path, monkeypatch, metric, scores, kept):
    """Also where only one checkpoint stays beside the newest, and whatever the epochs after it were like."""
    trainer, after = (
        new_trainer(
            tmp_path, metric_for_best_model=metric, num_train_epochs=4, load_best_model_at_end=True, save_total_limit=1
        ),
        [],
    )

    def measured(*given):
        after.append(weights(trainer.model))
        return {**original(*given), f"eval_{metric}": scores[len(after) - 1]}

    original = trainer.measured
    monkeypatch.setattr(trainer, "measured", measured)
    trainer.train()
    assert trainer.best["epoch"] == kept and trainer.state.best_metric == scores[kept - 1]
    assert trainer.state.best_model_checkpoint == str(tmp_path / f"checkpoint-{6 * kept}")
    assert_same(weights(trainer.model), after[kept - 1])
    assert_same(
        weights(BertForSequenceClassification.from_pretrained(tmp_path / f"checkpoint-{6 * kept}")), after[kept - 1]
    )
    assert not trainer.model.training
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == sorted(
        {f"checkpoint-{6 * kept}", "checkpoint-24"}
    )


def test_biases_and_layer_norms_do_not_decay():
    model = new_model()
    model.freeze("bert.pooler.**")
    decayed, kept = ({id(p) for p in group["params"]} for group in decay_groups(model, 0.1))
    for name, p in model.named_parameters():
        where = kept if "LayerNorm" in name or name.endswith("bias") else decayed
        assert [group is where for group in (decayed, kept)] == [id(p) in decayed, id(p) in kept], name


def test_frozen_weights_stay_and_something_must_be_left_to_train(tmp_path):
    model = new_model()
    model.freeze("bert.**")
    before = weights(model)
    new_trainer(tmp_path, model).train()
    changed = [name for name, array in weights(model).items() if not np.array_equal(array, before[name])]
    assert changed == ["classifier.weight", "classifier.bias"]
    model.freeze()
    with pytest.raises(ValueError, match="no parameter is left to train"):
        new_trainer(tmp_path / "new", model).train()
    assert not (tmp_path / "new").exists()


def test_gradients_are_gone_when_the_next_step_begins(tmp_path):
    model = new_model()
    forward, held = model.forward, []

    def watched(**batch):
        held.append(any(p.grad is not None for p in model.parameters()))
        return forward(**batch)

    model.forward = watched
    new_trainer(tmp_path, model, num_train_epochs=1).train()
    assert len(held) == 6 + 3 and not any(held)


def test_gradients_of_an_earlier_pass_are_not_in_the_first_step(tmp_path):
    runs = [new_trainer(tmp_path / str(i), num_train_epochs=1) for i in range(2)]
    for p in runs[1].model.parameters():
        p.grad = mg.Tensor(np.full(p.shape, np.nan, np.float32))
    for trainer in runs:
        trainer.train()
    assert_same(weights(runs[1].model), weights(runs[0].model))


def test_a_diverging_run_stops_with_its_cause(tmp_path):
    """At once, whether the step is logged or not, and with the weights as they were."""
    model = new_model()
    model.classifier.weight.data[0, 0] = np.nan
    before, trainer = weights(model), new_trainer(tmp_path, model, logging_steps=5)
    with pytest.raises(ValueError, match="norm is nan.*lower the learning rate"):
        trainer.train()
    assert trainer.step == 0
    assert_same(weights(model), before)


def test_an_interruption_in_a_callback_says_what_there_is_to_go_on_from(tmp_path):
    trainer = new_trainer(tmp_path, callbacks=[lambda record: record.get("step") == 8 and interrupt()])
    with pytest.raises(
        KeyboardInterrupt, match=f"step 8 of 12; the newest checkpoint is {tmp_path}/checkpoint-6: to resume"
    ):
        trainer.train()
    unsaved = new_trainer(tmp_path / "new", callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt, match="step 1 of 12; no checkpoint was saved"):
        unsaved.train()


class Interrupted:
    """A tokenizer: it is saved when the model's files are written already, and then the user presses Ctrl-C."""

    pad_token_id, settings = 0, {}
    save_pretrained = interrupt


def test_an_interruption_while_saving_leaves_what_was_there(tmp_path):
    tiny_bert.save_model(tmp_path)
    before = files(tmp_path)
    trainer = new_trainer(tmp_path, tokenizer=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        trainer.save_model()
    assert files(tmp_path) == before
    with pytest.raises(KeyboardInterrupt, match="no checkpoint was saved"):
        trainer.train()
    assert {name: data for name, data in files(tmp_path).items() if name != "run.json"} == before


def test_a_process_killed_while_it_saves_leaves_a_model_that_loads(tmp_path):
    """A program killed as each file is about to be put in place: configuration and weights are of one save."""
    code = """
import os, sys
from pathlib import Path
sys.path.insert(0, "tests")
from test_train_trainer import new_model, new_trainer
left, rename = int(sys.argv[2]), Path.replace
def replace(*args):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    return rename(*args)
Path.replace = replace
model = new_model()
model.classifier = type(model.classifier)(8, 5)
new_trainer(Path(sys.argv[1]), model=model, overwrite_output_dir=True).save_model()
"""
    for moves in range(4):
        out = tmp_path / str(moves)
        new_trainer(out).save_model()
        done = subprocess.run([sys.executable, "-c", code, out, str(moves)], cwd=Path(__file__).parent.parent)
        assert done.returncode == (-9 if moves < 2 else 0)
        assert BertForSequenceClassification.from_pretrained(out).config.num_labels == 5
        new_trainer(out).save_model()
        assert BertForSequenceClassification.from_pretrained(out).config.num_labels == CLASSES


def test_overwriting_leaves_no_file_of_the_earlier_tokenizer(tmp_path):
    tiny_bert.save_model(tmp_path)
    new_trainer(tmp_path).save_model()
    assert set(files(tmp_path)) == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0])
def test_the_only_step_is_no_warmup(tmp_path, ratio):
    model = new_model()
    before, trainer = (
        weights(model),
        new_trainer(tmp_path, model, num_train_epochs=1, per_device_train_batch_size=64, warmup_ratio=ratio),
    )
    trainer.train()
    (step,) = [record for record in trainer.history if "loss" in record]
    assert step["learning_rate"] == 1e-2
    change = weights(trainer.model)["classifier.weight"] - before["classifier.weight"]
    # AdamW's first step is lr in each entry, but for the decay
    np.testing.assert_allclose(abs(change), 1e-2, rtol=0.02)


@pytest.mark.parametrize("ratio, rates", [(0.1, [0, 1]), (1.0, [0, 0.5])])
def test_of_two_steps_one_may_be_warmup(tmp_path, ratio, rates):
    trainer = new_trainer(
        tmp_path, num_train_epochs=1, per_device_train_batch_size=22, learning_rate=1, warmup_ratio=ratio
    )
    trainer.train()
    assert [record["learning_rate"] for record in trainer.history if "loss" in record] == rates


def test_a_norm_of_zero_is_no_limit(tmp_path):
    runs = [new_trainer(tmp_path / str(i), max_grad_norm=norm) for i, norm in enumerate((0, 1e9, 1e-3))]
    for trainer in runs:
        trainer.train()
    assert step_losses(runs[0]) == step_losses(runs[1]) != step_losses(runs[2])
    assert_same(weights(runs[0].model), weights(runs[1].model))
    assert min(record["grad_norm"] for record in runs[0].history if "loss" in record) > 0


@pytest.mark.parametrize("epochs, steps, passes", [(2.0, 12, 2), (0.5, 3, 1), (1.5, 9, 2), (0.01, 1, 1), ("1.1", 7, 2)])
def test_epochs_need_not_be_whole(tmp_path, epochs, steps, passes):
    trainer = new_trainer(tmp_path, num_train_epochs=epochs, logging_steps=2, learning_rate="1e-2")
    trainer.train()
    ends = [record for record in trainer.history if "eval_loss" in record]
    assert trainer.step == ends[-1]["step"] == steps and [record["epoch"] for record in ends] == [
        *range(1, passes),
        steps / 6,
    ]
    assert [record["step"] for record in trainer.history if "loss" in record] == [*range(2, steps + 1, 2)]


def test_one_seed_is_one_run_whatever_dropout_was_built_with(tmp_path):
    """The weights are the same, the generators are not, and one of the models has drawn from its own before."""
    models = [new_model() for _ in range(3)]
    for i, model in enumerate(models):
        for module in model.modules():
            if hasattr(module, "rng"):
                module.rng = np.random.default_rng(i)
    runs = [new_trainer(tmp_path / str(i), model, seed=seed) for i, (model, seed) in enumerate(zip(models, (0, 0, 1)))]
    for trainer in runs:
        trainer.train()
    assert step_losses(runs[0]) == step_losses(runs[1]) != step_losses(runs[2])
    assert_same(weights(runs[0].model), weights(runs[1].model))


def test_training_again_is_the_same_run_from_other_weights(tmp_path):
    trainer = new_trainer(tmp_path, overwrite_output_dir=True)
    start = weights(trainer.model)
    trainer.train()
    first, after = list(trainer.history), weights(trainer.model)
    trainer.model.load_state_dict(start)
    trainer.train()
    assert_same(weights(trainer.model), after)
    assert [r["step"] for r in trainer.history] == [r["step"] for r in first] and step_losses(trainer) == [
        record["loss"] for record in first if "loss" in record
    ]


def test_overwriting_leaves_no_shard_of_an_earlier_model(tmp_path):
    """Neither a whole file beside new shards, nor old shards beside a new whole file: the trained model is loaded."""
    new_model().save_pretrained(tmp_path, max_shard_size=2000)
    assert len(list(tmp_path.glob("model-*-of-*"))) > 1
    trainer = new_trainer(tmp_path)
    trainer.train()
    trainer.save_model()
    assert set(files(tmp_path)) == {"config.json", "model.safetensors", "run.json"}
    assert_same(weights(BertForSequenceClassification.from_pretrained(tmp_path)), weights(trainer.model))
    sharded = new_model()
    save = sharded.save_pretrained
    sharded.save_pretrained = lambda directory: save(directory, max_shard_size=2000)
    trainer = new_trainer(tmp_path, sharded, save_strategy="no", seed=1)
    trainer.train()
    trainer.save_model()
    assert "model.safetensors" not in files(tmp_path)
    assert_same(weights(BertForSequenceClassification.from_pretrained(tmp_path)), weights(trainer.model))


def test_the_best_model_is_loaded_back_in_its_own_precision(tmp_path, monkeypatch):
    trainer, after = (
        new_trainer(tmp_path, new_model().to("float64"), num_train_epochs=1, load_best_model_at_end=True),
        [],
    )
    measured = trainer.measured
    monkeypatch.setattr(trainer, "measured", lambda *given: after.append(weights(trainer.model)) or measured(*given))
    trainer.train()
    assert_same(weights(trainer.model), after[0])


# Labels of every kind.

SMALL = {
    "vocab_size": 9,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 16,
    "initializer_range": 0.2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
GPT = {
    "vocab_size": 9,
    "n_positions": 16,
    "n_embd": 8,
    "n_layer": 1,
    "n_head": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "initializer_range": 0.2,
}


def kinds():
    """name: (a model, the label of a list of tokens)."""
    rng = np.random.default_rng(0)
    return {
        "classes": (BertForSequenceClassification(BertConfig(**SMALL, num_labels=3), rng=0), lambda ids: len(ids) % 3),
        "values": (
            BertForSequenceClassification(BertConfig(**SMALL, num_labels=1), rng=0),
            lambda ids: float(np.mean(ids)),
        ),
        "vectors": (
            BertForSequenceClassification(BertConfig(**SMALL, num_labels=3), rng=0),
            lambda ids: [float(k in ids) for k in (2, 3, 4)],
        ),
        "values in vectors": (
            BertForSequenceClassification(BertConfig(**SMALL, num_labels=2, problem_type="regression"), rng=0),
            lambda ids: [np.mean(ids), len(ids) / 10],
        ),
        "tokens": (
            BertForTokenClassification(BertConfig(**SMALL, num_labels=3), rng=0),
            lambda ids: [-100 if rng.random() < 0.3 else i % 3 for i in ids],
        ),
        "masked": (
            BertForMaskedLM(BertConfig(**SMALL), rng=0),
            lambda ids: [i if rng.random() < 0.5 else -100 for i in ids],
        ),
        "next token": (
            GPT2LMHeadModel(GPT2Config(**GPT), rng=0),
            lambda ids: [i if rng.random() < 0.9 else -100 for i in ids],
        ),
    }


def of_kind(kind, n=14):
    model, label = kinds()[kind]
    data = dataset(n)
    return model, TextDataset(
        {"input_ids": data.columns["input_ids"]}, [label(ids) for ids in data.columns["input_ids"]]
    )


def kind_trainer(output, model, data, **arguments):
    arguments = {"num_train_epochs": 1, "learning_rate": 1e-2, "group_by_length": True, **EACH_EPOCH, **arguments}
    return Trainer(
        model,
        TrainingArguments(output, **arguments),
        data,
        data,
        DataCollatorWithPadding(0) if model.config.pad_token_id is None else None,
    )


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("kind", kinds())
def test_micro_batches_of_any_labels_are_the_whole_batch(tmp_path, kind, size):
    found = []
    for cut in (14, size):
        model, data = of_kind(kind)
        trainer = kind_trainer(tmp_path, model.to("float64").train(), data, per_device_train_batch_size=cut)
        loss, *_, count = trainer.gradients([data[i] for i in range(14)])
        found.append(
            (loss, count, {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None})
        )
    (loss, count, whole), (other_loss, other_count, parts) = found
    assert other_loss == pytest.approx(loss, rel=1e-12) and count == other_count and whole.keys() == parts.keys()
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", kinds())
def test_training_and_evaluation_measure_what_the_labels_are(tmp_path, kind):
    """By hand, from each item's own logits."""
    model, data = of_kind(kind)
    trainer = kind_trainer(tmp_path, model, data, per_device_train_batch_size=4, per_device_eval_batch_size=3)
    trainer.train()
    best = trainer.history[-2]
    loss, total, right, counted = 0.0, 0, 0, 0
    for item in map(data.__getitem__, range(len(data))):
        logits = trainer.model(np.array([item["input_ids"]])).logits.numpy()[0].astype(float)
        label = np.array(item["label"])
        if kind == "next token":
            logits, label = logits[:-1], label[1:]
        if kind.startswith("values"):
            loss, total = loss + ((logits - label) ** 2).sum(), total + label.size
        elif kind == "vectors":
            p = 1 / (1 + np.exp(-logits))
            loss, total = loss - np.where(label == 1, np.log(p), np.log(1 - p)).sum(), total + label.size
        else:
            logits, label = logits.reshape(-1, logits.shape[-1]), label.reshape(-1)
            logits, label = logits[label != -100], label[label != -100]
            log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            loss, total = loss - log_p[range(len(label)), label].sum(), total + len(label)
            right, counted = right + (logits.argmax(-1) == label).sum(), counted + len(label)
    assert best["eval_loss"] == pytest.approx(loss / total, rel=1e-4)
    steps = [record for record in trainer.history if "loss" in record]
    if counted:
        assert best["eval_accuracy"] == pytest.approx(right / counted) and all("accuracy" in step for step in steps)
    else:
        assert not [name for record in trainer.history for name in record if "accuracy" in name or "f1" in name]
    classes = kind in ("classes", "tokens")
    assert ("eval_macro_f1" in best) == classes == (np.sum(best.get("eval_confusion_matrix", 0)) == max(counted, 1))


@pytest.mark.parametrize("kind", ["values", "vectors"])
def test_a_metric_that_labels_do_not_have_is_refused_at_once(tmp_path, kind):
    with pytest.raises(
        ValueError, match="metric_for_best_model is 'macro_f1', which is for classes, but the labels .*float32"
    ):
        kind_trainer(tmp_path, *of_kind(kind), metric_for_best_model="macro_f1")
    kind_trainer(tmp_path, *of_kind(kind), metric_for_best_model="loss").train()


def test_predictions_need_no_labels(tmp_path):
    trainer = new_trainer(tmp_path, metric_for_best_model="macro_f1")
    unlabelled = TextDataset({"input_ids": trainer.eval_dataset.columns["input_ids"]})
    np.testing.assert_array_equal(
        trainer.predict(unlabelled).predictions, trainer.predict(trainer.eval_dataset).predictions
    )
    assert trainer.predict(unlabelled).label_ids is None


def test_a_head_replaced_by_hand_is_known_before_training(tmp_path):
    model = new_model()
    model.classifier = nn.Linear(8, 5, rng=0)
    assert new_trainer(tmp_path, model).model.config.num_labels == 5
    model.classifier = nn.Linear(8, 5, bias=False, rng=0)
    with pytest.raises(ValueError, match="classifier"):
        new_trainer(tmp_path, model)


def test_a_model_derived_from_one_that_guesses_the_next_token(tmp_path):
    class Mine(GPT2LMHeadModel):
        pass

    _, data = of_kind("next token")
    counts = [
        kind_trainer(tmp_path, kind(GPT2Config(**GPT), rng=0), data).evaluate() for kind in (GPT2LMHeadModel, Mine)
    ]
    assert counts[0]["eval_loss"] == counts[1]["eval_loss"]


def test_predictions_for_tokens_are_padded(tmp_path):
    model, data = of_kind("tokens")
    logits = kind_trainer(tmp_path, model, data, per_device_eval_batch_size=2).predict(data).predictions
    assert logits.shape == (14, max(data.lengths), 3)
    for row, item in zip(logits, map(data.__getitem__, range(14)), strict=True):
        alone = model(np.array([item["input_ids"]])).logits.numpy()[0]
        np.testing.assert_allclose(row[: len(alone)], alone, atol=1e-5)


def test_a_batch_without_a_label_that_counts_is_named(tmp_path):
    data = TextDataset({"input_ids": [[1, 2]] * 3}, [IGNORED] * 3)
    trainer = Trainer(new_model(), TrainingArguments(tmp_path / "out"), data, data)
    with pytest.raises(ValueError, match="no label of these 3 items counts, all are -100: leave such items out"):
        trainer.train()
    with pytest.raises(ValueError, match="no label of the 3 items of the dataset counts"):
        trainer.evaluate()


# Collators, datasets and models of other kinds.


@pytest.mark.parametrize("side", ["right", "left"])
def test_without_a_collator_texts_are_padded_as_the_tokenizer_pads(tmp_path, side):
    pytest.importorskip("tokenizers")
    import tiny_tokenizers

    base = tiny_tokenizers.byte_pairs(tmp_path, "gpt2")
    tokenizer = AutoTokenizer.from_pretrained(base, pad_token="Ã©", padding_side=side)
    config = GPT2Config(
        **GPT | {"vocab_size": tokenizer.vocab_size, "n_positions": 64, "bos_token_id": None, "eos_token_id": None},
        num_labels=3,
    )
    model = GPT2ForSequenceClassification(config, rng=0)
    assert model.config.pad_token_id is None and tokenizer.pad_token_id > 0
    texts = [example.text for example in tiny_bert.examples(12)]
    data = TextDataset(tokenizer(texts, padding=False), [i % 3 for i in range(12)])
    trainer = Trainer(model, TrainingArguments(tmp_path / "out"), data, data, tokenizer=tokenizer)
    batch = trainer.data_collator([data[i] for i in range(12)])
    expected = tokenizer(texts)
    for name in expected:
        np.testing.assert_array_equal(batch[name], expected[name], err_msg=name)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    if side == "right":
        alone = [model(np.array([ids])).logits.numpy()[0] for ids in data.columns["input_ids"]]
        np.testing.assert_allclose(trainer.predict(data).predictions, alone, atol=1e-5)


def test_a_collator_that_pads_with_another_token_than_the_model_is_refused(tmp_path):
    """RoBERTa counts positions, and GPT-2 finds the last token, by the padding token: another one would change their
    answers.
    """
    args, data, config = (
        TrainingArguments(tmp_path / "out"),
        dataset(6),
        GPT2Config(**GPT, pad_token_id=5, num_labels=3),
    )
    with pytest.raises(ValueError, match=r"pads with 0, but the padding token of the model is 5: .*WithPadding\(5\)"):
        Trainer(GPT2ForSequenceClassification(config, rng=0), args, data, data, DataCollatorWithPadding())
    Trainer(GPT2ForSequenceClassification(config, rng=0), args, data, data, DataCollatorWithPadding(5))
    tokenizer = SimpleNamespace(pad_token_id=7, settings={})
    trainer = Trainer(
        GPT2ForSequenceClassification(config, rng=0), args, data, data, DataCollatorWithPadding(7), tokenizer
    )
    assert trainer.model.config.pad_token_id == 7


@pytest.mark.parametrize(
    "train, eval, told",
    [
        ([], dataset(3), "train_dataset is empty; expected a dataset of one item or more"),
        (dataset(3), [], "eval_dataset is empty; expected .* split"),
        (dataset(3), None, 'eval_strategy is "epoch", but eval_dataset is None; expected a dataset'),
        (iter([1]), dataset(3), "train_dataset is without a length"),
        (
            dataset(3),
            [{"pixel_values": np.zeros(3), "label": 0}],
            "forward.* cannot be called with pixel_values, labels, which",
        ),
        (TextDataset({"input_ids": [[1, 2]]}, ["spam"]), dataset(3), "the label 'spam' is not a number"),
    ],
)
def test_datasets_that_cannot_be_used_are_named(tmp_path, train, eval, told):
    with pytest.raises(ValueError, match=told):
        Trainer(new_model(), TrainingArguments(tmp_path / "out", eval_strategy="epoch"), train, eval)
    assert not (tmp_path / "out").exists()


def test_evaluating_nothing_is_named(tmp_path):
    trainer = new_trainer(tmp_path)
    for what in (trainer.evaluate, trainer.predict):
        with pytest.raises(ValueError, match="the dataset is empty"):
            what([])


LISTING = """
from minigrad.pretrained import AutoModelForSequenceClassification
from minigrad.train import Trainer, TrainingArguments

# 加载预训练模型
model = AutoModelForSequenceClassification.from_pretrained("./bert")

# 定义训练参数
training_args = TrainingArguments(
    output_dir="./results",
    num_train_epochs=3,
    per_device_train_batch_size=16,
    per_device_eval_batch_size=16,
    learning_rate=2e-5,
)

# 创建 Trainer 对象
trainer = Trainer(
    model=model,
    args=training_args,
    train_dataset=train_dataset,
    eval_dataset=eval_dataset,
)

# 开始训练
trainer.train()
"""  # of the first design document, but for the imports and the name of the model


def test_the_listing_of_the_first_design_document_runs_as_it_is_written(tmp_path, monkeypatch):
    pytest.importorskip("tokenizers")
    monkeypatch.chdir(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert.save_model(Path("bert")))
    examples = [example for example in tiny_bert.examples() if example.label != "sailing"]
    names = ["cooking", "music"]
    data = [
        TextDataset(tokenizer([e.text for e in part], padding=False), [names.index(example.label) for example in part])
        for part in (examples[:24], examples[24:])
    ]
    there = {"train_dataset": data[0], "eval_dataset": data[1]}
    exec(LISTING, there)
    trainer = there["trainer"]
    assert trainer.step == 6 and trainer.history[-1]["train_loss"] == pytest.approx(np.log(2), abs=0.2)
    assert [path.name for path in Path("results").glob("checkpoint-*")] == ["checkpoint-6"]
    assert set(trainer.evaluate()) >= {"eval_loss", "eval_accuracy", "eval_macro_f1"}


class Squares(Module):
    """A model that no checkpoint knows: four numbers in, two classes out."""

    def __init__(self, returns):
        self.layers = nn.Sequential(nn.Linear(4, 8, rng=0), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 2, rng=1))
        self.returns = returns

    def forward(self, x, labels=None):
        logits = self.layers(mg.Tensor(x))
        loss = None if labels is None else losses.cross_entropy(logits, labels)
        return {
            "tuple": (loss, logits),
            "dict": {"loss": loss, "logits": logits},
            "object": SimpleNamespace(loss=loss, logits=logits),
            "logits": logits,
        }[self.returns]


def numbers(n=40):
    x = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    return [{"x": row, "label": int(row.sum() > 0)} for row in x]


@pytest.mark.parametrize("returns", ["tuple", "dict", "object"])
def test_a_model_of_ones_own(tmp_path, returns):
    model, data = Squares(returns), numbers()
    args = TrainingArguments(
        tmp_path,
        overwrite_output_dir=True,
        num_train_epochs=20,
        per_device_train_batch_size=8,
        learning_rate=0.05,
        logging_steps=1,
        save_strategy="no",
    )
    trainer = Trainer(model, args, data, data)
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] > 0.9
    trainer.save_model()
    assert set(files(tmp_path)) == {"model.safetensors", "run.json"}
    other = Squares(returns)
    other.load_state_dict(safetensors.read(tmp_path / "model.safetensors"))
    assert_same(weights(other), weights(model))
    x = np.stack([item["x"] for item in data])
    np.testing.assert_allclose(trainer.predict(data).predictions, model.layers(mg.Tensor(x)).numpy(), atol=1e-6)
    first = step_losses(trainer)
    again = Trainer(Squares(returns), args, data, data)
    again.train()
    assert step_losses(again) == first


def test_models_that_cannot_be_trained_are_named(tmp_path):
    args, data = TrainingArguments(tmp_path / "out"), numbers()
    with pytest.raises(
        ValueError, match="Squares returned no loss for a batch of x, labels, but a Tensor; expected one with"
    ):
        Trainer(Squares("logits"), args, data, data).train()
    with pytest.raises(ValueError, match="returned no loss for a batch of x: the items need a label"):
        Trainer(Squares("dict"), args, *[[{"x": item["x"]} for item in data]] * 2).train()
    with pytest.raises(ValueError, match=r"Linear.forward\(x.* cannot be called with x, labels, which the items of"):
        Trainer(nn.Linear(4, 2), args, data, data)
    with pytest.raises(TypeError, match="model is a function; expected a Module"):
        Trainer(numbers, args, data, data)


def test_pictures(tmp_path):
    """By a model that has seen them as arrays (3, height, width), and needs no collator."""
    config = ViTConfig(
        image_size=8,
        patch_size=4,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=2,
        initializer_range=0.2,
    )
    rng = np.random.default_rng(0)
    data = [
        {"pixel_values": rng.normal(2 * i % 4 - 1, 1, (3, 8, 8)).astype(np.float32), "label": i % 2} for i in range(24)
    ]
    trainer = Trainer(
        ViTForImageClassification(config, rng=0),
        TrainingArguments(tmp_path, num_train_epochs=6, per_device_train_batch_size=8, learning_rate=1e-2),
        data,
        data,
    )
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] > 0.9
    trainer.save_model()
    assert ViTForImageClassification.from_pretrained(tmp_path).load_report.verdict.startswith("all")
