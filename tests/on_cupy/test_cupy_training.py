"""Whole training runs on CuPy and on NumPy, dropout and all: the same losses, the same weights, and no waiting in
between.
"""

import numpy as np
import pytest
import tiny_bert
from test_train_trainer import new_model, new_trainer

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.data import TextDataset
from minigrad.pretrained import AutoModelForSequenceClassification, AutoTokenizer
from minigrad.tensor import Tensor
from minigrad.train import Trainer, TrainingArguments

rng = np.random.default_rng(0)
STEPS, LOGGED = 6, 2  # of which every third is looked at


def mlp(rng):
    return nn.Sequential(nn.Linear(5, 16, rng=rng), nn.ReLU(), nn.Dropout(0.2, rng=rng), nn.Linear(16, 3, rng=rng))


def cnn(rng):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, rng=rng),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, rng=rng),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(6 * 4, 3, rng=rng),
    )


class GPT(nn.Module):
    """Token ids (B, T) to the scores of the next ones."""

    def __init__(self, rng):
        self.tokens, self.positions = nn.Embedding(11, 16, rng=rng), nn.LearnedPositions(8, 16, rng=rng)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, 0.1, "gelu", norm_first=True, batch_first=True, rng=rng)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 11, rng=rng)

    def forward(self, ids):
        return self.head(self.norm(self.block(self.positions(self.tokens(ids)), is_causal=True))).swapaxes(1, 2)


def adamw(params):
    return optim.AdamW(params, lr=1e-2, eps=1e-4)  # or rounding would move what has a gradient of 0, as a key's bias


def sgd(params):
    return optim.SGD(params, lr=0.05, momentum=0.9, nesterov=True)


IDS = rng.integers(0, 11, (6, 9))
RUNS = {
    "MLP": (mlp, adamw, rng.standard_normal((12, 5), "f4"), np.arange(12) % 3),
    "CNN": (cnn, sgd, rng.standard_normal((4, 1, 8, 8), "f4"), np.arange(4) % 3),
    "GPT": (GPT, adamw, IDS[:, :-1], IDS[:, 1:]),
}


