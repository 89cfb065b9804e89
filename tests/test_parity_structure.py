"""Mistakes in how a model is put together: each is planted, located, and explained by a change that was tried."""

import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.nn.position import RotaryPositions
from minigrad.parity import parity

rng = np.random.default_rng(0)
X = rng.standard_normal((2, 5, 8)).astype("float32")
MASK = np.arange(5) < np.array([[5], [3]])


class Block(nn.Module):
    """Attention and a feed-forward net, with the mistakes that `wrong` names."""

    def __init__(self, wrong):
        self.wrong = wrong
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.query, self.key, self.value, self.out, self.fc = (nn.Linear(8, 8, rng=i) for i in range(5))
        self.turn = RotaryPositions(4, 500.0 if "base" in wrong else 10_000.0)

    def attend(self, x, mask):
        query, key, value = (
            (self.key, self.query, self.value) if "qk" in self.wrong else (self.query, self.key, self.value)
        )

        def heads(y):
            if "heads" in self.wrong:
                return mg.transpose(y.reshape(2, 5, 4, 2), (0, 3, 1, 2))
            return mg.swapaxes(y.reshape(2, 5, 2, 4), 1, 2)

        q, k, v = heads(query(x)), heads(key(x)), heads(value(x))
        if "turned" in self.wrong:
            q, k = self.turn(q, np.arange(5)), self.turn(k, np.arange(5))
        seen = np.broadcast_to(mask[:, None, None, :], (2, 1, 5, 5))
        if "axis" in self.wrong or "hand" in self.wrong:
            y = mg.softmax(q @ k.mT * 0.5, axis=-2 if "axis" in self.wrong else -1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, ~seen if "mask" in self.wrong else seen)
        if "heads" in self.wrong:
            return self.out(mg.transpose(y, (0, 2, 3, 1)).reshape(2, 5, 8))
        return self.out(mg.swapaxes(y, 1, 2).reshape(2, 5, 8))

    def forward(self, x, mask):
        if "post" in self.wrong:
            x = self.norm1(x + self.attend(x, mask))
            return self.norm2(x + self.fc(x))
        x = x + self.attend(self.norm1(x), mask)
        return self.fc(self.norm2(x)) + (0 if "residual" in self.wrong else x)


class Net(nn.Module):
    def __init__(self, wrong=""):
        self.wrong, self.layers = wrong, [Block(wrong), Block(wrong)]
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3, rng=9, bias="bias" not in wrong)
        draw = np.random.default_rng(3)
        for name, p in self.named_parameters():
            if name != "head.bias":
                p.copy_(p.data + draw.standard_normal(p.shape) * 0.3)

    def forward(self, x, mask):
        if "scale" in self.wrong:
            x = x * 8**0.5
        for layer in self.layers[::-1] if "order" in self.wrong else self.layers:
            x = layer(x, mask)
        return {"logits": self.head(x if "nonorm" in self.wrong else self.norm(x))}


PLANTED = [
    ("qk", "", "query and key are exchanged in ours"),
    ("mask", "", "the mask is inverted in ours"),
    ("axis", "hand", "the softmax runs along another axis in ours than in the reference, where it is -1"),
    ("", "post", r"ours normalises before each residual \(pre-norm\), the reference after"),
    ("post", "", r"ours normalises after each residual \(post-norm\), the reference before"),
    ("residual", "", "ours lacks a residual"),
    ("nonorm", "", "norm, which ours has but never runs, is missing in ours"),
    ("order", "", "layers.0 and layers.1 are exchanged in ours"),
    ("heads", "", "the width is split into heads"),
    ("turned base", "turned", "the base of the rotary positions is 500 in ours and 10000 in the reference"),
]


@pytest.mark.parametrize("ours, reference, told", PLANTED, ids=[f"{a}-{b}" for a, b, _ in PLANTED])
def test_what_was_planted_is_explained(ours, reference, told):
    inputs = {"x": X, "mask": MASK}
    assert parity(Net(ours), Net(ours), inputs, steps=0).ok
    report = parity(Net(ours), Net(reference), inputs, steps=0)
    assert report.divergence.guess and re.search(told, report.divergence.guess), report.verdict


class Gated(nn.Module):
    def __init__(self, kind, order):
        self.rnn, self.head = kind(4, 3, rng=0), nn.Linear(3, 2, rng=1)
        self.order = order

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def blocks(kind, order):
    """A recurrent layer that takes the blocks of its weights in another order."""

    class Other(kind):
        def run(self, x, *weights, **options):
            given = list(weights)
            for i in range(4):
                if given[i] is not None:
                    n = self.hidden_size
                    given[i] = mg.concatenate([given[i][k * n : (k + 1) * n] for k in order])
            return super().run(x, *given, **options)

    Other.__name__ = kind.__name__
    return Other


def test_the_order_of_gates():
    ours, reference = Gated(nn.LSTM, None), Gated(blocks(nn.LSTM, (0, 1, 3, 2)), None)
    guess = parity(ours, reference, rng.standard_normal((6, 2, 4)), steps=0).divergence.guess
    assert "the order of the gates: ours takes i, f, g, o, and agrees when it takes its blocks as i, f, o, g" in guess


class Normed(nn.Module):
    def __init__(self):
        self.conv, self.bn, self.head = nn.Conv2d(2, 3, 3, rng=0), nn.BatchNorm2d(3), nn.Linear(3, 2, rng=1)

    def forward(self, x):
        return self.head(self.bn(self.conv(x)).mean((2, 3)))


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_in_two_modes(training):
    ours, reference = Normed().train(), Normed().eval()
    if not training:
        ours, reference = reference, ours
    guess = parity(ours, reference, rng.standard_normal((4, 2, 6, 6)), steps=0).divergence.guess
    now, other = ("training", "evaluation") if training else ("evaluation", "training")
    assert f"batch normalisation is in {now} mode in ours and in {other} mode in the reference" in guess
    assert ours.bn.training == training


class Biased(nn.Module):
    def __init__(self, bias):
        self.a, self.b = nn.Linear(4, 3, bias=bias, rng=0), nn.Linear(3, 2, rng=1)
        if bias:
            self.a.bias.copy_(np.array([1.0, -2.0, 0.5]))

    def forward(self, x):
        return self.b(self.a(x))


def test_a_missing_bias():
    x = rng.standard_normal((5, 4))
    assert (
        parity(Biased(False), Biased(True), x).divergence.guess == "ours lacks a bias that the reference adds: a.bias"
    )
    assert (
        parity(Biased(True), Biased(False), x).divergence.guess == "ours adds a bias that the reference lacks: a.bias"
    )


def test_constant_vectors_are_not_called_tied():
    ours, reference = Biased(True), Biased(True)
    for model in (ours, reference):
        model.b.bias.copy_(np.zeros(2))
        model.c, model.d = nn.LayerNorm(3), nn.LayerNorm(3)
    ours.c.bias.copy_(np.full(3, 0.5))
    ours.d.weight.copy_(np.full(3, 0.5))
    report = parity(ours, reference, rng.standard_normal((5, 4)))
    assert report.divergence.stage == "weights" and "tied" not in report.verdict, report.verdict


def test_a_small_difference_of_another_kind_is_not_called_float32():
    ours, reference = Biased(True), Biased(True)
    ours.b.forward = lambda x, own=ours.b: F.linear(x, own.weight, own.bias) + 1e-8 * mg.sin(x.sum() * 1e3)
    report = parity(ours, reference, rng.standard_normal((5, 4)))
    assert not report.ok and "float32" not in (report.divergence.guess or "")
