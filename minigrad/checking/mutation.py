"""Mutation tests of the checker: plants standard mistakes in the rules of the catalogue's ops, counts those found.

    python -m minigrad.checking.mutation

A mistake is planted where it would be made: in the value that an op's rule returns for one of its inputs, in both
backward passes.  Which mistakes count is decided here, independently of the checker:

* a mistake counts only if it can be made: a sum over a broadcast axis can only be forgotten where an axis was
  broadcast, a mean only where entries are reduced, and += only be mistaken for = in a rule that adds several
  contributions to one entry (SCATTERING);
* and only if it makes a difference: for at least one of two random incoming gradients, some entry of the result must
  change by more than 1e-10 of the largest.  (The transpose of a vector, or a factor on a gradient of zero, is no
  mistake.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..tape import Node, Step
from ..tensor import Tensor, grad, wrap
from .catalogue import BROADCASTING, ROWS
from .catalogue.rows import Row, cut
from .check import gradcheck
from .errors import GradientError

SCATTERING = {"take", "embedding", "gather", "conv", "max_pool", "collect", "adaptive_max_pool2d"}


class Case(NamedTuple):
    """A call of a rule: the gradients it returned for the parents of its node, and how to call it again."""

    node: Node
    k: int  # the parent whose gradient is to be wrong
    raw: list  # the gradient of each parent, as the rule returned it
    pull: Callable[[np.ndarray], list]
    rng: np.random.Generator

    def of(self, k: int) -> np.ndarray:
        return np.asarray(ops.sum_to(self.raw[k], self.node.parents[k].shape))


def _mean(case: Case) -> Any:
    n = math.prod(case.node.parents[case.k].shape) // max(1, math.prod(case.node.shape))
    return case.of(case.k) * n if n > 1 else None


def _transposed(case: Case) -> Any:
    g = case.of(case.k)
    return g.swapaxes(-1, -2).reshape(g.shape) if g.ndim > 1 else None


def _shifted(case: Case) -> Any:
    g = case.of(case.k)
    axes = [i for i, n in enumerate(g.shape) if n > 1]
    return np.roll(g, 1, axes[-1]) if axes else None


def _neighbour(case: Case) -> Any:
    shapes = [parent.shape for parent in case.node.parents]
    other = [i for i, shape in enumerate(shapes) if i != case.k and shape == shapes[case.k] and case.raw[i] is not None]
    return case.of(other[0]) if other else None


def _broadcast(case: Case) -> Any:
    """Only the contribution of the first index along each broadcast axis."""
    g, shape = np.asarray(case.raw[case.k]), case.node.parents[case.k].shape
    if g.shape == shape:
        return None
    g = g[(0,) * (g.ndim - len(shape))]
    return g[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]


def _duplicates(case: Case) -> Any:
    """A loop over the outputs that assigns where it should add, so that only the last contribution remains."""
    if case.node.step.name not in SCATTERING:
        return None
    left = np.zeros(case.node.parents[case.k].shape)
    for one in np.eye(math.prod(case.node.shape)):
        part = case.pull(one)[case.k]
        left = np.where(part != 0, part, left)
    return left


MISTAKES: dict[str, tuple[str, Callable[[Case], Any]]] = {  # name: (the cause to be named, the planted gradient)
    "sign": ("sign", lambda case: -case.of(case.k)),
    "twice as large": ("factor", lambda case: 2 * case.of(case.k)),
    "half as large": ("factor", lambda case: case.of(case.k) / 2),
    "mean forgotten": ("mean", _mean),
    "transposed": ("transposed", _transposed),
    "broadcast sum forgotten": ("broadcast", _broadcast),
    "duplicates lost": ("duplicates", _duplicates),
    "shifted by one": ("shifted", _shifted),
    "gradient lost": ("zero", lambda case: np.zeros(case.node.parents[case.k].shape)),
    "rounded to float32": ("dtype", lambda case: case.of(case.k).astype("f4").astype("f8")),
    "neighbour's gradient": ("neighbour", _neighbour),
    "random": (
        "random",
        lambda case: case.of(case.k) * (1 + 0.01 * case.rng.standard_normal(case.node.parents[case.k].shape)),
    ),
}


class Tampered(Step):
    """The step of a node, with a mistake in the gradient of parent k."""

    def __init__(self, step: Any, k: int, mistake: Callable[[Case], Any], rng: np.random.Generator):
        self.step, self.name, self.k, self.mistake, self.rng = step, step.name, k, mistake, rng
        self.applies = True

    def pull(self, node: Node, saved: tuple, g: Any, again: bool) -> list:
        g = g.data if isinstance(g, Tensor) else g

        def weighted(u: np.ndarray) -> list:  # the contribution of some of the outputs
            return self.step.pull(node, saved, g * u.reshape(node.shape), False)

        raw = self.step.pull(node, saved, g, False)
        planted = None if raw[self.k] is None else self.mistake(Case(node, self.k, raw, weighted, self.rng))
        self.applies = planted is not None
        found = [planted if k == self.k and self.applies else gx for k, gx in enumerate(raw)]
        return [gx if gx is None or not again else wrap(np.asarray(gx), None) for gx in found]


class Mutant(NamedTuple):
    """An op's row with one mistake planted in one of its rules."""

    row: Row
    k: int  # the parent of the op's node whose gradient is wrong
    mistake: str
    op: str = ""  # the op that made the node

    def run(self, seen: list | None = None) -> Callable[..., Tensor]:
        """The row's function, with the mistake in it."""
        f, _ = self.row.floats()
        rng = np.random.default_rng(0)

        def mutated(*xs: Any) -> Tensor:
            y = f(*xs)
            if y.requires_grad:
                node = _target(y.node, self.row.op)
                node.step = Tampered(node.step, self.k, MISTAKES[self.mistake][1], rng)
                if seen is not None:
                    seen.append(node)
            return y

        return mutated

    def counts(self) -> bool:
        """Whether the mistake can be made here and makes a difference."""
        f, xs = self.row.floats()
        seen: list[Node] = []
        for seed in range(2):
            right, wrong = (_gradient(g, xs, seed) for g in (f, self.run(seen)))
            if not seen[-1].step.applies:
                return False
            if abs(right - wrong).max(initial=0) > 1e-10 * abs(right).max(initial=0):
                return True
        return False


