"""The laws of training: accumulation is the big batch, a seed is a run, and the best model is the one that is kept."""
import json

import numpy as np
import pytest
import tiny_bert

from minigrad import losses
from minigrad.data import TextDataset
from minigrad.pretrained import BertConfig, BertForSequenceClassification
from minigrad.train import Trainer, TrainingArguments
from minigrad.train.trainer import IGNORED, decay_groups

CLASSES = 3


def dataset(n, seed=0):
    """Token lists of many lengths; most tokens of a list are the one of its class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    ids = [[1, *np.where(rng.random(m) < 0.7, 2 + label, rng.integers(2, 9, m)).tolist()]
           for label, m in zip(labels, rng.integers(1, 12, n), strict=True)]
    return TextDataset({"input_ids": ids}, labels)


def new_model(dropout=0.1):
    return BertForSequenceClassification(BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, num_labels=CLASSES,
        max_position_embeddings=16, initializer_range=0.2, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout), rng=0)


def new_trainer(output, model=None, tokenizer=None, callbacks=(), **arguments):
    arguments = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 1e-2, **arguments}
    return Trainer(model or new_model(), TrainingArguments(output, **arguments), dataset(44), dataset(21, seed=1),
                   tokenizer=tokenizer, callbacks=callbacks)


def weights(model):
    return {name: t.numpy().copy() for name, t in model.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def step_losses(trainer):
    return [record["loss"] for record in trainer.history if "loss" in record]


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("size", [2, 3, 7])
def test_the_gradients_of_micro_batches_are_those_of_the_whole_batch(tmp_path, size):
    data = dataset(8)
    data.columns["label"][5] = IGNORED                       # so that micro-batches of one size have different shares
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
    runs = [new_trainer(tmp_path / str(k), new_model(dropout=0.0).to("float64"), per_device_train_batch_size=12 // k,
                        gradient_accumulation_steps=k) for k in (1, 4)]
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
    best = trainer.train()
    first, *_, last = [record for record in trainer.history if "eval_loss" in record]
    assert last["train_loss"] < 0.7 * first["train_loss"] and best["eval_accuracy"] > 0.6     # by chance: a third
    assert seen == trainer.history == [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in seen if "loss" in record] == list(range(1, 73))
    rates = [record["learning_rate"] for record in seen if "loss" in record]
    assert rates[0] == 0 and max(rates) == rates[8] == 1e-2 and 0 < rates[-1] < 2e-4
    sizes = [len(batch) for batch in trainer.loader(trainer.train_dataset, 8, shuffle=True).batches(0)]
    assert first["train_loss"] == pytest.approx(np.average(step_losses(trainer)[:6], weights=sizes))


@pytest.mark.parametrize("fp16", [False, True])
def test_a_record_of_several_steps_has_their_means(tmp_path, fp16):
    """Six steps to an epoch, four to a record: the second record begins in one epoch and ends in the next."""
    runs = [new_trainer(tmp_path / str(n), logging_steps=n, fp16=fp16) for n in (1, 4)]
    for trainer in runs:
        trainer.train()
    (each, epochs), (records, same_epochs) = (
        [[r for r in trainer.history if key in r] for key in ("loss", "eval_loss")] for trainer in runs)
    assert [(record["epoch"], record["step"]) for record in records] == [(1, 4), (2, 8), (2, 12)]
    for record, steps in zip(records, (each[:4], each[4:8], each[8:]), strict=True):
        for key in ("loss", "accuracy"):
            assert record[key] == pytest.approx(np.mean([step[key] for step in steps]), rel=1e-12)
        assert {**record, "loss": 0, "accuracy": 0} == {**steps[-1], "loss": 0, "accuracy": 0}
    for a, b in zip(epochs, same_epochs, strict=True):
        assert [b["train_loss"], b["train_accuracy"]] == pytest.approx([a["train_loss"], a["train_accuracy"]], rel=1e-12)
        assert a["eval_loss"] == b["eval_loss"]
    assert_same(weights(runs[0].model), weights(runs[1].model))


@pytest.mark.parametrize("metric", ["loss", "macro_f1"])
def test_an_epoch_whose_loss_is_not_finite_is_never_kept(tmp_path, monkeypatch, metric):
    told = iter([(1.0, 0.5), (np.nan, 0.9), (np.nan, 0.9)])
    monkeypatch.setattr(Trainer, "evaluate", lambda _: dict(zip(("eval_loss", "eval_macro_f1"), next(told))))
    assert new_trainer(tmp_path / "kept", metric_for_best_model=metric).train()["epoch"] == 1
    with pytest.raises(ValueError, match="loss of epoch 1 is nan, so no model was saved: lower the learning_rate, which is 0.01"):
        new_trainer(tmp_path / "none", metric_for_best_model=metric).train()
    assert not list((tmp_path / "none").iterdir())


def test_evaluation_is_the_models_own_in_the_datasets_order(tmp_path):
    trainer = new_trainer(tmp_path, per_device_eval_batch_size=4)
    data = trainer.eval_dataset
    alone = np.concatenate([trainer.model.eval()(input_ids=np.array([item["input_ids"]])).logits.numpy()
                            for item in map(data.__getitem__, range(len(data)))])
    np.testing.assert_allclose(trainer.predict(data), alone, atol=1e-5)
    found, labels = trainer.evaluate(), data.columns["label"]
    assert found["eval_loss"] == pytest.approx(float(losses.cross_entropy(alone, labels)), rel=1e-5)
    assert found["eval_accuracy"] == np.mean(alone.argmax(1) == labels)
    assert np.trace(found["eval_confusion_matrix"]) == (alone.argmax(1) == labels).sum()
    assert np.sum(found["eval_confusion_matrix"], axis=1).tolist() == [7, 7, 7]


@pytest.mark.parametrize("metric, scores, kept", [("macro_f1", (0.2, 0.5, 0.5, 0.4), 2), ("loss", (0.2, 0.5, 0.1, 0.4), 3)])
def test_the_best_epoch_is_saved_and_loaded_back(tmp_path, monkeypatch, metric, scores, kept):
    trainer, after = new_trainer(tmp_path, metric_for_best_model=metric, num_train_epochs=4), []

    def evaluate():
        after.append(weights(trainer.model))
        return {**original(), f"eval_{metric}": scores[len(after) - 1]}
    original = trainer.evaluate
    monkeypatch.setattr(trainer, "evaluate", evaluate)
    assert trainer.train()["epoch"] == trainer.best["epoch"] == kept
    assert_same(weights(trainer.model), after[kept - 1])
    assert_same(weights(BertForSequenceClassification.from_pretrained(tmp_path)), after[kept - 1])
    assert not trainer.model.training


def test_biases_and_layer_norms_do_not_decay():
    model = new_model()
    model.freeze("bert.pooler.**")
    decayed, kept = ({id(p) for p in group["params"]} for group in decay_groups(model, 0.1))
    for name, p in model.named_parameters():
        where = None if "pooler" in name else kept if "LayerNorm" in name or name.endswith("bias") else decayed
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
    assert len(held) == 6 + 1 and not any(held)


def test_a_diverging_run_stops_with_its_cause(tmp_path):
    """At once, whether the step is logged or not, and with the weights as they were."""
    model = new_model()
    model.classifier.weight.data[0, 0] = np.nan
    before, trainer = weights(model), new_trainer(tmp_path, model, logging_steps=5)
    with pytest.raises(ValueError, match="norm is nan.*lower the learning rate"):
        trainer.train()
    assert trainer.step == 0
    assert_same(weights(model), before)


def test_an_interruption_in_training_keeps_the_best_model_and_says_so(tmp_path):
    trainer = new_trainer(tmp_path)
    trainer.callbacks = [lambda record: record.get("step") == 8 and interrupt()]
    with pytest.raises(KeyboardInterrupt, match=f"step 8 of 12; the best model so far, of epoch 1, is in {tmp_path}"):
        trainer.train()
    assert BertForSequenceClassification.from_pretrained(tmp_path).load_report.verdict.startswith("all")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        new_trainer(tmp_path).train()
    unsaved = new_trainer(tmp_path / "new", callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt, match="step 1 of 12; no epoch was finished, so no model was saved"):
        unsaved.train()


class Interrupted:
    """A tokenizer: it is saved when the model's files are written already, and then the user presses Ctrl-C."""
    save_pretrained = interrupt


def test_an_interruption_while_saving_leaves_what_was_there(tmp_path):
    tiny_bert.save_model(tmp_path)
    before = files(tmp_path)
    with pytest.raises(KeyboardInterrupt, match="no model was saved"):
        new_trainer(tmp_path, tokenizer=Interrupted(), overwrite_output_dir=True).train()
    assert files(tmp_path) == before


def test_overwriting_leaves_no_file_of_the_earlier_tokenizer(tmp_path):
    tiny_bert.save_model(tmp_path)
    new_trainer(tmp_path, overwrite_output_dir=True).train()
    assert set(files(tmp_path)) == {"config.json", "model.safetensors", "metrics.jsonl"}