def train(run, device, downloads=lambda: 0):
    """The losses that were looked at, the weights at the end, and how often something was copied to the host in
    between.
    """
    make, optimizer, x, labels = run
    model = make(np.random.default_rng(0)).to(device)
    optimizer, x, labels = optimizer(model.parameters()), Tensor(x, device=device), Tensor(labels, device=device)
    losses, copies = [], []
    downloads()
    for step in range(STEPS):
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % (STEPS // LOGGED) == 0:
            losses.append(loss.item())
        copies.append(downloads())
    return losses, [t.numpy() for t in model.state_dict().values()], copies


@pytest.mark.parametrize("name", RUNS)
def test_a_run(name):
    (ours, our_weights, _), (numpys, weights, _) = train(RUNS[name], "cuda"), train(RUNS[name], "cpu")
    np.testing.assert_allclose(ours, numpys, rtol=1e-4)
    for a, b in zip(our_weights, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", RUNS)
def test_a_step_waits_only_to_be_logged(name, downloads):
    """Forward, backward, clipping, step: the only copy to the host is the loss of a step that is logged."""
    assert train(RUNS[name], "cuda", downloads)[2] == [1, 0, 0] * LOGGED


def test_an_epoch_with_the_trainer(tmp_path):
    trainers = [
        new_trainer(tmp_path / device, new_model().to(device), num_train_epochs=1) for device in ("cuda", "cpu")
    ]
    for trainer in trainers:
        trainer.train()
    ours, numpys = (trainer.history[-2] for trainer in trainers)
    assert ours["eval_loss"] == pytest.approx(numpys["eval_loss"], rel=1e-3)
    assert [r["loss"] for r in trainers[0].history if "loss" in r] == pytest.approx(
        [r["loss"] for r in trainers[1].history if "loss" in r], rel=1e-3
    )
    assert trainers[0].model.classifier.weight.device == "cuda"


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("logging_steps", [1, 4])
def test_the_trainer_waits_once_in_a_step_that_is_logged(tmp_path, downloads, precision, logging_steps):
    """Whatever a step reports comes in one copy: in every step with fp16, whose scale depends on it; else if the step
    is logged, and in the last of an epoch, of which there are six."""
    trainer = new_trainer(
        tmp_path,
        new_model().to("cuda"),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        logging_steps=logging_steps,
        **({} if precision == "fp32" else {precision: True}),
    )
    copies, gradients, update = [], trainer.gradients, trainer.scaler.update

    def begin(items):
        downloads()
        return gradients(items)

    def end():
        update()
        copies.append(downloads())

    trainer.gradients, trainer.scaler.update = begin, end
    trainer.train()
    assert copies == [precision == "fp16" or step % logging_steps == 0 or step % 6 == 0 for step in range(1, 13)]


@pytest.mark.parametrize("logging_steps", [1, 4])
def test_the_records_of_a_trainer(tmp_path, logging_steps):
    runs = [
        new_trainer(tmp_path / device, new_model().to(device), logging_steps=logging_steps)
        for device in ("cuda", "cpu")
    ]
    for trainer in runs:
        trainer.train()
    for ours, numpys in zip(*(trainer.history for trainer in runs), strict=True):
        different = {
            "eval_confusion_matrix",
            "best",
            *(key for key in ours if key.endswith(("_runtime", "_per_second"))),
        }
        assert ours.keys() == numpys.keys()
        assert {key: ours[key] for key in ours.keys() - different} == pytest.approx(
            {key: numpys[key] for key in numpys.keys() - different}, rel=1e-3
        )


@pytest.mark.parametrize("logging_steps", [1, 4])
def test_a_diverging_run_of_the_trainer(tmp_path, logging_steps):
    """Gradients that are not finite are refused when the norm is looked at: in a step that is logged before the weights
    move.
    """
    model = new_model().to("cuda")
    trainer = new_trainer(tmp_path, model, logging_steps=logging_steps)
    gradients = trainer.gradients

    def spoiled(items):
        found = gradients(items)
        if trainer.step == 1:
            model.classifier.weight.grad.data[0, 0] = np.nan
        return found

    trainer.gradients = spoiled
    with pytest.raises(ValueError, match="cannot be clipped: at step 2 their norm is nan; lower the learning rate"):
        trainer.train()
    spoilt = [np.isnan(t.numpy()).any() for t in model.state_dict().values()]
    assert trainer.step == (1 if logging_steps == 1 else 3) and any(spoilt) == (logging_steps > 1)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]  # nothing was saved


def test_fine_tuning_bert(tmp_path):
    """A saved encoder, its tokenizer, a new head: three steps each, on batches of padded texts."""
    pytest.importorskip("tokenizers")
    tiny_bert.save_model(tmp_path / "bert")
    tokenizer, texts = AutoTokenizer.from_pretrained(tmp_path / "bert"), tiny_bert.examples(24)
    labels = [sorted(tiny_bert.WORDS).index(example.label) for example in texts]
    data = TextDataset(tokenizer([example.text for example in texts], padding=False), labels)
    runs = []
    for device in ("cuda", "cpu"):
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "bert", num_labels=3, rng=0).to(device)
        args = TrainingArguments(
            tmp_path / device, num_train_epochs=2, per_device_train_batch_size=8, learning_rate=1e-2, logging_steps=1
        )
        trainer = Trainer(model, args, data, data)
        trainer.train()
        runs.append(
            ([record["loss"] for record in trainer.history if "loss" in record], trainer.evaluate()["eval_loss"])
        )
    (ours, ours_after), (numpys, numpys_after) = runs
    assert ours == pytest.approx(numpys, rel=1e-3) and ours_after == pytest.approx(numpys_after, rel=1e-2)


def test_a_gradient_of_a_gradient():
    def penalty(device):
        x = mg.Tensor(np.linspace(-1, 1, 10, dtype="f4").reshape(2, 5), requires_grad=True, device=device)
        model = mlp(np.random.default_rng(0)).to(device)
        slope = mg.grad(model(x).sum(), x, create_graph=True)
        (slope * slope).sum().backward()
        return [p.grad.numpy() for p in model.parameters() if p.grad is not None]

    for a, b in zip(penalty("cuda"), penalty("cpu"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
