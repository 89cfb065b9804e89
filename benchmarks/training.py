"""A training step, written once for both libraries by the names they share, and its matrix products by themselves.

A workload is a module with a TITLE, its SIZES, the number of STEPS in a turn, a function `build(lib, rng, **sizes)`
that returns a model and a function of its loss, and `products(**sizes)`, the products of a step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from .pairing import Row, Side, fix_threads, in_turns, sides, table

LR = 1e-6  # low, so that no gradient vanishes although every step has the same batch
CHECKED = 3  # the number of steps whose losses are compared
Sizes = dict[str, int | str]
Product = tuple[int, ...]  # (*batch, rows, middle, columns) of a product (rows, middle) × (middle, columns)


@dataclass
class Library:
    """What a workload needs from a library."""

    nn: Any
    F: Any
    optim: Any
    tensor: Callable[[Any], Any]  # of a NumPy array


def minigrad() -> Library:
    from minigrad import Tensor, functional, nn, optim

    return Library(nn, functional, optim, Tensor)


def torch() -> Library:
    import torch
    from torch.nn import functional

    return Library(torch.nn, functional, torch.optim, torch.from_numpy)


def with_minigrad(workload: str, sizes: Sizes) -> Iterator[Any]:
    return steps(minigrad(), workload, sizes)


def with_torch(workload: str, sizes: Sizes) -> Iterator[Any]:
    return steps(torch(), workload, sizes)


def steps(lib: Library, workload: str, sizes: Sizes) -> Iterator[Any]:
    """Yield the losses of the first steps, then take some steps for each `next`."""
    import numpy as np

    module, rng = import_module(f"{__package__}.{workload}"), np.random.default_rng(0)
    model, loss_of = module.build(lib, rng, **sizes)
    draw(model, rng)
    optimizer = lib.optim.AdamW(model.parameters(), lr=LR)

    def step() -> float:
        loss = loss_of()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    yield
    yield [step() for _ in range(CHECKED)]
    while True:
        for _ in range(module.STEPS):
            step()
        yield


def draw(model: Any, rng: Any) -> None:
    """Set the weights of a model, to the same values in both libraries."""
    import numpy as np

    for _, p in sorted(model.named_parameters()):
        np.asarray(p.data)[...] = rng.standard_normal(tuple(p.shape), np.float32) / max(p.shape[-1], 8) ** 0.5


def products_alone(workload: str, sizes: Sizes) -> Iterator[None]:
    module = import_module(f"{__package__}.{workload}")
    return multiplying(module.products(**sizes), module.STEPS)


def multiplying(products: Sequence[Product], times: int = 1) -> Iterator[None]:
    """Only the products, by minigrad's BLAS and into allocated arrays: a lower bound for the time of the step."""
    import numpy as np

    from minigrad.backend.cpu.products import MIN_SHARED_PRODUCT, do, product

    def multiply(a, b, out):
        if a.ndim == 2:
            do(product(a, b, out))
        elif a[0].size * b.shape[-1] < MIN_SHARED_PRODUCT:
            np.matmul(a, b, out=out)
        else:
            for one in zip(a, b, out):
                multiply(*one)

    rng = np.random.default_rng(0)
    arrays = {}
    for one in set(products):
        *batch, rows, middle, columns = one
        a, b = (rng.random((*batch, *size), np.float32) for size in ((rows, middle), (middle, columns)))
        arrays[one] = a, b, np.empty((*batch, rows, columns), np.float32)
    yield
    yield None  # no loss to compare
    while True:
        for _ in range(times):
            for one in products:
                multiply(*arrays[one])
        yield


def linear(rows: int, inputs: int, outputs: int, first: bool = False) -> list[Product]:
    """The products of y = x Wᵀ: y, the gradient of W, and that of x, unless x is the data."""
    return [(rows, inputs, outputs), (outputs, rows, inputs), *([] if first else [(rows, outputs, inputs)])]


def attention(batch: int, heads: int, T: int, d: int, is_causal: bool = False) -> list[Product]:
    """q kᵀ and weights v, then the gradients of the weights, v, q and k; a causal query attends to half of the keys."""
    S = T // 2 if is_causal else T
    return [(batch, heads, T, d, S)] * 2 + [(batch, heads, T, S, d)] * 4


def measured(workload: str, sizes: Sizes, rounds: int, **goals: float) -> Row:
    """Both libraries and the products alone, in turns."""
    module = import_module(f"{__package__}.{workload}")
    with sides(with_minigrad, with_torch, products_alone, given=(workload, sizes), tolerance=1e-3) as works:
        return paired(module.TITLE.format(**sizes), works, rounds, module.STEPS, **goals)


def paired(title: str, works: Sequence[Side], rounds: int, steps: int = 1, goal: float = 1.0, **goals: float) -> Row:
    """The row of three works, ours, torch's and the products alone, with `steps` steps in a turn."""
    ours, theirs, products = (
        [seconds / steps for seconds in side] for side in in_turns(*works, rounds=rounds, warm_up=2)
    )
    return Row(title, ours, theirs, goal, products=products, memory=(works[0].peak, works[1].peak), **goals)


def main(workload: str) -> None:
    """Measure one workload, at sizes given as `batch=64 width=300` or at its own, and print its row."""
    module = import_module(f"{__package__}.{workload}")
    sizes, given = getattr(module, "SIZES", {}), dict(word.partition("=")[::2] for word in sys.argv[1:])
    if unknown := set(given) - set(sizes):
        known = ", ".join(f"{name}={n}" for name, n in sizes.items())
        sys.exit(f"{workload} has no size {min(unknown)!r}; it has {known or 'none to choose'}")
    fix_threads()
    print(table(module.run(**{name: type(sizes[name])(n) for name, n in given.items()})))
