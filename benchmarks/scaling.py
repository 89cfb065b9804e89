"""Cost against size: a GPT's steps, one size varied at a time; then attention, and position-wise layers, by themselves.

Memory is what the work adds to the memory of the library, the weights and the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import log, nan
from statistics import linear_regression
from typing import Any

from . import gpt
from .pairing import Row, Side, in_turns, sides
from .training import Library, draw, minigrad, paired, products_alone, torch, with_minigrad, with_torch

HEADING = "Cost against size"
BASE = {"batch": 2, "tokens": 256, "width": 256, "heads": 4, "layers": 2, "vocabulary": 2048}
VARIED = [
    {},
    *({"tokens": n} for n in (64, 100, 512, 1024)),
    *({"batch": n} for n in (1, 5, 8)),
    *({"width": n, "heads": heads} for n, heads in ((128, 2), (300, 5), (768, 12))),
    *({"layers": n} for n in (1, 4, 8)),
]
HEADS, WIDTH = 6, 384  # of attention and the position-wise layers
TURN = 4000  # tokens in a turn, in as many passes as that takes
LINEAR = 1.1  # the highest power of the size that counts as linear growth


def attention(lib: Library, rng: Any, tokens: int, is_causal: bool = False) -> tuple[list[Any], Any]:
    q, k, v = leaves = [lib.tensor(rng.standard_normal((1, HEADS, tokens, WIDTH // HEADS), "f4")) for _ in range(3)]
    return leaves, lambda: lib.F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)


def position_wise(lib: Library, rng: Any, tokens: int) -> tuple[list[Any], Any]:
    nn = lib.nn
    model = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
    draw(model, rng)
    x = lib.tensor(rng.standard_normal((tokens, WIDTH), "f4"))
    return [x, *(p for _, p in sorted(model.named_parameters()))], lambda: model(x)


# A part, how to build it, the numbers of tokens, and the cost that must grow linearly with them.
PARTS = {
    "attention": (attention, (256, 1000, 2048, 4096), "memory"),
    "causal attention": (partial(attention, is_causal=True), (256, 1000, 2048, 4096), "memory"),
    "norm + linear + GELU + linear": (position_wise, (100, 1000, 4000, 16000), "time"),
}


def passes_of_minigrad(part: str, tokens: int) -> Iterator[Any]:
    return passes(minigrad(), part, tokens)


def passes_of_torch(part: str, tokens: int) -> Iterator[Any]:
    return passes(torch(), part, tokens)


def passes(lib: Library, part: str, tokens: int) -> Iterator[Any]:
    """For each `next`, a turn of forward and backward passes, with the gradients of all inputs and weights."""
    import numpy as np

    rng = np.random.default_rng(0)
    leaves, compute = PARTS[part][0](lib, rng, tokens)
    g = lib.tensor(rng.standard_normal(tuple(leaves[0].shape), "f4"))  # the output has the shape of the input
    for leaf in leaves:
        leaf.requires_grad = True

    def once() -> Any:
        for leaf in leaves:
            leaf.grad = None
        y = compute()
        y.backward(g)
        return y.detach()

    yield
    yield [float((t * t).sum().item()) for t in (once(), *(leaf.grad for leaf in leaves))]
    while True:
        for _ in range(in_a_turn(tokens)):
            once()
        yield


def in_a_turn(tokens: int) -> int:
    return max(1, TURN // tokens)


@dataclass
class Growth:
    """A row of the table with the power of the size to which a cost grows."""

    cost: str
    sizes: Sequence[int]
    ours: Sequence[float]
    theirs: Sequence[float]

    def cells(self) -> list[str]:
        ours, theirs = exponent(self.sizes, self.ours), exponent(self.sizes, self.theirs)
        verdict = "linear" if ours <= LINEAR else "not linear" if ours > LINEAR else "unknown"
        return [self.cost, f"power {ours:.2f}", f"power {theirs:.2f} torch", "", "", f"≤ {LINEAR}", "", "", "", verdict]


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """The slope, in logarithms, of the costs beyond those of the smallest size, which has the fixed costs."""
    more = [(size - sizes[0], cost - costs[0]) for size, cost in zip(sizes[1:], costs[1:])]
    points = [(log(size), log(cost)) for size, cost in more if cost > 0]
    return linear_regression(*zip(*points)).slope if len(points) > 1 else nan


def added(works: Sequence[Side]) -> tuple[float, float]:
    return works[0].peak - works[0].before, works[1].peak - works[1].before


def step(sizes: dict[str, int], rounds: int) -> Row:
    """Training steps of a GPT of BASE's sizes, except those given."""
    sizes = BASE | sizes
    with sides(with_minigrad, with_torch, products_alone, given=("gpt", sizes), tolerance=1e-3) as works:
        row = paired(
            gpt.TITLE.format(**sizes), works, rounds, products_goal=1.25, tokens=sizes["batch"] * sizes["tokens"]
        )
        row.memory = added(works)
    return row


def alone(part: str, tokens: int, rounds: int) -> Row:
    """A part of a layer, forward and backward."""
    with sides(passes_of_minigrad, passes_of_torch, given=(part, tokens), tolerance=1e-3) as works:
        ours, theirs = ([seconds / in_a_turn(tokens) for seconds in side] for side in in_turns(*works, rounds=rounds))
        return Row(f"{part}, {tokens} tokens", ours, theirs, goal=1.0, memory=added(works), tokens=tokens)


def run(rounds: int = 5) -> list[Any]:
    rows: list[Any] = [step(sizes, rounds) for sizes in VARIED]
    for part, (_, lengths, promised) in PARTS.items():
        group = [alone(part, tokens, rounds) for tokens in lengths]
        costs = [row.memory if promised == "memory" else (min(row.ours), min(row.theirs)) for row in group]
        rows += [*group, Growth(f"… its {promised} against tokens", lengths, *zip(*costs))]
    return rows
