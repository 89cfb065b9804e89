"""The same workloads at other sizes, for which they were not tuned: small steps, single texts, attention by hand."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .pairing import Row
from .training import Library, Product, attention, linear, measured

HEADING = "Other sizes"
CHANGED = [
    ("mlp", {"batch": 4}),
    ("mlp", {"batch": 512}),
    ("cnn", {"batch": 4}),
    ("cnn", {"batch": 128}),
    ("lstm", {"width": 64}),
    ("lstm", {"batch": 8}),
    ("lstm", {"width": 512}),
    ("lstm", {"layer": "GRU"}),
    ("bert_base", {"batch": 1, "tokens": 16}),
    ("bert_base", {"tokens": 100}),
    ("resnet", {"pictures": 1}),
    ("resnet", {"pictures": 16, "side": 112}),
]

TITLE = "attention by hand, width {width}, {batch} × {tokens} tokens"
SIZES, STEPS = {"batch": 8, "tokens": 128, "width": 256, "heads": 4, "classes": 10}, 3


def build(lib: Library, rng: Any, batch: int, tokens: int, width: int, heads: int, classes: int) -> tuple[Any, Any]:
    """A Transformer layer with attention written as products and a softmax, and a classifier."""
    nn, F = lib.nn, lib.F

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            shapes = [(width, width)] * 4 + [(width, 4 * width), (4 * width, width), (width, classes)]
            self.q, self.k, self.v, self.out, self.up, self.down, self.head = (
                nn.Linear(*shape, bias=False) for shape in shapes
            )

        def forward(self, x):
            q, k, v = (
                (x @ part.weight.T).reshape(batch, tokens, heads, width // heads).swapaxes(1, 2)
                for part in (self.q, self.k, self.v)
            )
            found = F.softmax(q @ k.swapaxes(-1, -2) * (width // heads) ** -0.5, -1) @ v
            x = x + found.swapaxes(1, 2).reshape(batch, tokens, width) @ self.out.weight.T
            x = x + F.relu(x @ self.up.weight.T) @ self.down.weight.T
            return x.mean(1) @ self.head.weight.T

    x, labels = (
        lib.tensor(rng.standard_normal((batch, tokens, width), "f4")),
        lib.tensor(rng.integers(0, classes, batch)),
    )
    model = Layer()
    return model, lambda: F.cross_entropy(model(x), labels)


def products(batch: int, tokens: int, width: int, heads: int, classes: int) -> list[Product]:
    rows = batch * tokens
    return [
        *linear(rows, width, width, first=True) * 3,
        *attention(batch, heads, tokens, width // heads),
        *linear(rows, width, width),
        *linear(rows, width, 4 * width),
        *linear(rows, 4 * width, width),
        *linear(batch, width, classes),
    ]


def run(rounds: int = 7) -> list[Row]:
    rows = [import_module(f"{__package__}.{name}").run(rounds, **changed)[0] for name, changed in CHANGED]
    return [*rows, measured("sizes", SIZES, rounds)]
