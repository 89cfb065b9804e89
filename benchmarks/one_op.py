"""The overhead of one op: recorded ops on Tensors of four entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

from .pairing import Row, in_turns, sides

REPEATS = 2000  # calls of an op in each timed unit
CHAIN = 50


def chain(lib: Any, a: Any, b: Any) -> Any:
    """A chain of ops that add and multiply alternately, so that no entry grows."""
    for _ in range(CHAIN // 2):
        a = (a + b) * b
    return a


# The ops, by names that both libraries have: `a` and `b` are of shape (4,), or (2, 2) for the matrix product.
CASES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "multiply": lambda lib, a, b: a * b,
    "add": lambda lib, a, b: a + b,
    "exp": lambda lib, a, b: lib.exp(a),
    "sum": lambda lib, a, b: a.sum(),
    "matmul": lambda lib, a, b: a @ b,
    "dot": lambda lib, a, b: a @ b,
    "chain": chain,
}


def with_minigrad(case: str, backward: bool) -> Iterator[Any]:
    import minigrad

    return work(minigrad, case, backward, repeats(case))


def with_torch(case: str, backward: bool) -> Iterator[Any]:
    import torch

    return work(torch, case, backward, repeats(case))


def repeats(case: str) -> int:
    return REPEATS // CHAIN if case == "chain" else REPEATS


def work(lib: Any, case: str, backward: bool, times: int) -> Iterator[Any]:
    """Compute the case `times` times for each `next`, with or without its gradients."""
    compute, shape = CASES[case], (2, 2) if case == "matmul" else (4,)
    a, b = (lib.tensor(values).reshape(*shape) for values in ([0.5, 1.0, 1.5, 2.0], [0.25, 0.5, 0.75, 0.9]))
    a.requires_grad = b.requires_grad = True
    yield
    y = compute(lib, a, b)
    g = lib.ones_like(y.detach())
    y.backward(g)
    yield [float(entry) for x in (y, a.grad, *([] if b.grad is None else [b.grad])) for entry in x.detach().reshape(-1)]
    while True:
        if backward:
            for _ in repeat(None, times):
                a.grad = b.grad = None
                compute(lib, a, b).backward(g)
        else:
            for _ in repeat(None, times):
                compute(lib, a, b)
        yield


def run(rounds: int = 15) -> list[Row]:
    rows = []
    for backward in False, True:
        for case in CASES:
            with sides(with_minigrad, with_torch, given=(case, backward)) as pair:
                taken = in_turns(*pair, rounds=rounds)
            ops = repeats(case) * (CHAIN if case == "chain" else 1)
            name = f"one op of a chain of {CHAIN}" if case == "chain" else f"{case}, 4 entries"
            rows.append(
                Row(
                    name + (", forward + backward" if backward else ", forward"),
                    *([seconds / ops for seconds in side] for side in taken),
                    goal=1.5,
                )
            )
    return rows
