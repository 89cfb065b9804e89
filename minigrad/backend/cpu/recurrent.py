"""The recurrent kernels on a CPU: samples, or the products of short steps, shared out over its cores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..record import Kernel
from ..shared import recurrent
from . import cores, mkl
from .blas import adding, gemm, times
from .cores import share
from .products import do, product

MIN_MKL_STEP = 1 << 21  # multiplications of a step from which a second thread of MKL pays,
MIN_SHARED_STEP = 1 << 22  # ... and one of ours
MIN_GATES = 1 << 16  # entries of a step's gates from which our threads seldom wait
WEIGHTS_AND_STATES = {"lstm": (1, 2), "gru": (2, 1), "rnn": (1, 1)}  # how many of each come after the gates


class Products(recurrent.Products):
    """The products of a recurrent kernel on a number of threads: more than one is for MKL."""

    def __init__(self, threads: int):
        super().__init__(np)
        self.threads = threads

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = np.empty((len(a), b.shape[1]), a.dtype)
        if self.threads > 1:
            do(product(a, b, out))
        else:
            gemm(a, b, out)
        return out

    def times(self, weight: np.ndarray, rows: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        return times(weight, rows, self.threads)

    def adding(self, weights: np.ndarray, rows: int) -> Callable[[np.ndarray, np.ndarray], None]:
        return adding(weights, rows, self.threads)

    def for_steps(self, work: Callable[[slice], Any], steps: int, size: int) -> None:
        share(work, cores.cuts(steps, steps * size))


def together() -> Products | None:
    """Products on all cores; None unless MKL can share out products that are shorter than it takes to wake a thread."""
    return Products(cores.CORES) if cores.CORES > 1 and mkl.tbb() is not None else None


def on_cores(name: str) -> Kernel:
    """A kernel whose samples are shared out: each core takes its own through all the steps.

    Where steps are short, threads would lose more by waiting for the interpreter than they gain; there only the
    products are shared out, by MKL.
    """
    kernel, (weights, states) = recurrent.table[name], WEIGHTS_AND_STATES[name]
    apart = Products(1)

    def masked(part, mask, *more):
        return None if mask is None else mask[:, part], *more

    def forward(xp, gates, *rest):
        B, H, size = gates.shape[1], rest[0].shape[1], math.prod(gates.shape[1:])
        products = (together() if size * H >= MIN_MKL_STEP and size < MIN_GATES else None) or apart
        if products is not apart or cores.CORES == 1 or (size * H < MIN_SHARED_STEP and size < MIN_GATES):
            y, saved = kernel.forward(np, gates, *rest, products=products)
            return y, (products, saved)
        step = -(-B // cores.CORES)
        parts = [slice(i, i + step) for i in range(0, B, step)]
        y = np.empty((len(gates) + states - 1, B, H), gates.dtype)  # h after each step; for an LSTM the last c too

        def work(part):
            first = (state[part] for state in rest[weights : weights + states])
            options = masked(part, *rest[weights + states :])
            y[:, part], saved = kernel.forward(np, gates[:, part], *rest[:weights], *first, *options, products=apart)
            return part, saved

        return y, (None, (share(work, parts), gates.shape))

    def backward(xp, g, saved, wanted, *options):
        products, saved = saved
        if products is not None:
            return kernel.backward(np, g, saved, wanted, *options, products=products)
        saved, shape = saved
        dz = np.empty(shape, g.dtype)

        def work(one):
            part, saved = one
            dz[:, part], *more = kernel.backward(np, g[:, part], saved, wanted, *masked(part, *options), products=apart)
            return more

        rest = list(zip(*share(work, saved)))
        return (
            dz,
            *(sum(parts) if want else None for parts, want in zip(rest[:weights], wanted[1:])),
            *(np.concatenate(parts) for parts in rest[weights:]),
        )

    return Kernel(forward, backward)


table = {name: on_cores(name) for name in recurrent.table}