def _target(y: Node, op: str) -> Node:
    """The node to plant the mistake in: the first that the op made or, if it is made of other ops, their first."""
    stack, nodes = [y], set()
    while stack:
        node = stack.pop()
        if node not in nodes and node.step is not None:
            nodes.add(node)
            stack.extend(node.parents)
    return max(nodes, key=lambda node: (node.step.name == op, node.order))


def _gradient(f: Callable, xs: list, seed: int) -> np.ndarray:
    ts = [Tensor(x, requires_grad=True) for x in xs]
    y = f(*ts)
    u = np.random.default_rng(seed).standard_normal(y.shape)
    return np.concatenate([g.numpy().ravel() for g in grad(y, ts, Tensor(u), retain_graph=True)])


def mutants(every: int = 1) -> Iterator[Mutant]:
    """All mutants that count; or, of every `every`-th candidate, those that count."""
    stretched = [
        cut(row, i, np.s_[:1])
        for row in ROWS
        if row.op in BROADCASTING
        for i, a in enumerate(row.inputs)
        if len(row.inputs) > 1 and a.dtype.kind == "f"
    ]
    number = count()
    for row in [*ROWS, *stretched]:
        f, xs = row.floats()
        y = f(*[Tensor(x, requires_grad=True) for x in xs])
        if y.requires_grad:
            target = _target(y.node, row.op)
            for k in range(len(target.parents)):
                yield from (
                    mutant
                    for mistake in MISTAKES
                    if next(number) % every == 0 and (mutant := Mutant(row, k, mistake, target.step.name)).counts()
                )


class Outcome(NamedTuple):
    """The checker's verdict on a mutant: the error it raises, or None."""

    mutant: Mutant
    error: GradientError | None

    @property
    def named(self) -> bool:
        """Whether the planted cause is the reported one (or among them, where causes cannot be told apart)."""
        return self.error is not None and MISTAKES[self.mutant.mistake][0] in [
            cause.kind for cause in self.error.causes
        ]

    @property
    def blamed(self) -> bool:
        """Whether the checker named the op with the mistake."""
        return self.error is not None and self.error.op == self.mutant.op


def outcome(mutant: Mutant) -> Outcome:
    _, xs = mutant.row.floats()
    try:
        gradcheck(mutant.run(), xs, name=mutant.row.op)
    except GradientError as error:
        return Outcome(mutant, error)
    return Outcome(mutant, None)


def main() -> int:
    """Test all mutants and print the score; the exit status is 1 if under 95 % are caught or under 80 % named."""
    found = [outcome(mutant) for mutant in mutants()]
    print(f"{'mistake planted':26}{'planted':>8}{'caught':>8}{'cause named':>13}{'op named':>10}")
    for mistake in MISTAKES:
        _print_score(mistake, [o for o in found if o.mutant.mistake == mistake])
    caught, named = _print_score("all", found)
    for title, missed in (
        ("not caught", [o for o in found if not o.error]),
        ("other cause named", [o for o in found if o.error and not o.named]),
    ):
        print(f"\n{title}: {len(missed) or 'none'}")
        for o in missed:
            told = f", named {o.error.cause or 'none'}" if o.error else ""
            print(f"  {o.mutant.row.op}, input {o.mutant.k}: {o.mutant.mistake}{told}")
    return int(caught < 0.95 or named < 0.8)


def _print_score(title: str, found: list[Outcome]) -> tuple[float, float]:
    hits = ((o.error is not None, o.named, o.blamed) for o in found)
    caught, named, blamed = np.mean(list(hits) or [(1, 1, 1)], 0)
    print(f"{title:26}{len(found):8}{caught:8.1%}{named:13.1%}{blamed:10.1%}")
    return caught, named


if __name__ == "__main__":
    raise SystemExit(main())
