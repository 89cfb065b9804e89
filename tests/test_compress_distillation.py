"""Distillation: its losses against mathematics, its trainer for each kind of task, its command, and bad input."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny_bert

import minigrad as mg
from minigrad import losses
from minigrad.cli import main
from minigrad.compress import (
    DistillationTrainer,
    attention_loss,
    cosine_loss,
    distill,
    hidden_loss,
    soft_target_loss,
    student_of,
)
from minigrad.pretrained import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
)
from minigrad.tasks import task_class
from minigrad.train import TrainingArguments, finetune
from minigrad.train.recomputing import recompute_layers

pytest.importorskip("tokenizers")
PROCESSOR = SimpleNamespace(pad_token_id=0, save_pretrained=lambda directory: None)
QUICK = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 1e-2}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def softmax(x):
    p = np.exp(x - x.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


# The losses.


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_soft_targets(temperature):
    s, t = normal(5, 4), normal(5, 4, seed=1)
    p, q = softmax(t / temperature), softmax(s / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum(-1)
    assert soft_target_loss(mg.Tensor(s), t, temperature).item() == pytest.approx(expected.mean())
    counted = np.array([1, 0, 1, 0, 0], bool)
    assert soft_target_loss(mg.Tensor(s), t, temperature, counted).item() == pytest.approx(expected[counted].mean())
    assert soft_target_loss(mg.Tensor(t), t, temperature).item() == pytest.approx(0, abs=1e-7)
    assert mg.gradcheck(lambda x: soft_target_loss(x, t, temperature, counted), [mg.Tensor(s)])


def test_at_a_high_temperature_its_gradient_is_that_of_the_squared_difference():
    """Hinton et al. 2015, eq. 4, for scores of mean zero: (s - t) / classes."""
    s, t = (x - x.mean(-1, keepdims=True) for x in (normal(5, 4), normal(5, 4, seed=1)))
    x = mg.Tensor(s, requires_grad=True)
    soft_target_loss(x, t, 1000.0).backward()
    np.testing.assert_allclose(x.grad.numpy(), (s - t) / 4 / 5, rtol=0.02, atol=1e-4)


def test_losses_of_hidden_states_and_attention():
    s, t, mask = normal(2, 3, 4), normal(2, 3, 4, seed=1), np.array([[1, 1, 0], [1, 1, 1]])

    def over_tokens(rows):
        return ((rows * mask).sum(1) / mask.sum(1)).mean()

    assert hidden_loss(mg.Tensor(s), t, mask).item() == pytest.approx(over_tokens(((s - t) ** 2).mean(-1)))
    cosine = 1 - (s * t).sum(-1) / np.linalg.norm(s, axis=-1) / np.linalg.norm(t, axis=-1)
    assert cosine_loss(mg.Tensor(s), mg.Tensor(t), mask).item() == pytest.approx(over_tokens(cosine))
    a, b = softmax(normal(2, 5, 3, 3)), softmax(normal(2, 5, 3, 3, seed=1))
    assert attention_loss(mg.Tensor(a), b, mask).item() == pytest.approx(over_tokens(((a - b) ** 2).sum(-1).mean(1)))
    assert attention_loss(mg.Tensor(a), b).item() == pytest.approx(((a - b) ** 2).sum(-1).mean())
    for loss, pair in ((hidden_loss, (s, t)), (cosine_loss, (s, t)), (attention_loss, (a, b))):
        assert mg.gradcheck(lambda x, loss=loss, y=pair[1]: loss(x, mg.Tensor(y), mask), [mg.Tensor(pair[0])])
    with pytest.raises(ValueError, match="student have 3 features and those of the teacher 4; expected as many: set"):
        hidden_loss(mg.Tensor(s[..., :3]), t)
    with pytest.raises(ValueError, match="expected as many heads: set attention_weight to 0"):
        attention_loss(mg.Tensor(a[:, :2]), b)


# The trainer.

SIZES = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
    "initializer_range": 0.3,
}


def pair(labels=("a", "b", "c"), **changes):
    teacher = BertForSequenceClassification(BertConfig(**SIZES, id2label=dict(enumerate(labels)), **changes), rng=0)
    return teacher.eval(), student_of(teacher, 2)


class Rows(list):
    """Items with token ids of different lengths."""

    def __init__(self, label):
        rng = np.random.default_rng(0)
        super().__init__({"input_ids": rng.integers(1, 30, 3 + i % 3), "label": label(i)} for i in range(12))


def trainer_of(tmp_path, teacher, student, dataset, kind="text-classification", **more):
    task = task_class(kind)(model=student, processor=PROCESSOR)
    args = TrainingArguments(
        tmp_path, per_device_train_batch_size=6, max_steps=3, learning_rate=1e-2, disable_tqdm=True, logging_steps=1
    )
    return DistillationTrainer(task, args, dataset, teacher=teacher, **more)


def test_the_loss_is_the_sum_of_its_parts(tmp_path):
    teacher, student = pair()
    options = {"temperature": 3.0, "alpha": 0.7, "hidden_weight": 2.0, "cosine_weight": 3.0, "attention_weight": 5.0}
    trainer = trainer_of(tmp_path, teacher, student, Rows(lambda i: i % 3), **options)
    batch = trainer.collator(trainer.train_dataset[:6])
    student.train()
    for module in student.modules():
        if hasattr(module, "p"):
            module.p = 0.0
    found = trainer.training_step(batch)["loss"].item()
    with mg.no_grad():
        s, t = (m.eval()(**batch, output_hidden_states=True, output_attentions=True) for m in (student, teacher))
    mask, states = batch["attention_mask"], [(0, 0), (1, 2), (2, 4)]
    expected = 0.3 * losses.cross_entropy(s.logits, batch["labels"]) + 0.7 * soft_target_loss(s.logits, t.logits, 3.0)
    for loss, weight in ((hidden_loss, 2.0), (cosine_loss, 3.0)):
        expected += weight * sum(loss(s.hidden_states[i], t.hidden_states[j], mask) for i, j in states) / 3
    expected += 5 * sum(attention_loss(s.attentions[i - 1], t.attentions[j - 1], mask) for i, j in states[1:]) / 2
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_a_step_trains_the_student_alone(tmp_path):
    teacher, student = pair()
    before = {name: t.numpy().copy() for name, t in teacher.state_dict().items()}
    trainer = trainer_of(tmp_path, teacher, student, Rows(lambda i: i % 3), alpha=1.0)
    started = student.classifier.weight.numpy().copy()
    trainer.train()
    assert all(np.array_equal(t.numpy(), before[name]) for name, t in teacher.state_dict().items())
    assert not np.array_equal(student.classifier.weight.numpy(), started)
    assert not any(p.grad is not None for p in teacher.parameters())


def test_a_student_that_is_the_teacher_has_nothing_to_learn(tmp_path):
    """Of every kind of answers: the gradient is zero."""
    kinds = {
        "single_label_classification": lambda i: i % 3,
        "multi_label_classification": lambda i: np.array([i % 2, 1, 0], np.float32),
        "regression": lambda i: np.array([i, 0, 1], np.float32),
    }
    for problem, label in kinds.items():
        teacher, _ = pair(problem_type=problem, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        student = student_of(teacher, 4)
        trainer = trainer_of(
            tmp_path, teacher, student, Rows(label), alpha=1.0, hidden_weight=1.0, attention_weight=1.0
        )
        trainer.task.problem_type = problem
        student.train()
        trainer.training_step(trainer.collator(trainer.train_dataset[:6]))["loss"].backward()
        worst = max(float(np.abs(p.grad.numpy()).max()) for p in student.parameters() if p.grad is not None)
        assert worst < 1e-4, problem


def test_answers_for_each_token(tmp_path):
    """Only tokens with a label count; of a model that predicts the next one, those before such a token."""
    ids = normal(2, 5).argsort(-1) + 3
    labels = np.array([[1, -100, 0, 2, -100], [-100, 1, 1, 0, 2]])
    config = GPT2Config(vocab_size=9, n_positions=9, n_embd=8, n_layer=2, n_head=2, initializer_range=0.5)
    for kind, model, counted in (
        ("token-classification", BertForTokenClassification(BertConfig(**SIZES, num_labels=3), rng=0), labels != -100),
        ("text-generation", GPT2LMHeadModel(config, rng=0), labels[:, 1:] != -100),
    ):
        student, batch = student_of(model, 1), {"input_ids": ids, "labels": labels}
        trainer = trainer_of(tmp_path, model, student, Rows(lambda i: np.zeros(3 + i % 3, int)), kind, alpha=1.0)
        student.eval()
        out, wanted = student(**batch), trainer.teacher(**batch)
        s, t = (o.logits.numpy()[:, : counted.shape[1]].astype(float) / 2 for o in (out, wanted))
        p, q = softmax(t), softmax(s)
        expected = (4 * (p * np.log(p / q)).sum(-1))[counted].mean()
        assert trainer.answers_loss(out, wanted, batch).item() == pytest.approx(expected, rel=1e-4)


def test_answers_that_are_spans(tmp_path):
    teacher = BertForQuestionAnswering(BertConfig(**SIZES), rng=0).eval()
    student = student_of(teacher, 2).eval()
    batch = {"input_ids": normal(2, 5).argsort(-1) + 3, "start_positions": [0, 1], "end_positions": [1, 2]}
    task = task_class("question-answering")(model=student, processor=PROCESSOR)
    items = [{"input_ids": [3, 4, 5], "start_positions": 0, "end_positions": 1}] * 4
    trainer = DistillationTrainer(task, TrainingArguments(tmp_path, disable_tqdm=True), items, teacher=teacher)
    out, wanted = student(**batch), teacher(**batch)
    expected = (
        soft_target_loss(out.start_logits, wanted.start_logits) + soft_target_loss(out.end_logits, wanted.end_logits)
    ) / 2
    assert trainer.answers_loss(out, wanted, batch).item() == pytest.approx(expected.item())
    trainer.check()


def test_labels_in_another_order(tmp_path):
    """The teacher's rows follow the student's names."""
    teacher, _ = pair(("a", "b", "c"))
    student = BertForSequenceClassification(BertConfig(**SIZES, id2label={0: "c", 1: "a", 2: "b"}), rng=1)
    before = teacher(np.ones((1, 4), int)).logits.numpy()
    trainer_of(tmp_path, teacher, student, Rows(lambda i: i % 3))
    assert np.allclose(teacher(np.ones((1, 4), int)).logits.numpy(), before[:, [2, 0, 1]])
    assert list(teacher.config.id2label.values()) == ["c", "a", "b"]


def test_attention_is_not_there_if_it_is_computed_again(tmp_path):
    """Hidden states are, as they lie between the layers: their gradients are the same."""
    teacher, student = pair()
    args = TrainingArguments(tmp_path, gradient_checkpointing=True, disable_tqdm=True)
    task = task_class("text-classification")(model=student, processor=PROCESSOR)
    with pytest.raises(ValueError, match="attention_weight needs the attention of all layers"):
        DistillationTrainer(task, args, Rows(lambda i: i % 3), teacher=teacher, attention_weight=1.0)
    found = []
    for again in (False, True):
        student = student_of(teacher, 2)
        trainer = trainer_of(tmp_path, teacher, student, Rows(lambda i: i % 3), hidden_weight=1.0)
        for module in student.train().modules():
            if hasattr(module, "p"):
                module.p = 0.0
        with recompute_layers(student, again):
            trainer.training_step(trainer.collator(trainer.train_dataset[:6]))["loss"].backward()
        found.append([p.grad.numpy() for p in student.parameters() if p.grad is not None])
    for whole, again in zip(*found, strict=True):
        np.testing.assert_allclose(again, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"temperature": 0}, "temperature is 0; expected a number above 0"),
        ({"alpha": 1.5}, "alpha is 1.5; expected the teacher's part of the loss"),
        ({"hidden_weight": -1}, "hidden_weight is -1; expected a factor"),
        ({"hidden_weight": 1, "layer_map": {0: 0, 3: 4}}, "layer_map has 3: 4; expected states from 0"),
    ],
)
def test_bad_options(tmp_path, options, told):
    teacher, student = pair()
    with pytest.raises(ValueError, match=told):
        trainer_of(tmp_path, teacher, student, Rows(lambda i: i % 3), **options).check()


def test_a_student_begins_as_layers_of_the_teacher(tmp_path):
    teacher, student = pair()
    for own, wanted in enumerate([1, 3]):
        ours, theirs = (
            {name: t.numpy() for name, t in model.bert.encoder.layer[i].state_dict().items()}
            for model, i in ((student, own), (teacher, wanted))
        )
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert len(teacher.bert.encoder.layer) == 4 and student.config.num_hidden_layers == 2
    assert student_of(teacher, [0, 3]).config.num_hidden_layers == 2
    for wrong in (0, 5, [3, 0], [0, 4]):
        with pytest.raises(ValueError, match="the student is to have"):
            student_of(teacher, wrong)


# The command.


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with a teacher of two layers, fine-tuned, and examples."""
    monkeypatch.chdir(tmp_path)
    tiny_bert.save_model(tmp_path / "base", layers=2)
    tiny_bert.save_csv(tmp_path / "train.csv", tiny_bert.examples())
    finetune("base", "train.csv", output="teacher", max_length=24, **QUICK)
    return tmp_path


