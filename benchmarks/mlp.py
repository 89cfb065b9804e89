"""A training step of a multilayer perceptron of MNIST's size, 784-512-512-10, with AdamW."""

from __future__ import annotations

from typing import Any

from .pairing import Row
from .training import Library, Product, linear, main, measured

TITLE = "MLP {inputs}-{width}-{width}-{classes}, batch {batch}"
SIZES, STEPS = {"batch": 128, "inputs": 784, "width": 512, "classes": 10}, 40


def build(lib: Library, rng: Any, batch: int, inputs: int, width: int, classes: int) -> tuple[Any, Any]:
    nn = lib.nn
    model = nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes)
    )
    x, labels = lib.tensor(rng.standard_normal((batch, inputs), "f4")), lib.tensor(rng.integers(0, classes, batch))
    return model, lambda: lib.F.cross_entropy(model(x), labels)


def products(batch: int, inputs: int, width: int, classes: int) -> list[Product]:
    return linear(batch, inputs, width, first=True) + linear(batch, width, width) + linear(batch, width, classes)


def run(rounds: int = 15, **sizes: int) -> list[Row]:
    return [measured("mlp", SIZES | sizes, rounds)]


if __name__ == "__main__":
    main("mlp")
