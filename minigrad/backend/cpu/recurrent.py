"""The recurrent kernels on a CPU: samples, or the products of short steps, shared out over its cores."""
from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from .. import Kernel
from ..shared import recurrent
from . import cores, mkl
from .blas import adding, gemm, times
from .cores import share
from .products import do, product

MIN_MKL_STEP = 1 << 21                          # multiplications of a step from which a second thread of MKL pays,
MIN_SHARED_STEP = 1 << 22                       # ... and one of ours
MIN_GATES = 1 << 16                             # entries of a step's gates from which our threads seldom wait
WEIGHTS_AND_STATES = {"lstm": (1, 2), "gru": (2, 1), "rnn": (1, 1)}            # how many of each come after the gates


def for_steps(work: Callable[[slice], None], steps: int, size: int) -> None:
    """work(some of the steps), on all cores if there are many numbers in them, `size` in each."""
    share(work, cores.cuts(steps, steps * size))


@functools.cache
def with_products(threads: int) -> SimpleNamespace:
    """NumPy for a recurrent kernel, with products on so many threads."""
    def matmul(a, b):
        out = np.empty((len(a), b.shape[1]), a.dtype)
        if threads > 1:
            do(product(a, b, out))
        else:
            gemm(a, b, out)
        return out
    return SimpleNamespace(**vars(np) | {"matmul": matmul, "times": functools.partial(times, threads=threads),
                                         "adding": functools.partial(adding, threads=threads), "for_steps": for_steps})


def together() -> SimpleNamespace | None:
    """The same on all cores, if a product can be shared out that is shorter than waking a thread."""
    return with_products(cores.CORES) if cores.CORES > 1 and mkl.tbb() is not None else None


def on_cores(name: str) -> Kernel:
    """A kernel, each core taking some of the samples through all the steps, for on the way they do not meet.

    Where steps are short, threads lose more by waiting for the interpreter than they gain, and the products alone are shared out,
    if the library can do that.
    """
    kernel, (weights, states) = recurrent.table[name], WEIGHTS_AND_STATES[name]
    apart = with_products(1)

    def masked(part, mask, *more):
        return None if mask is None else mask[:, part], *more

    def forward(xp, gates, *rest):
        B, H, size = gates.shape[1], rest[0].shape[1], math.prod(gates.shape[1:])
        xp = (together() if size * H >= MIN_MKL_STEP and size < MIN_GATES else None) or apart
        if xp is not apart or cores.CORES == 1 or size * H < MIN_SHARED_STEP and size < MIN_GATES:
            y, saved = kernel.forward(xp, gates, *rest)
            return y, (xp, saved)
        step = -(-B // cores.CORES)
        parts = [slice(i, i + step) for i in range(0, B, step)]
        y = xp.empty((len(gates) + states - 1, B, H), gates.dtype)             # h after each step; of an LSTM the last c as well

        def work(part):
            first, options = (state[part] for state in rest[weights:weights + states]), masked(part, *rest[weights + states:])
            y[:, part], saved = kernel.forward(xp, gates[:, part], *rest[:weights], *first, *options)
            return part, saved
        return y, (None, (share(work, parts), gates.shape))

    def backward(xp, g, saved, wanted, *options):
        xp, saved = saved
        if xp is not None:
            return kernel.backward(xp, g, saved, wanted, *options)
        saved, shape = saved
        dz = apart.empty(shape, g.dtype)

        def work(one):
            part, saved = one
            dz[:, part], *more = kernel.backward(apart, g[:, part], saved, wanted, *masked(part, *options))
            return more
        rest = list(zip(*share(work, saved)))
        return (dz, *(sum(parts) if want else None for parts, want in zip(rest[:weights], wanted[1:])),
                *(apart.concatenate(parts) for parts in rest[weights:]))
    return Kernel(forward, backward)


table = {name: on_cores(name) for name in recurrent.table}
