"""A training step of an LSTM, GRU or RNN that classifies each vector of a sequence, with AdamW."""

from __future__ import annotations

import sys
from typing import Any

from .pairing import Row
from .training import Library, Product, linear, main, measured

TITLE = "{layer} {width}, {steps} steps × {batch}"
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
SIZES, STEPS = {"layer": "LSTM", "steps": 64, "batch": 32, "width": 256, "classes": 10}, 6


def build(lib: Library, rng: Any, layer: str, steps: int, batch: int, width: int, classes: int) -> tuple[Any, Any]:
    nn = lib.nn

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = getattr(nn, layer)(width, width), nn.Linear(width, classes)

        def forward(self, x):
            return self.head(self.layer(x)[0]).reshape(-1, classes)

    model = Reader()
    x = lib.tensor(rng.standard_normal((steps, batch, width), "f4"))
    labels = lib.tensor(rng.integers(0, classes, steps * batch))
    return model, lambda: lib.F.cross_entropy(model(x), labels)


def products(layer: str, steps: int, batch: int, width: int, classes: int) -> list[Product]:
    """The products of each time step, state times weights and their gradients; the others are single products."""
    rows, gates = steps * batch, GATES[layer] * width
    loop = [(batch, width, gates), (batch, gates, width)] * steps
    return [*linear(rows, width, gates, first=True), *loop, (gates, rows, width), *linear(rows, width, classes)]


def run(rounds: int = 15, **sizes: int | str) -> list[Row]:
    sizes = SIZES | sizes
    if sizes["layer"] not in GATES:
        sys.exit(f"lstm has no layer {sizes['layer']!r}; it has {', '.join(GATES)}")
    return [measured("lstm", sizes, rounds)]


if __name__ == "__main__":
    main("lstm")
