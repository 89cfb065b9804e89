"""Single layers, forward and backward: convolutions as in ResNet and MobileNet, pooling, norms, LSTM, Transformer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .pairing import Row, in_turns, sides
from .training import draw

# The title, the layer's name in both libraries, its arguments and options, and the shape of its input.
CASES = [
    ("conv 3 × 3, 64 → 64", "Conv2d", (64, 64, 3), {"padding": 1}, (8, 64, 56, 56)),
    ("conv 3 × 3 stride 2, 128 → 128", "Conv2d", (128, 128, 3), {"stride": 2, "padding": 1}, (8, 128, 28, 28)),
    ("conv 1 × 1, 256 → 64", "Conv2d", (256, 64, 1), {}, (8, 256, 28, 28)),
    ("conv 7 × 7 stride 2, 3 → 64", "Conv2d", (3, 64, 7), {"stride": 2, "padding": 3}, (4, 3, 224, 224)),
    ("depthwise 3 × 3, 64 channels", "Conv2d", (64, 64, 3), {"padding": 1, "groups": 64}, (8, 64, 56, 56)),
    ("LSTM 256, 64 steps × 32", "LSTM", (256, 256), {}, (64, 32, 256)),
    ("GRU 256, 64 steps × 32", "GRU", (256, 256), {}, (64, 32, 256)),
    ("Transformer layer 256, 64 × 32", "TransformerEncoderLayer", (256, 8, 1024, 0.0), {}, (64, 32, 256)),
    ("BatchNorm2d, 64 channels", "BatchNorm2d", (64,), {}, (8, 64, 56, 56)),
    ("max pool 3 stride 2", "MaxPool2d", (3, 2), {"padding": 1}, (8, 64, 56, 56)),
]


def with_minigrad(case: int) -> Iterator[Any]:
    import minigrad
    from minigrad import nn

    return work(nn, minigrad.Tensor, case)


def with_torch(case: int) -> Iterator[Any]:
    import torch

    return work(torch.nn, torch.from_numpy, case)


def work(nn: Any, tensor: Any, case: int) -> Iterator[Any]:
    """Yield after each forward and backward pass; weights and incoming gradient are the same on both sides."""
    import numpy as np

    _, kind, arguments, options, shape = CASES[case]
    rng = np.random.default_rng(0)
    layer, x = getattr(nn, kind)(*arguments, **options), tensor(rng.standard_normal(shape, np.float32))
    draw(layer, rng)
    x.requires_grad = True
    yield

    def forward() -> Any:
        y = layer(x)
        return y[0] if isinstance(y, tuple) else y

    y = forward()
    g = tensor(rng.standard_normal(tuple(y.shape), np.float32))
    y.backward(g)
    yield [float((t * t).sum().item()) for t in (y, x.grad, *(p.grad for _, p in sorted(layer.named_parameters())))]
    while True:
        for leaf in (x, *layer.parameters()):
            leaf.grad = None
        forward().backward(g)
        yield


def run(rounds: int = 9) -> list[Row]:
    rows = []
    for i, (name, *_) in enumerate(CASES):
        with sides(with_minigrad, with_torch, given=(i,), tolerance=1e-3) as pair:
            rows.append(Row(f"{name}, forward + backward", *in_turns(*pair, rounds=rounds, run_up=3), goal=2))
    return rows
