"""Products with weights in 8 and in 4 bits on a GPU: of a few rows by src/quantized_rows.cu, of more by cuBLAS."""

from __future__ import annotations

import numpy as np

from ..record import Kernel
from ..shared.products import as_matrix, linear_needed
from ..shared.quantized import dequantized, of_scale
from .gemm import gemm
from .source import THREADS, kernel, wide

MAX_FEW = 16  # rows up to which weights are read as they are, and not made floats first


def forward(xp, x, scale, bias, weight):
    rows, n = as_matrix(xp, x), len(weight)
    y = xp.empty((*x.shape[:-1], n), x.dtype)
    if not y.size or not x.size or len(rows) > MAX_FEW:
        y[...] = 0 if bias is None else bias
        if y.size:
            gemm(rows, floats(xp, scale, weight, x.shape[-1], x.dtype).T, as_matrix(xp, y), beta=1)
        return y, (x.shape, x, scale)
    weight, scale = xp.ascontiguousarray(weight), xp.ascontiguousarray(scale)
    bias = None if bias is None else xp.ascontiguousarray(bias, x.dtype)
    name = "int8_rows" if weight.dtype == np.int8 else "int4_rows"
    sizes = np.int32(len(rows)), np.int32(n), np.int32(rows.shape[1])
    numbers = y, rows, weight, scale.astype(wide(x.dtype), copy=False), bias
    kernel("quantized_rows", name, x.dtype)((-(-32 * n // THREADS),), (THREADS,), (*numbers, *sizes))
    return y, (x.shape, x, scale)


def floats(xp, scale, weight, features, dtype):
    """The weights (out, features) as floats of this dtype."""
    return dequantized(xp, scale.astype(wide(dtype), copy=False), weight, features).astype(dtype, copy=False)


def backward(xp, g, saved, wanted, weight):
    shape, x, scale = saved
    g, gx, gs = as_matrix(xp, g), None, None
    if wanted[0]:
        gx = gemm(g, floats(xp, scale, weight, shape[-1], g.dtype)).reshape(shape)
    if wanted[1]:
        gs = of_scale(xp, gemm(g.T, as_matrix(xp, x).astype(g.dtype, copy=False)).astype(scale.dtype), weight)
    return gx, gs, g.sum(0) if wanted[2] else None


table = {"quantized_linear": Kernel(forward, backward, needed=linear_needed)}