@pytest.mark.slow
def test_from_the_command_line(place, capsys):
    capsys.readouterr()
    options = "--epochs 2 --batch-size 8 --lr 1e-2 --temperature 3 --alpha 0.8 --hidden-weight 1 --attention-weight 1"
    assert main(["distill", "teacher", "1", "--train", "train.csv", "--output", "small", *options.split()]) == 0
    told = capsys.readouterr().out
    assert "Saved in small" in told and "student" in told and "teacher" in told.splitlines()[-1]
    loaded = AutoModelForSequenceClassification.from_pretrained("small")
    assert loaded.config.num_hidden_layers == 1 and loaded.config.rest["text_max_length"] == 24
    assert main(["predict", "small", "the old violin", "--top-k", "1"]) == 0
    assert main(["distill", "teacher", "base", "--train", "train.csv", "--output", "other", "--epochs", "1"]) == 0
    assert main(["distill", "teacher", "0", "--train", "train.csv", "--output", "none"]) == 2
    error = capsys.readouterr().err
    assert error == "minigrad: error: the student is to have 0 layers; expected 1 to 2, which the teacher has\n"
    assert not (place / "none").exists()


@pytest.mark.slow
def test_what_does_not_fit_is_told_in_one_line(place, capsys):
    words = (place / "base" / "vocab.txt").read_text().splitlines()
    tiny_bert.save_model(place / "other")
    (place / "other" / "vocab.txt").write_text("\n".join([*words[:-1], "wind-mill"]) + "\n")
    with pytest.raises(
        ValueError, match=r"reads another vocabulary, of 25 tokens, .* as in minigrad distill teacher 3"
    ):
        distill("teacher", "other", "train.csv", output="small")
    with pytest.raises(ValueError, match=r"teacher in base was not fine-tuned, it has no .*; type: minigrad finetune"):
        distill("base", 1, "train.csv", output="small")
    with pytest.raises(ValueError, match="teacher is the model itself, which would be lost"):
        distill("teacher", 1, "train.csv", output="teacher", overwrite=True)
    rows = [(text, "tea" if label == "music" else label) for text, label in tiny_bert.examples()]
    with pytest.raises(
        ValueError, match="teacher has the labels cooking, music, sailing, and the examples cooking, sailing, tea"
    ):
        distill("teacher", 1, rows, output="small")
    with pytest.raises(TypeError, match="temprature"):
        distill("teacher", 1, "train.csv", output="small", temprature=2)
    assert not (place / "small").exists()
