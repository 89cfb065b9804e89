import numpy as np
import pytest
import tiny_bert

from minigrad import functional as F
from minigrad import losses
from minigrad.data import Example
from minigrad.finetune import Consistency, GroupCollator, WithUnlabelled, most_uncertain, pseudo_labels
from minigrad.pretrained import AutoModelForSequenceClassification
from minigrad.train import Trainer, TrainingArguments, verify_resume

ANSWERS = {
    "a": {"x": 0.97, "y": 0.03},
    "b": {"y": 0.6, "x": 0.4},
    "c": {"y": 0.96, "x": 0.04},
    "d": {"x": 0.5, "y": 0.5},
}


def classifier(texts):
    return [ANSWERS[text] for text in texts]


def test_pseudo_labels_are_the_sure_ones():
    assert pseudo_labels(classifier, list("abcd")) == [Example("a", "x"), Example("c", "y")]
    assert len(pseudo_labels(classifier, list("abcd"), 0.55)) == 3
    with pytest.raises(ValueError, match="threshold is 95"):
        pseudo_labels(classifier, ["a"], 95)


@pytest.mark.parametrize("by", ["entropy", "margin", "least_confident"])
def test_the_most_uncertain_come_first(by):
    assert most_uncertain(classifier, list("abcd"), 3, by) == [3, 1, 2]


def test_the_three_measures_differ():
    three = {
        "e": {"x": 0.5, "y": 0.5, "z": 0.0},
        "f": {"x": 0.5, "y": 0.25, "z": 0.25},
        "g": {"x": 0.45, "y": 0.3, "z": 0.25},
    }
    first = {
        by: most_uncertain(lambda texts: [three[t] for t in texts], list("efg"), 1, by)
        for by in ("entropy", "margin", "least_confident")
    }
    assert first == {"entropy": [2], "margin": [0], "least_confident": [2]}


@pytest.mark.parametrize(
    "k, by, says", [(0, "entropy", "k is 0"), (5, "margin", "1 to 4"), (1, "luck", "by is 'luck'")]
)
def test_what_cannot_be_chosen_is_refused(k, by, says):
    with pytest.raises(ValueError, match=says):
        most_uncertain(classifier, list("abcd"), k, by)


LABELLED = [{"input_ids": [2, i, 3], "label": i % 2} for i in range(5, 8)]
OTHERS = [{"input_ids": [2, i, i, 3]} for i in range(10, 20)]


def test_each_labelled_item_comes_with_others_that_differ_by_epoch():
    dataset = WithUnlabelled(LABELLED, OTHERS, 2, seed=1)
    groups = [dataset.at_epoch(epoch)[i]["group"] for epoch in range(2) for i in range(3)]
    assert all(
        group[0] == LABELLED[i % 3] and [x["label"] for x in group[1:]] == [-100, -100]
        for i, group in enumerate(groups)
    )
    seen = [[x["input_ids"][1] for group in part for x in group[1:]] for part in (groups[:3], groups[3:])]
    assert all(len(set(ids)) == 6 for ids in seen) and seen[0] != seen[1]
    again = WithUnlabelled(LABELLED, OTHERS, 2, seed=1).at_epoch(1)
    assert [again[i] for i in range(3)] == [{"group": group} for group in groups[3:]]
    with pytest.raises(ValueError, match="ratio is 11"):
        WithUnlabelled(LABELLED, OTHERS, 11)


def test_unlabelled_items_come_again_when_they_are_few():
    dataset = WithUnlabelled(LABELLED, OTHERS[:4], 3)
    assert sorted(x["input_ids"][1] for i in range(3) for x in dataset[i]["group"][1:]).count(10) >= 2


def test_a_batch_holds_the_items_of_all_groups():
    batch = GroupCollator(0)([WithUnlabelled(LABELLED, OTHERS, 2)[i] for i in range(2)])
    assert batch["input_ids"].shape == (6, 4) and batch["labels"].tolist() == [1, -100, -100, 0, -100, -100]
    assert GroupCollator(0)(LABELLED)["labels"].tolist() == [1, 0, 1]


@pytest.fixture
def model(tmp_path):
    return AutoModelForSequenceClassification.from_pretrained(
        tiny_bert.save_model(tmp_path / "model"),
        num_labels=3,
        rng=0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


IDS = np.array([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0], [2, 10, 11, 12, 3]])
MASK = (IDS != 0).astype(np.int64)
LABELS = np.array([1, -100, -100])


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_loss_of_unlabelled_texts_is_that_of_what_the_model_says(model, threshold):
    learner = Consistency(model, 4, weight=0.5, threshold=threshold, mask_probability=1.0, rng=0).train()
    out = learner(IDS, MASK, labels=LABELS)
    masked = np.array([[2, 5, 6, 7, 3], [2, 4, 4, 3, 0], [2, 4, 4, 4, 3]])  # all but the first and the last token
    logits = model(masked, MASK).logits
    expected = losses.cross_entropy(logits[:1], LABELS[:1])
    if not threshold:
        said = model(IDS, MASK).logits.numpy()[1:].argmax(-1)
        expected = expected + 0.5 * losses.cross_entropy(logits[1:], said)
    assert out.loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_evaluation_and_labels_alone_are_the_models_own(model):
    learner = Consistency(model, 4, rng=0)
    labels = np.array([0, 1, 2])
    assert learner.train()(IDS, MASK, labels=labels).loss.item() == model(IDS, MASK, labels=labels).loss.item()
    np.testing.assert_array_equal(learner.eval()(IDS, MASK).logits.numpy(), model(IDS, MASK).logits.numpy())


def test_what_the_model_says_carries_no_gradient(model):
    learner = Consistency(model, 4, threshold=0.0, mask_probability=0.0, rng=0).train()
    learner(IDS, MASK, labels=LABELS).loss.backward()
    found = model.classifier.weight.grad.numpy().copy()
    model.zero_grad()
    said = F.softmax(model(IDS, MASK).logits).numpy().argmax(-1)
    logits = model(IDS, MASK).logits
    (losses.cross_entropy(logits[:1], LABELS[:1]) + losses.cross_entropy(logits[1:], said[1:])).backward()
    np.testing.assert_allclose(found, model.classifier.weight.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_run_resumes_exactly(tmp_path):
    pytest.importorskip("tokenizers")
    directory = tiny_bert.save_model(tmp_path / "model")

    def make(output):
        model = AutoModelForSequenceClassification.from_pretrained(directory, num_labels=2, rng=0)
        dataset = WithUnlabelled(LABELLED * 4, OTHERS, 2)
        args = TrainingArguments(output, per_device_train_batch_size=4, disable_tqdm=True, logging_steps=1)
        learner = Consistency(model, 4, threshold=0.3, rng=0)
        return Trainer(learner, args, dataset, data_collator=GroupCollator(0))

    assert verify_resume(make, 3) == []
