"""Matrix products on a CPU: divided among its cores by us, MKL or OpenBLAS, whichever is fastest at their size."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..record import Kernel
from ..shared.products import linear_needed, with_lora, with_vectors
from . import cores, mkl
from .blas import MAX_UNCOPIED, gemm, is_own
from .cores import evenly, share
from .memory import matrix, rows

MAX_SINGLE_THREADED = 1 << 18  # multiplications up to which OpenBLAS uses one thread
MIN_SHARED_PRODUCT = 1 << 23  # multiplications from which our threads save more than waking them costs
# Multiplications: MKL's threads pay from MIN_MKL_PRODUCT on; from MAX_MKL_PRODUCT on ours are as good.
MIN_MKL_PRODUCT, MAX_MKL_PRODUCT = 1 << 19, 1 << 26
MAX_TOKENS = 4  # rows of a product, in text generation, up to which OpenBLAS's threads are faster than one


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray, bias: np.ndarray | None = None) -> list[Callable[[], None]]:
    """The tasks that compute a @ b + bias into `out`, one per core: each for an equal part of a's rows or b's columns.

    A small product is a single task, which MKL, if it is installed, runs on its own threads: they wake faster than
    ours.
    """
    if bias is None and out.flags.f_contiguous and not out.flags.c_contiguous:
        a, b, out = b.T, a.T, out.T  # BLAS writes rows
    across, size = b.shape[1] > len(a), a.size * b.shape[1]
    count = b.shape[1] if across else len(a)
    by_mkl = MIN_MKL_PRODUCT <= size < MAX_MKL_PRODUCT and out.dtype == np.float32 and mkl.tbb() is not None
    if size >= MIN_SHARED_PRODUCT and is_own(a, b):
        by_mkl = False
    step = max(1, -(-count // (cores.CORES if size >= MIN_SHARED_PRODUCT and not by_mkl else 1)))

    def work(i):
        rows, columns = (slice(None), slice(i, i + step)) if across else (slice(i, i + step), slice(None))
        if bias is not None:
            out[rows, columns] = bias[columns]  # for BLAS, adding to `out` is as fast as overwriting it
        gemm(a[rows], b[:, columns], out[rows, columns], add=bias is not None, threads=cores.CORES if by_mkl else 1)

    return [functools.partial(work, i) for i in range(0, count, step)]


def do(*works: list[Callable[[], Any]]) -> None:
    """Run all tasks, on all cores if one of the products was divided among them."""
    parts = [part for work in works for part in work]
    if any(len(work) > 1 for work in works):
        share(lambda part: part(), parts)
    else:
        share(lambda parts: [part() for part in parts], [parts])


def products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix products of two stacks, (…, m, k) and (…, k, n), on all cores; large ones do not report overflow.

    OpenBLAS's own threads, once awake, keep spinning for a while and occupy the cores that the next op needs.
    """
    if (
        a.size * b.shape[-1] < MAX_SINGLE_THREADED
        or a.dtype != b.dtype
        or a.dtype.kind != "f"
        or a.shape[-1] != b.shape[-2]
    ):
        return a.dot(b) if a.ndim == b.ndim == 2 else np.matmul(a, b)  # dot has less overhead
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = np.empty((*lead, a.shape[-2], b.shape[-1]), a.dtype)
    if b.ndim == 2:
        do(product(matrix(a), b, rows(y)[0]))
        return y
    a, b = (np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (a, b))
    if math.prod(lead) < 4 * cores.CORES:
        do(*(product(a[i], b[i], y[i]) for i in np.ndindex(lead)))
        return y
    axis = next(i for i in range(len(lead)) if math.prod(lead[: i + 1]) >= cores.CORES)
    parts = evenly(lead[axis], lead[axis], -(-cores.CORES // math.prod(lead[:axis])))
    share(
        lambda i: np.matmul(a[i], b[i], out=y[i]),
        [(*first, part) for first in np.ndindex(lead[:axis]) for part in parts],
    )
    return y


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two vectors, on one core: for long ones OpenBLAS would wake its threads (see `products`)."""
    return a.dot(b) if a.size <= 10_000 else share(lambda pair: pair[0].dot(pair[1]), [(a, b)])[0]


def matmul_forward(xp, a, b):
    return products(a, b), (a, b)


def matmul_backward(xp, g, saved, wanted):
    a, b = saved
    ga = products(g, b.swapaxes(-1, -2)) if wanted[0] else None
    if wanted[1] and b.ndim == 2:  # one product for the whole stack
        a, g = matrix(a), matrix(g)
    return ga, products(a.swapaxes(-1, -2), g) if wanted[1] else None


def linear_forward(xp, x, weight, bias):
    y = np.empty((*x.shape[:-1], len(weight)), x.dtype if x.dtype is weight.dtype else np.result_type(x, weight))
    (into,), x_rows = rows(y), matrix(x)
    if x.ndim > 2 and len(x_rows) <= (MAX_TOKENS if mkl.tbb() is None else 1):
        # This is text generation, one token at a time.  All its products are so small that OpenBLAS's threads, which
        # spin in between, are the fastest.  (For a single row of a classifier they would occupy the cores afterwards:
        # see `products`.)  For several rows and a large weight `gemm` is faster; else NumPy has less overhead.
        (gemm if len(x_rows) > 1 and len(x_rows) * weight.size > MAX_UNCOPIED else np.matmul)(
            x_rows, weight.T, out=into
        )
        if bias is not None:
            into += bias
    else:
        do(product(x_rows, weight.T, into, bias))
    return y, (x.shape, x, weight)


def linear_backward(xp, g, saved, wanted):
    shape, x, weight = saved
    gx = np.empty(shape, g.dtype) if wanted[0] else None
    gw = np.empty_like(weight, g.dtype, order="A") if wanted[1] else None
    g = matrix(g)
    ones = np.ones((1, len(g)), g.dtype)
    gb = np.empty((1, len(weight)), g.dtype) if wanted[2] else None
    do(
        [] if gx is None else product(g, weight, matrix(gx)),
        [] if gw is None else product(g.T, matrix(x), gw),
        [] if gb is None else product(ones, g, gb),
    )
    return gx, gw, gb if gb is None else gb[0]


linear = Kernel(linear_forward, linear_backward, needed=linear_needed)
table = {
    "matmul": with_vectors(Kernel(matmul_forward, matmul_backward), dot),
    "linear": linear,
    "lora_linear": with_lora(linear, products),
}
