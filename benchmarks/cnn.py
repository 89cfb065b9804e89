"""A training step of a small convolutional network on pictures of 28 × 28.

It has twice a 3 × 3 convolution, ReLU and max pooling, then two linear layers.
"""

from __future__ import annotations

from typing import Any

from .pairing import Row
from .training import Library, Product, linear, main, measured

TITLE = "CNN, {channels} and twice as many channels, {pixels}², batch {batch}"
SIZES, STEPS = {"batch": 64, "pixels": 28, "channels": 32, "width": 128, "classes": 10}, 8


def build(lib: Library, rng: Any, batch: int, pixels: int, channels: int, width: int, classes: int) -> tuple[Any, Any]:
    nn = lib.nn
    model = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * channels * (pixels // 4) ** 2, width),
        nn.ReLU(),
        nn.Linear(width, classes),
    )
    x = lib.tensor(rng.standard_normal((batch, 1, pixels, pixels), "f4"))
    labels = lib.tensor(rng.integers(0, classes, batch))
    return model, lambda: lib.F.cross_entropy(model(x), labels)


def products(batch: int, pixels: int, channels: int, width: int, classes: int) -> list[Product]:
    """A convolution is a product with one row for each place."""
    return [
        *linear(batch * pixels**2, 9, channels, first=True),
        *linear(batch * (pixels // 2) ** 2, 9 * channels, 2 * channels),
        *linear(batch, 2 * channels * (pixels // 4) ** 2, width),
        *linear(batch, width, classes),
    ]


def run(rounds: int = 15, **sizes: int) -> list[Row]:
    return [measured("cnn", SIZES | sizes, rounds)]


if __name__ == "__main__":
    main("cnn")
