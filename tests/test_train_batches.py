"""Accumulation is the big batch for labels, losses and batches of every kind; tuples and arrays are batches, too."""

import numpy as np
import pytest
from test_train_trainer import SMALL, assert_same, dataset, new_model, weights

import minigrad as mg
from minigrad import functional as F
from minigrad import losses, nn
from minigrad.data.text import IGNORED
from minigrad.nn import Module
from minigrad.pretrained import BertConfig, BertForQuestionAnswering, T5Config, T5ForConditionalGeneration
from minigrad.train import Trainer, TrainerCallback, TrainingArguments

RNG = np.random.default_rng(0)


class Net(Module):
    """Numbers in, scores out; no loss of its own."""

    def __init__(self, out=3):
        self.layers = nn.Sequential(nn.Linear(4, 8, rng=0), nn.Tanh(), nn.Linear(8, out, rng=1))

    def forward(self, x):
        return self.layers(mg.Tensor(x))


class Autoencoder(Net):
    """An array in, its loss out."""

    def __init__(self):
        super().__init__(4)

    def forward(self, x):
        made = super().forward(x)
        return {"loss": losses.mse_loss(made, mg.Tensor(x)), "logits": made}


def pairs(label):
    return [(row, label(row)) for row in RNG.normal(size=(14, 4))]


def summed(out, labels, num_items_in_batch):
    return losses.cross_entropy(out, labels, mg.Tensor(np.array([1.0, 5.0, 0.2])), reduction="sum") / num_items_in_batch


def questions():
    items = [
        {"input_ids": ids, "start_positions": i % len(ids), "end_positions": i % len(ids)}
        for i, ids in enumerate(dataset(14).columns["input_ids"])
    ]
    items[3] |= {"start_positions": 50, "end_positions": 50}  # an answer that was cut counts for nothing
    return items


def answers():
    return [{"input_ids": [1, 2 + i % 5, 3], "labels": [2, IGNORED if i % 3 else 4, 1]} for i in range(14)]


T5 = T5Config(
    vocab_size=9,
    d_model=8,
    d_kv=4,
    d_ff=8,
    num_layers=1,
    num_heads=2,
    dropout_rate=0.0,
    pad_token_id=0,
    decoder_start_token_id=0,
)
KINDS = {
    "classes": (Net, lambda: pairs(lambda row: int(row[0] > 0)), {"loss_fn": losses.cross_entropy}, {}),
    "ignored classes": (
        Net,
        lambda: pairs(lambda row: int(row[0] > 0) if row[1] > 0 else IGNORED),
        {"loss_fn": losses.cross_entropy},
        {},
    ),
    "values": (Net, lambda: pairs(lambda row: row[:3]), {"loss_fn": losses.mse_loss}, {}),
    "class weights, which divide by all": (Net, lambda: pairs(lambda row: int(row[0] > 0)), {"loss_fn": summed}, {}),
    "arrays": (Autoencoder, lambda: list(RNG.normal(size=(14, 4))), {}, {}),
    "smoothing": (lambda: new_model(dropout=0.0), lambda: dataset(14), {}, {"label_smoothing_factor": 0.2}),
    "answers in texts": (lambda: BertForQuestionAnswering(BertConfig(**SMALL), rng=0), questions, {}, {}),
    "sequences": (lambda: T5ForConditionalGeneration(T5, rng=0), answers, {}, {}),
}


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_are_the_whole_batch(tmp_path, kind, size):
    make, items, options, arguments = KINDS[kind]
    data, found = items(), []
    for cut in (14, size):
        model = make().to("float64").train()
        trainer = Trainer(
            model, TrainingArguments(tmp_path, per_device_train_batch_size=cut, **arguments), data, **options
        )
        loss, _, count = trainer.gradients([data[i] for i in range(14)])
        found.append(
            (loss, count, {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None})
        )
    (loss, count, whole), (other_loss, other_count, parts) = found
    assert (
        other_loss == pytest.approx(loss, rel=1e-12) and count == other_count and whole.keys() == parts.keys() != set()
    )
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("precision", [{}, {"fp16": True}, {"bf16": True}])
def test_a_loss_function_that_is_no_mean_is_refused_where_it_is_accumulated(tmp_path, precision):
    """One with class weights divides by the sum of the weights, and a sum by nothing."""
    weights = mg.Tensor(np.array([1.0, 5.0, 0.2], np.float32))
    rows = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    data = [(row, int(row[0] > 0) + int(row[1] > 1)) for row in rows]

    def step(loss_fn, size=8, parts=3):
        args = TrainingArguments(
            tmp_path,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=parts,
            max_steps=2,
            save_strategy="no",
            **precision,
        )
        Trainer(Net(), args, data, loss_fn=loss_fn).train()

    for wrong in (
        lambda out, labels: losses.cross_entropy(out, labels, weights),
        lambda out, labels: losses.cross_entropy(out, labels, reduction="sum"),
    ):
        with pytest.raises(
            ValueError, match="loss_fn is not a mean over the labels: .* add an argument num_items_in_batch"
        ):
            step(wrong)
        step(wrong, 24, 1)  # the whole batch at once is what was asked for
    step(losses.cross_entropy)
    step(summed)


