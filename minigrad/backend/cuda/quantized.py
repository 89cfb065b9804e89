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
    if not x.size or len(rows) > MAX_FEW:
        y = gemm(rows.astype(wide(x.dtype), copy=False), floats(xp, scale, weight, x.shape[-1], x.dtype).T)
        y = y if bias is None else y + bias
        return y.astype(x.dtype, copy=False).reshape(*x.shape[:-1], n), (x.shape, x, scale)
    y = xp.empty((*x.shape[:-1], n), x.dtype)
    weight, scale = xp.ascontiguousarray(weight), xp.ascontiguousarray(scale)
    bias = None if bias is None else xp.ascontiguousarray(bias, x.dtype)
    name = "int8_rows" if weight.dtype == np.int8 else "int4_rows"
    sizes = np.int32(len(rows)), np.int32(n), np.int32(rows.shape[1])
    numbers = y, rows, weight, scale.astype(wide(x.dtype), copy=False), bias
    kernel("quantized_rows", name, x.dtype)((-(-32 * n // THREADS),), (THREADS,), (*numbers, *sizes))
    return y, (x.shape, x, scale)


def floats(xp, scale, weight, features, dtype):
    """The weights (out, features) as floats, of 32 bits for inputs of 16: everything is rounded once."""
    return dequantized(xp, scale.astype(wide(dtype), copy=False), weight, features)


def backward(xp, g, saved, wanted, weight):
    shape, x, scale = saved
    g, gx, gs = as_matrix(xp, g), None, None
    g_wide = g.astype(wide(g.dtype), copy=False)
    if wanted[0]:
        gx = gemm(g_wide, floats(xp, scale, weight, shape[-1], g.dtype)).astype(g.dtype, copy=False).reshape(shape)
    if wanted[1]:
        x_wide = as_matrix(xp, x).astype(g_wide.dtype, copy=False)
        gs = of_scale(xp, gemm(g_wide.T, x_wide), weight).astype(scale.dtype, copy=False)
    return gx, gs, g.sum(0) if wanted[2] else None


table = {"quantized_linear": Kernel(forward, backward, needed=linear_needed)}
