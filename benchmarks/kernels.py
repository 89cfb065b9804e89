"""The ops that are compiled loops, each alone: forward and backward, or a step of an optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .pairing import Row, in_turns, sides
from .training import Library, minigrad, torch

HEADING = "Compiled kernels, each alone"
CASES: dict[str, tuple[Callable[..., Any], tuple]] = {  # the op, by shared names, and its inputs' shapes
    "layer norm 2048 × 384": (lambda F, x, w, b: F.layer_norm(x, w.shape, w, b), ((2048, 384), (384,), (384,))),
    "RMS norm 2048 × 384": (lambda F, x, w: F.rms_norm(x, w.shape, w), ((2048, 384), (384,))),
    "SiLU 2048 × 1024": (lambda F, x: F.silu(x), ((2048, 1024),)),
    "leaky ReLU 2048 × 1024": (lambda F, x: F.leaky_relu(x), ((2048, 1024),)),
    "ELU 2048 × 1024": (lambda F, x: F.elu(x), ((2048, 1024),)),
    "erf 2048 × 1024": (lambda F, x: x.erf(), ((2048, 1024),)),
    "GELU 2048 × 1536": (lambda F, x: F.gelu(x), ((2048, 1536),)),
    "GELU by tanh 2048 × 1536": (lambda F, x: F.gelu(x, approximate="tanh"), ((2048, 1536),)),
    "softmax 2048 × 512": (lambda F, x: F.softmax(x, -1), ((2048, 512),)),
    "log-softmax 2048 × 512": (lambda F, x: F.log_softmax(x, -1), ((2048, 512),)),
    "batch norm 8 × 64 × 56 × 56": (lambda F, x: F.batch_norm(x, None, None, training=True), ((8, 64, 56, 56),)),
    "batch norm 4096 × 256": (lambda F, x: F.batch_norm(x, None, None, training=True), ((4096, 256),)),
    "group norm 8 × 64 × 56 × 56": (lambda F, x: F.group_norm(x, 8), ((8, 64, 56, 56),)),
    "max pooling 3, stride 2, 8 × 64 × 56 × 56": (lambda F, x: F.max_pool2d(x, 3, 2, 1), ((8, 64, 56, 56),)),
    "mean pooling 2, 8 × 64 × 56 × 56": (lambda F, x: F.avg_pool2d(x, 2), ((8, 64, 56, 56),)),
    **{
        f"attention {B} × {H} × {T} × {d}{', causal' if causal else ''}": (
            lambda F, q, k, v, causal=causal: F.scaled_dot_product_attention(q, k, v, is_causal=causal),
            ((B, H, T, d),) * 3,
        )
        for B, H, T, d, causal in (
            (32, 12, 64, 32, False),
            (4, 6, 256, 64, True),
            (1, 8, 1024, 64, False),
            (1, 8, 1024, 64, True),
            (1, 4, 4096, 64, True),
        )
    },
}
LABELLED = {  # ops that also take integers
    "cross-entropy 1024 × 8000": (lambda F, x, ids: F.cross_entropy(x, ids), (1024, 8000), (1024,), 8000),
    "embedding 30000 × 384, 2048 ids": (lambda F, w, ids: F.embedding(ids, w), (30000, 384), (2048,), 30000),
}
WEIGHTS = 10_000_000
STEPS = {
    "AdamW, 10 million weights": ("AdamW", {}),
    "SGD with momentum, 10 million weights": ("SGD", {"momentum": 0.9}),
}


def with_minigrad(case: str) -> Iterator[Any]:
    return work(minigrad(), case)


def with_torch(case: str) -> Iterator[Any]:
    return work(torch(), case)


def work(lib: Library, case: str) -> Iterator[Any]:
    """Yield after each forward and backward pass, or optimiser step, on random numbers."""
    import numpy as np

    rng = np.random.default_rng(0)
    if case in STEPS:
        return stepping(lib, *STEPS[case], rng)
    compute, *shapes = LABELLED[case] if case in LABELLED else CASES[case]
    inputs = [lib.tensor(rng.standard_normal(shape, "f4")) for shape in (shapes[:1] if case in LABELLED else shapes[0])]
    ids = [lib.tensor(rng.integers(0, shapes[2], shapes[1]))] if case in LABELLED else []
    return passes(lib, compute, inputs, ids, rng)


def passes(lib: Library, compute: Callable[..., Any], inputs: list, ids: list, rng: Any) -> Iterator[Any]:
    for x in inputs:
        x.requires_grad = True
    yield
    y = compute(lib.F, *inputs, *ids)
    g = lib.tensor(rng.standard_normal(tuple(y.shape), "f4"))
    y.backward(g)
    yield [float((t * t).mean().item()) for t in (y, *(x.grad for x in inputs))]
    while True:
        for x in inputs:
            x.grad = None
        compute(lib.F, *inputs, *ids).backward(g)
        yield


def stepping(lib: Library, name: str, options: dict[str, Any], rng: Any) -> Iterator[Any]:
    layer = lib.nn.Linear(WEIGHTS // 1000, 1000, bias=False)
    start, g = (rng.standard_normal(tuple(layer.weight.shape), "f4") for _ in range(2))
    layer.weight.data[...] = lib.tensor(start)
    layer.weight.grad = lib.tensor(g)
    optimizer = getattr(lib.optim, name)(layer.parameters(), lr=1e-3, **options)
    yield
    optimizer.step()
    yield [float((layer.weight * layer.weight).mean().item())]
    while True:
        optimizer.step()
        yield


def run(rounds: int = 9) -> list[Row]:
    rows = []
    for case in (*CASES, *LABELLED, *STEPS):
        with sides(with_minigrad, with_torch, given=(case,), tolerance=1e-3) as pair:
            name = case if case in STEPS else f"{case}, forward + backward"
            rows.append(Row(name, *in_turns(*pair, rounds=rounds, run_up=3), goal=1.1))
    return rows
