"""Rows of the catalogue on another backend than NumPy's: what the tests on strict_cupy and on CuPy share."""

from contextlib import contextmanager

import numpy as np
from test_catalogue import NAMED, NO_GRADIENT, cast, is_float

from minigrad import backend
from minigrad.backend import Kernel
from minigrad.checking.catalogue.linalg_rows import SOLVED
from minigrad.tensor import Tensor, grad

__all__ = ["NAMED", "NO_GRADIENT", "assert_same", "cast", "is_float", "is_solved", "kernel_rows", "only", "run"]


@contextmanager
def only(device, table):
    """With these kernels on the device, and no others."""
    kernels = backend.get(device).kernels
    installed = dict(kernels)
    kernels.clear()
    kernels.update(table)
    try:
        yield
    finally:
        kernels.clear()
        kernels.update(installed)


def kernel_rows(table):
    """The rows whose op has a kernel in the table."""
    return [row for row in NAMED if isinstance(table.get(row.values[0].op), Kernel)]


def is_solved(row):
    """Whether LAPACK or cuSOLVER computes it."""
    return any(row is one for one in SOLVED)


def run(row, dtype, device, second=False):
    """The value, the gradient of each floating input and, if `second`, the gradients of the sum of these gradients'
    squares.
    """
    place = backend.get(device)
    xs = [Tensor(a, True, device=device) if is_float(a) else place.xp.asarray(a) for a in cast(row.inputs, dtype)]
    y, leaves = row.call(*xs), [x for x in xs if isinstance(x, Tensor)]
    results = [y]
    if y.requires_grad:
        seed = Tensor(np.cos(np.arange(y.size)).reshape(y.shape), dtype=y.dtype, device=y.device)
        gradients = grad(y, leaves, seed, create_graph=second)
        results += gradients
        moving = [g for g in gradients if g.requires_grad]
        if moving:
            results += grad(sum((g * g).sum() for g in moving), leaves)
    assert all(isinstance(result.data, place.array) for result in results if row.op != "to_device")  # 0-d results too
    return results


def assert_same(found, expected, tolerance):
    for a, b in zip([a.numpy() for a in found], [b.numpy() for b in expected], strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(
            a.astype("f8"), b.astype("f8"), rtol=tolerance, atol=tolerance * abs(b).max(initial=1)
        )
