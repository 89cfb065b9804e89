"""A range test of learning rates finds where the loss falls, and leaves everything as it was."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.train import LearningRates, Trainer, TrainingArguments


class Line(nn.Module):
    """The mean squared error of a linear model; gradient descent on it diverges above a known rate."""

    def __init__(self):
        self.layer = nn.Linear(2, 1, rng=0)

    def forward(self, x, labels):
        return mg.losses.mse_loss(self.layer(x)[:, 0], labels), None


def new_trainer(tmp_path, **more):
    x = np.random.default_rng(0).standard_normal((64, 2)).astype("f4")
    data = [(row, np.float32(row @ [3, -2] + 1)) for row in x]
    args = TrainingArguments(tmp_path, optim="sgd", max_grad_norm=0, disable_tqdm=True, weight_decay=0.0, **more)
    return Trainer(Line(), args, data)


def test_the_loss_falls_fastest_below_the_rate_at_which_descent_diverges(tmp_path):
    trainer = new_trainer(tmp_path / "out", per_device_train_batch_size=64)
    before = {name: t.numpy().copy() for name, t in trainer.model.state_dict().items()}
    found = trainer.lr_find(min_lr=1e-4, max_lr=100, num_training=60)
    x = np.array([row for row, _ in trainer.train_dataset])
    x = np.concatenate([x, np.ones((64, 1))], 1)
    diverges = 2 / np.linalg.eigvalsh(2 / 64 * x.T @ x)[-1]  # the largest stable rate of gradient descent
    assert diverges / 100 < found.suggestion < diverges
    assert found.rates == pytest.approx(np.geomspace(1e-4, 100, 60)[: len(found.rates)])
    assert len(found.rates) < 60 and found.smooth[-1] > 4 * min(found.smooth), "it ends when the loss has grown"
    for name, t in trainer.model.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), before[name])
    assert not trainer.history and not (tmp_path / "out" / "lr_find").exists()


def test_training_after_it_is_training_without_it(tmp_path):
    runs = []
    for test in (True, False):
        trainer = new_trainer(tmp_path / str(test), max_steps=5, learning_rate=0.1, save_strategy="no")
        if test:
            trainer.lr_find(num_training=10)
        trainer.train()
        runs.append(trainer.model.layer.weight.numpy())
    np.testing.assert_array_equal(*runs)


def test_the_smoothed_loss_is_a_corrected_moving_average():
    found = LearningRates([1.0, 2.0, 4.0], [1.0, 0.0, 3.0])
    assert found.smooth == pytest.approx([1.0, 0.09 / 0.19, (0.081 + 0.3) / 0.271])
    assert LearningRates([1.0, 2.0, 4.0, 8.0], [1.0, 1.0, 2.0, 3.0]).suggestion is None, "it falls nowhere"


def test_a_picture_shows_the_suggestion():
    pytest.importorskip("matplotlib")
    axes = LearningRates(np.geomspace(1e-4, 1, 30).tolist(), [3 - 0.1 * i for i in range(30)]).plot().axes[0]
    assert axes.get_xscale() == "log" and "suggestion" in axes.get_legend().get_texts()[-1].get_text()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"min_lr": 1.0, "max_lr": 0.1}, "expected 0 < min_lr < max_lr"),
        ({"min_lr": 0.0}, "expected 0 < min_lr < max_lr"),
        ({"num_training": 3}, "at least 10 steps"),
    ],
)
def test_rates_out_of_range_are_refused(tmp_path, given, told):
    with pytest.raises(ValueError, match=told):
        new_trainer(tmp_path).lr_find(**given)
