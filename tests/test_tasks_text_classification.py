"""Texts with one label, several labels or a number: from a file to a model, its scores and its answers."""

import json
import math

import numpy as np
import pytest
import tiny_bert

from minigrad.cli import main
from minigrad.data import Example
from minigrad.tasks.text_classification import TextClassification
from minigrad.train import finetune, pipeline

pytestmark = pytest.mark.slow  # it trains models

pytest.importorskip("tokenizers")
QUICK = {"num_train_epochs": 6, "learning_rate": 1e-2, "per_device_train_batch_size": 8}
MULTI = {"problem_type": "multi_label_classification"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_bert.save_model(tmp_path_factory.mktemp("base"))


def two_labels():
    """Texts of one class or of two, with all their labels."""
    examples = tiny_bert.examples(48)
    joined = [(f"{a.text} {b.text}", (a.label, b.label)) for a, b in zip(examples, examples[1:])]
    return [*joined, *((e.text, (e.label,)) for e in examples), ("the and of", ())]


def numbers():
    """Texts whose number is how many words of sailing they have."""
    sailing = set(tiny_bert.WORDS["sailing"].split())
    return [(e.text, sum(word in sailing for word in e.text.split())) for e in tiny_bert.examples(48)]


@pytest.fixture(scope="module")
def several(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("several") / "out"
    finetune(base, two_labels(), output=out, **MULTI, **QUICK | {"num_train_epochs": 10, "learning_rate": 2e-2})
    return out


@pytest.fixture(scope="module")
def value(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("value") / "out"
    finetune(base, numbers(), output=out, problem_type="regression", **QUICK | {"num_train_epochs": 12})
    return out


def test_several_labels(several):
    pipe = pipeline(model=several)
    scores = pipe.evaluate(two_labels())
    assert scores["micro_f1"] > 0.8 and scores["macro_f1"] > 0.7 and scores["roc_auc"] > 0.9
    found = {one["label"]: one["score"] for one in pipe("the oven flour of violin chord", top_k=None)}
    assert min(found["cooking"], found["music"]) > found["sailing"] and 1 < sum(found.values())
    report = (several / "evaluation.txt").read_text()
    assert "macro average" in report and "all labels right" in report and "confusion" not in report


def test_several_labels_in_files(base, several, tmp_path):
    rows = two_labels()[:20]
    lines = ["text,label", *(f"{text},{';'.join(labels)}" for text, labels in rows)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    objects = [json.dumps({"text": text, "label": list(labels)}) for text, labels in rows]
    (tmp_path / "a.jsonl").write_text("\n".join(objects) + "\n")
    task = TextClassification(**MULTI)
    assert task.read(tmp_path / "a.csv") == task.read(tmp_path / "a.jsonl") == [Example(*row) for row in rows]
    assert pipeline(model=several).evaluate(tmp_path / "a.csv") == pipeline(model=several).evaluate(rows)


def test_a_number(value, capsys):
    pipe = pipeline(model=value)
    scores = pipe.evaluate(numbers())
    assert scores["pearson"] > 0.8 and scores["spearman"] > 0.7 and scores["mae"] <= scores["rmse"] < 2
    assert scores["loss"] == pytest.approx(scores["rmse"] ** 2, rel=1e-4)
    assert pipe("the mast the wind the rope")[0]["score"] > pipe("the oven")[0]["score"] + 0.5
    assert "rmse" in (value / "evaluation.txt").read_text()
    assert main(["predict", str(value), "the oven"]) == 0
    assert capsys.readouterr().out.split()[-1] == "LABEL_0"


def test_scores_are_those_of_the_predictions(base, tmp_path):
    trainer = finetune(base, tiny_bert.examples(), output=tmp_path / "out", **QUICK)
    pipe, examples = pipeline("text-classification", tmp_path / "out"), tiny_bert.examples(30)
    answers = pipe([example.text for example in examples])
    right = np.mean([answer["label"] == example.label for answer, example in zip(answers, examples)])
    scores = pipe.evaluate(examples)
    assert scores["accuracy"] == scores["micro_f1"] == pytest.approx(right)
    assert trainer.best["eval_mcc"] <= 1 and 0 <= scores["roc_auc"] <= 1
    logs = [
        math.log(next(one["score"] for one in pipe(e.text, top_k=None) if one["label"] == e.label)) for e in examples
    ]
    assert scores["loss"] == pytest.approx(-np.mean(logs), rel=1e-4)


def test_sure_answers_are_still_ranked(several):
    """Probabilities in float32 would all be 1."""
    task = pipeline(model=several).task
    task.problem_type = "single_label_classification"
    logits = np.array([[0, 20, 0], [0, 30, 0], [25, 0, 0], [0, 0, 9]], np.float32)
    scores = task.scores_of_classes(logits, np.array([0, 1, 0, 2]))
    assert scores["accuracy"] == 0.75 and scores["roc_auc"] == pytest.approx((0.75 + 1 + 1) / 3)


def test_what_a_pipeline_returns(several):
    pipe = pipeline("sentiment-analysis", several)
    one, two = pipe("the oven"), pipe(["the oven", "the mast"])
    assert [set(answer) for answer in (*one, *two)] == [{"label", "score"}] * 3 and one[0] == two[0]
    best = pipe("the oven", top_k=2)
    assert best[0] == one[0] and len(best) == 2 and pipe(["the oven"], top_k=2) == [best]
    with pytest.raises(ValueError, match="top_k is 0; expected 1 or more"):
        pipe("the oven", top_k=0)
    with pytest.raises(TypeError, match="text 2 is '3', a int; expected a str"):
        pipe(["a", 3])
    with pytest.raises(TypeError, match="pipeline has no argument 'length'"):
        pipeline("text-classification", several, length=3)
    with pytest.raises(TypeError, match="a pipeline needs a model: type pipeline"):
        pipeline("text-classification")


def test_balanced_weights_make_rare_classes_count_as_much(base, tmp_path):
    examples = [e for i, e in enumerate(tiny_bert.examples(48)) if e.label == "cooking" or i % 12 == 1]
    task = TextClassification(class_weights="balanced")
    names = ["cooking", "music"]
    counts = [sum(e.label == name for e in examples) for name in names]
    np.testing.assert_allclose(task.weights_of(examples, names), [len(examples) / 2 / n for n in counts], rtol=1e-6)
    trainer = finetune(base, examples, output=tmp_path / "a", class_weights="balanced", **QUICK | {"logging_steps": 1})
    batch = trainer.collator([trainer.train_dataset[i] for i in range(len(trainer.train_dataset))])
    trainer.model.eval()
    logits = trainer.model(**batch).logits.numpy().astype(np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), batch["labels"]]
    loss = float(trainer.training_step(batch)["loss"].numpy())
    assert loss == pytest.approx(np.mean(losses * trainer.task.weights[batch["labels"]]), rel=1e-5)


def test_accumulated_gradients_of_a_weighted_loss_are_those_of_the_big_batch(base, tmp_path):
    given = {"class_weights": {"music": 3.0}, "output": tmp_path / "out"}
    trainer = finetune(base, tiny_bert.examples(24), **given, **QUICK | {"num_train_epochs": 1})
    items, found = [trainer.train_dataset[i] for i in range(8)], []
    trainer.model.eval()  # without dropout
    for parts in ([items], [items[:3], items[3:]]):
        trainer.model.zero_grad()
        trainer.gradients_of(parts)
        found.append({name: p.grad.numpy() for name, p in trainer.model.named_parameters() if p.grad is not None})
    assert len(found[0]) > 20
    for name, gradient in found[0].items():
        np.testing.assert_allclose(gradient, found[1][name], atol=1e-6, err_msg=name)


def test_balanced_sampling_draws_each_label_equally_often(base, tmp_path):
    examples = [e for i, e in enumerate(tiny_bert.examples(48)) if e.label == "cooking" or i % 12 == 1]
    trainer = finetune(
        base, examples, output=tmp_path / "out", balanced_sampling=True, **QUICK | {"num_train_epochs": 1}
    )
    drawn = np.concatenate([part for epoch in range(40) for part in trainer.train_loader().batches(epoch)])
    share = np.mean(trainer.train_dataset.columns["label"][drawn])
    assert 0.4 < share < 0.6 and np.mean(trainer.train_dataset.columns["label"]) < 0.25


@pytest.mark.parametrize(
    "given, told",
    [
        ({"problem_type": "regresion"}, "problem_type is 'regresion'; expected one of .*: type 'regression'"),
        ({"class_weights": "rare"}, "class_weights is 'rare'; expected 'balanced', or weights such as"),
        (
            {"class_weights": {"musik": 2.0}},
            "class_weights has 'musik', which is not a label: there are cooking, music",
        ),
        ({"class_weights": {"music": -2.0}}, "the weight of 'music' is -2.0; expected a number above 0"),
        ({"class_weights": "balanced", **MULTI}, "class_weights is for single_label_classification, and problem_type"),
        ({"balanced_sampling": True, "problem_type": "regression"}, "balanced_sampling is for single_label_class"),
        ({"problem_type": "regression"}, 'example 1: the label is "cooking"; expected a finite number'),
        ({"problem_type": "regression", "metric_for_best_model": "f1"}, "expected one of pearson, spearman, loss"),
        ({"task": "ner_"}, "task is 'ner_'; expected one of 'text-classification'"),
    ],
)
def test_options_that_do_not_fit(base, tmp_path, given, told):
    with pytest.raises(ValueError, match=told):
        finetune(base, tiny_bert.examples(), output=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "problem, rows, told",
    [
        ("regression", "a,1\nb,high\n", 'train.csv:3: the label is "high"; expected a finite number, such as 3.5'),
        ("regression", "a,1\nb,nan\n", 'train.csv:3: the label is "nan"; expected a finite number'),
        ("multi_label_classification", "a,\nb,\n", "all 2 training texts have no label"),
    ],
)
def test_files_that_are_not_of_the_problem(base, tmp_path, problem, rows, told):
    (tmp_path / "train.csv").write_text(f"text,label\n{rows}")
    with pytest.raises(ValueError, match=told):
        finetune(base, tmp_path / "train.csv", tmp_path / "train.csv", output=tmp_path / "out", problem_type=problem)
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore")
def test_ten_thousand_classes(base, tmp_path):
    rows = [(f"the oven {i}", f"c{i % 10_000}") for i in range(10_050)]
    trainer = finetune(base, rows, rows[:50], output=tmp_path / "out", max_steps=1, **QUICK)
    report = (tmp_path / "out" / "evaluation.txt").read_text()
    assert "... and 9,900 more classes" in report and len(report) < 20_000 and trainer.best["eval_accuracy"] <= 1


def test_evaluate_on_the_command_line(several, tmp_path, capsys):
    lines = ["text,label", *(f"{text},{';'.join(labels)}" for text, labels in two_labels()[:12])]
    (tmp_path / "test.csv").write_text("\n".join(lines) + "\n")
    assert (
        main(["evaluate", str(several), "--file", str(tmp_path / "test.csv"), "--output", str(tmp_path / "s.json")])
        == 0
    )
    told = capsys.readouterr().out
    scores = json.loads((tmp_path / "s.json").read_text())
    assert told.startswith(f"text-classification  loss {scores['loss']:.4f}  accuracy ") and "macro average" in told
    assert scores == pipeline(model=several).evaluate(tmp_path / "test.csv")
    for typed, error in (
        (["--file", "none.csv"], "none.csv: no such file"),
        (["--file", str(tmp_path / "test.csv"), "--output", str(tmp_path / "s.json")], "s.json exists already"),
        (["--file", str(tmp_path / "test.csv"), "--text-column", "x"], "test.csv:1: no text column 'x'"),
    ):
        assert main(["evaluate", str(several), *typed]) == 2
        assert error in capsys.readouterr().err