def test_smoothing_beside_a_loss_function_is_refused(tmp_path):
    args = TrainingArguments(tmp_path, label_smoothing_factor=0.1)
    with pytest.raises(ValueError, match="label_smoothing_factor is 0.1, which is for a model's own loss"):
        Trainer(Net(), args, pairs(lambda row: 1), loss_fn=losses.cross_entropy)


def test_answers_that_begin_and_end_unequally_often_are_refused(tmp_path):
    data = questions()
    data[0]["end_positions"] = 50
    model = BertForQuestionAnswering(BertConfig(**SMALL), rng=0)
    with pytest.raises(ValueError, match="13 answers of a batch begin within .* and 12 end there"):
        Trainer(model, TrainingArguments(tmp_path, per_device_train_batch_size=14), data).train()


@pytest.mark.parametrize("kind", ["classes", "arrays"])
def test_a_model_is_trained_on_tuples_and_arrays(tmp_path, kind):
    make, items, options, _ = KINDS[kind]
    data = items()
    args = TrainingArguments(tmp_path, num_train_epochs=40, learning_rate=0.02, save_strategy="no")
    trainer = Trainer(make(), args, data, data, **options)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_loss"] < 0.7 * before["eval_loss"]
    found = trainer.predict(data)
    assert found.predictions.shape == (14, 3 if kind == "classes" else 4)
    assert (found.label_ids is None) == (kind == "arrays")
    if kind == "classes":
        assert np.mean(found.predictions.argmax(1) == found.label_ids) == after["eval_accuracy"]


def test_columns_that_the_model_cannot_use_are_left_out(tmp_path):
    data = [{**dataset(6)[i], "text": "as it was", "id": str(i)} for i in range(6)]
    Trainer(new_model(), TrainingArguments(tmp_path, num_train_epochs=1, save_strategy="no"), data).train()
    with pytest.raises(ValueError, match="'text' holds 'as it was', which is not an array of numbers"):
        Trainer(new_model(), TrainingArguments(tmp_path, remove_unused_columns=False), data)


def test_memory_that_runs_out_halves_the_micro_batches(tmp_path):
    """And the gradients stay those of the batch."""
    sizes = []

    class Small(Trainer):
        def training_step(self, batch):
            sizes.append(len(batch["labels"]))
            if sizes[-1] > 3:
                raise MemoryError
            return super().training_step(batch)

    runs = []
    for kind, more in ((Trainer, {}), (Small, {"auto_find_batch_size": True})):
        model = new_model(dropout=0.0).to("float64")
        runs.append(
            kind(
                model,
                TrainingArguments(
                    tmp_path / kind.__name__, max_steps=3, per_device_train_batch_size=8, save_strategy="no", **more
                ),
                dataset(24),
            )
        )
        runs[-1].train()
    assert runs[1].state.train_batch_size == 2 and set(sizes) == {8, 4, 2}
    for name, array in weights(runs[0].model).items():
        np.testing.assert_allclose(weights(runs[1].model)[name], array, atol=1e-12)
    with pytest.raises(MemoryError):
        Small(new_model(), TrainingArguments(tmp_path / "x", per_device_train_batch_size=8), dataset(24)).train()


def test_training_step_is_the_place_to_override(tmp_path):
    """A loss of one's own, here with a penalty, under mixed precision, accumulation and records."""

    class Penalised(Trainer):
        def training_step(self, batch):
            out = self.model(**batch)
            return out.loss + 0.1 * (self.model.classifier.weight**2).sum()

    trainer = Penalised(
        new_model(),
        TrainingArguments(
            tmp_path, max_steps=4, logging_steps=1, bf16=True, save_strategy="no", gradient_accumulation_steps=2
        ),
        dataset(44),
        dataset(9),
    )
    trainer.train()
    assert len([record for record in trainer.history if "loss" in record]) == 4 and trainer.evaluate()["eval_loss"] > 0


def test_events_come_in_hugging_faces_order(tmp_path):
    seen = []

    class Listener(TrainerCallback):
        pass

    from minigrad.train.callbacks import EVENTS

    for event in EVENTS:
        setattr(
            Listener,
            event,
            lambda self, args, state, control, event=event, **more: seen.append(event.removeprefix("on_")),
        )
    args = TrainingArguments(
        tmp_path, max_steps=1, logging_steps=1, eval_strategy="steps", save_steps=1, gradient_accumulation_steps=2
    )
    trainer = Trainer(new_model(), args, dataset(16), dataset(3), callbacks=[Listener])
    trainer.train()
    assert seen == [
        "init_end",
        "train_begin",
        "epoch_begin",
        "step_begin",
        "substep_end",
        "substep_end",
        "pre_optimizer_step",
        "optimizer_step",
        "step_end",
        "log",
        "log",
        "evaluate",
        "save",
        "epoch_end",
        "train_end",
        "log",
    ]


