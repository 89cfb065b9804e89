"""The row of the catalogue, and the random inputs in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Row(NamedTuple):
    """One way to call an op, with example inputs and a reference in NumPy."""

    op: str  # its name in primitive.OPS, or the name of a function made of other ops
    call: Callable  # calls the public function with the inputs
    inputs: tuple  # float64 arrays become Tensors; integer and boolean arrays stay arrays
    reference: Callable  # the same function in NumPy
    batch: tuple[int, ...] = (0,)  # the inputs whose first axis is a batch axis, of any length that they share

    def floats(self) -> tuple[Callable, list[np.ndarray]]:
        """The call as a function of the floating inputs alone, and those inputs."""

        def f(*xs):
            given = iter(xs)
            return self.call(*[next(given) if is_float(a) else a for a in self.inputs])

        return f, [a for a in self.inputs if is_float(a)]


def is_float(a) -> bool:
    return isinstance(a, np.ndarray) and (a.dtype.kind == "f" or a.dtype.name == "bfloat16")


def cut(row: Row, i: int, part) -> Row:
    """The row with input i reduced to a part of it, which is then broadcast."""
    return row._replace(inputs=tuple(np.asarray(a[part]) if i == j else a for j, a in enumerate(row.inputs)))


def drawn_from(seed: int) -> tuple[Callable, Callable]:
    """R and P, which draw arrays of a given shape: standard normal numbers, and uniform numbers from 0.5 to 1.5.

    Each file of rows has its own seed, so that a new row changes no numbers in other files.
    """
    rng = np.random.default_rng(seed)

    def R(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape)

    def P(*shape: int) -> np.ndarray:
        return 0.5 + rng.random(shape)

    return R, P


R, P = drawn_from(0)
