"""Attention on a GPU without a matrix of scores (src/flash_attention.cu): memory linear in the length of the sequence.

It is for heads of up to 128 numbers of 16 or 32 bits; others use the kernel for both libraries.  With dropout of the
weights, one byte per score, which says whether it was dropped, is kept for the backward pass.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..record import Array, Kernel
from ..shared import attention
from .gemm import by_gemm
from .source import kernel

HEADS = np.dtype([("data", "u8"), ("batch", "i8"), ("head", "i8"), ("row", "i8")])
WITH_SCORES = by_gemm(attention.table["scaled_dot_product_attention"])
ARRAYS = "q", "k", "v", "y", "gy", "gq", "gk", "gv"
# The kernel's struct Call.
CALL = np.dtype(
    [
        *((name, HEADS) for name in ARRAYS),
        ("allowed", "u8"),
        ("bias", "u8"),
        ("mask", "i8", 4),
        ("keep", "u8"),
        ("keep_steps", "i8", 4),
        ("top", "u8"),
        ("log_sum", "u8"),
        ("dots", "u8"),
        *((name, "i8") for name in ("queries", "keys", "size", "value_size", "causal", "tiles", "heads")),
        ("scale", "f8"),
        ("kept", "f8"),
    ]
)
SIZES = 32, 64, 128  # of a head, each compiled by itself


def tile(size: int) -> int:
    """The number of queries, and of keys, that a block processes at a time: as many as its shared memory holds."""
    return 64 if size <= 64 else 32


def shared_memory(size: int, tiles: int, squares: int) -> int:
    """The bytes of shared memory of a block with these numbers of tiles and squares of scores, for this head size."""
    return 4 * tile(size) * (tiles * (size + 1) + squares * (tile(size) + 1))


@functools.cache
def _most_shared_memory(device: int) -> int:
    import cupy

    return cupy.cuda.runtime.deviceGetAttribute(97, device)  # cudaDevAttrMaxSharedMemoryPerBlockOptin


def _has_kernel(xp: Any, q: Array, v: Array) -> bool:
    size = _rounded(q, v)
    return (
        q.dtype != np.float64
        and bool(size)
        and shared_memory(size, 4, 2) <= _most_shared_memory(xp.cuda.runtime.getDevice())
    )


def _rounded(q: Array, v: Array) -> int:
    """The size of a head, rounded up to one there is a kernel for; 0 if there is none."""
    return next((size for size in SIZES if size >= max(q.shape[-1], v.shape[-1])), 0)


def attention_forward(xp, q, k, v, mask, keep, p, scale, is_causal):
    if not _has_kernel(xp, q, v):
        return WITH_SCORES.forward(xp, q, k, v, mask, keep, p, scale, is_causal)
    shape, lead = (*q.shape[:-1], v.shape[-1]), q.shape[:-2]
    q, k, v = (_heads(xp, x, q.dtype) for x in (q, k, v))
    if mask is not None:
        mask = _heads(xp, xp.broadcast_to(mask, (*lead, q.shape[-2], k.shape[-2])), None)
    keep = keep if keep is None else _heads(xp, keep, None)
    # It has q's memory order, so that merging the heads is free.
    y = xp.empty_like(q, shape=(*q.shape[:-1], shape[-1]))
    sums = xp.empty((2, *q.shape[:-1]), np.float32)  # of each row of scores: the largest, and log Σ exp of what is less
    call = _call(q, k, v, y, mask, keep, sums, p, scale, is_causal)
    _run("attention", call, q, v, q.shape[2], tiles=2, squares=1)
    return y.reshape(shape), (q, k, v, y, mask, keep, sums, lead)


def attention_backward(xp, g, saved, wanted, keep, p, scale, is_causal):
    if len(saved) < 8:
        return WITH_SCORES.backward(xp, g, saved, wanted, keep, p, scale, is_causal)
    if wanted[3]:  # the gradient of a mask is as large as all scores
        *heads, mask, _, sums, lead = saved
        q, k, v, y, mask = (x.reshape(*lead, *x.shape[2:]) for x in (*heads, mask))
        bias = attention.attention_bias(xp, mask, is_causal, mask.shape, sums.dtype)
        saved = q, k, v, y, bias, *sums.reshape(2, *lead, -1, 1)
        return WITH_SCORES.backward(xp, g, saved, wanted, keep, p, scale, is_causal)
    q, k, v, y, mask, keep, sums, lead = saved
    g, dots = _heads(xp, g, q.dtype), xp.empty_like(sums[0])
    gq, gk, gv = xp.empty_like(q), xp.empty_like(k), xp.empty_like(v)
    call = _call(q, k, v, y, mask, keep, sums, p, scale, is_causal)
    call["dots"] = dots.data.ptr
    for name, x in (("gy", g), ("gq", gq), ("gk", gk), ("gv", gv)):
        call[name] = _steps(x)
    _run("attention_dots", call, q, v, q.shape[2], per_block=256)
    if wanted[0]:
        _run("attention_gq", call, q, v, q.shape[2], tiles=4, squares=1)
    if wanted[1] or wanted[2]:
        _run("attention_gkv", call, q, v, k.shape[2], tiles=4, squares=2)
    return *(x.reshape(*lead, *x.shape[2:]) if want else None for x, want in zip((gq, gk, gv), wanted)), None


def _heads(xp: Any, x: Array, dtype: Any) -> Array:
    """x with exactly two leading axes and, unless it is a mask, with no `dtype` asked for, rows in order in memory."""
    x = x[(None,) * (4 - x.ndim)] if x.ndim <= 4 else x.reshape(-1, *x.shape[-3:])
    if dtype is not None and (x.dtype != dtype or (x.strides[-1] != x.itemsize and x.shape[-1] > 1)):
        x = xp.ascontiguousarray(x, dtype)
    return x


def _steps(x: Array) -> tuple:
    return x.data.ptr, *(stride // x.itemsize for stride in x.strides[:3])


def _call(q, k, v, y, mask, keep, sums, p, scale, is_causal):
    """The arguments of a kernel, without those for the gradients."""
    call = np.zeros((), CALL)
    for name, x in (("q", q), ("k", k), ("v", v), ("y", y)):
        call[name] = _steps(x)
    if mask is not None:
        call["allowed" if mask.dtype == bool else "bias"] = mask.data.ptr
        call["mask"] = [stride // mask.itemsize for stride in mask.strides]
    if keep is not None:
        call["keep"], call["keep_steps"] = keep.data.ptr, keep.strides
    for name, value in (
        ("top", sums[0].data.ptr),
        ("log_sum", sums[1].data.ptr),
        ("queries", q.shape[2]),
        ("keys", k.shape[2]),
        ("size", q.shape[3]),
        ("value_size", v.shape[3]),
        ("causal", is_causal),
        ("scale", scale),
        ("kept", 1 / (1 - p)),
    ):
        call[name] = value
    return call


def _run(
    name: str, call: np.ndarray, q: Array, v: Array, rows: int, per_block: int = 0, tiles: int = 0, squares: int = 0
) -> None:
    """Launch a block for every tile of `rows`, of each head of each batch, with memory for these tiles and squares."""
    size = _rounded(q, v)
    shared = shared_memory(size, tiles, squares)
    call["tiles"], call["heads"] = -(-rows // (per_block or tile(size))), q.shape[1]
    blocks = int(call["tiles"]) * q.shape[1] * q.shape[0]
    if blocks:
        run = kernel("flash_attention", name, q.dtype, D=size, TILE=tile(size))
        run.max_dynamic_shared_size_bytes = shared
        run((blocks,), (256,), (call[()],), shared_mem=shared)


table = {"scaled_dot_product_attention": Kernel(attention_forward, attention_backward)}