def test_the_listing_of_the_first_design_document(tmp_path, monkeypatch):
    """As it is written there, but for the imports and a local directory."""
    pytest.importorskip("tokenizers")
    import tiny_bert

    from minigrad.data import TextDataset
    from minigrad.pretrained import AutoModelForSequenceClassification, AutoTokenizer

    monkeypatch.chdir(tmp_path)
    tiny_bert.save_model(tmp_path / "bert-base-uncased")
    tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")
    train_dataset = eval_dataset = TextDataset(
        tokenizer([e.text for e in tiny_bert.examples()], padding=False),
        [int(e.label == "music") for e in tiny_bert.examples()],
    )

    # 加载预训练模型
    model = AutoModelForSequenceClassification.from_pretrained("bert-base-uncased")

    # 定义训练参数
    training_args = TrainingArguments(
        output_dir="./results",
        num_train_epochs=3,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=16,
        learning_rate=2e-5,
    )

    # 创建 Trainer 对象
    trainer = Trainer(model=model, args=training_args, train_dataset=train_dataset, eval_dataset=eval_dataset)

    # 开始训练
    before = weights(model)
    trainer.train()
    assert trainer.step == 9 and (tmp_path / "results" / "checkpoint-9" / "model.safetensors").exists()
    with pytest.raises(AssertionError):
        assert_same(weights(model), before)
    # and once more
    Trainer(model=model, args=training_args, train_dataset=train_dataset, eval_dataset=eval_dataset).train()


def test_compute_metrics_and_a_dict_of_evaluation_sets(tmp_path):
    seen = []

    def compute_metrics(prediction):
        seen.append(prediction)
        return {"half": 0.5, "mean": prediction.predictions.mean()}

    parts = {"a": dataset(9), "b": dataset(5)}
    trainer = Trainer(
        new_model(),
        TrainingArguments(tmp_path, per_device_eval_batch_size=4),
        None,
        parts,
        compute_metrics=compute_metrics,
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1),
    )
    told = trainer.evaluate()
    assert (
        told["eval_a_half"] == told["eval_b_half"] == 0.5 and "eval_a_accuracy" not in told and told["eval_b_loss"] > 0
    )
    np.testing.assert_array_equal(seen[0].label_ids, dataset(9).columns["label"])
    alone = trainer.predict(dataset(9)).predictions.argmax(1)
    np.testing.assert_array_equal(seen[0].predictions, alone)


class Line(nn.Module):
    """A model whose loss is reduced as it is told."""

    def __init__(self, reduction="mean"):
        self.layer, self.reduction = nn.Linear(4, 2, rng=0), reduction

    def forward(self, x, labels=None):
        logits = self.layer(mg.Tensor(x))
        return logits if labels is None else (F.cross_entropy(logits, labels, reduction=self.reduction), logits)


ROWS, LABELS = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32), np.arange(12) % 2


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"x": ROWS, "labels": LABELS}, r"a dict of columns \('x', 'labels'\); .*zip\(\*data.values\(\)\)"),
        ((ROWS, LABELS), r"a tuple of 2 columns; .* such as list\(zip\(\*data\)\)"),
        ([mg.Tensor(ROWS), LABELS.tolist()], "a list of 2 columns"),
    ],
)
def test_columns_are_answered_with_the_line_that_makes_items_of_them(tmp_path, columns, text):
    args = TrainingArguments(tmp_path, max_steps=2, disable_tqdm=True)
    with pytest.raises(ValueError, match=f"train_dataset is {text}"):
        Trainer(Line(), args, columns)
    with pytest.raises(ValueError, match="eval_dataset is a .* columns"):
        Trainer(Line(), args, eval_dataset=columns)


def test_the_lines_that_make_items_of_columns_train(tmp_path):
    args = TrainingArguments(tmp_path, max_steps=2, disable_tqdm=True)
    data = {"x": ROWS, "labels": LABELS}
    by_name = Trainer(Line(), args, [dict(zip(data, row)) for row in zip(*data.values())])
    data = (ROWS, LABELS)
    by_position = Trainer(Line(), args, list(zip(*data)))
    assert by_name.train().training_loss == by_position.train().training_loss
    Trainer(Line(), args, ((ROWS[0], 0), (ROWS[1], 1))).train()  # two items are no columns
    Trainer(Line(), args, dict(enumerate(by_name.train_dataset))).train()  # nor is a dict of items by number


@pytest.mark.parametrize("entry", ["train", "evaluate"])
def test_a_loss_that_is_not_reduced_is_named(tmp_path, entry):
    args = TrainingArguments(tmp_path, max_steps=2, disable_tqdm=True)
    items = list(zip(ROWS, LABELS))
    with pytest.raises(ValueError, match=r"Line's loss has shape \(8,\); expected one number.*reduction=.mean"):
        getattr(Trainer(Line("none"), args, items, items), entry)()
    trainer = Trainer(Line(), args, items, items, loss_fn=lambda out, y: F.cross_entropy(out, y, reduction="none"))
    with pytest.raises(ValueError, match=r"the result of loss_fn has shape \(8,\)"):
        getattr(trainer, entry)()
