"""Recurrent layers: one compiled loop over all time steps, forward and backward, with products by BLAS.

Each core computes all steps of some samples, rows lo..hi; shared/recurrent.py has the same on whole arrays.  `stack`
holds the weight in pieces of a few columns, which BLAS multiplies without copying them first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...record import Kernel
from .. import blas, cores
from ..products import MIN_SHARED_PRODUCT, products
from .compile import f4, loop, sgemm, sigmoid, tanh


@loop
def multiply(address, a, stack, add, out):
    """out = a @ weight, or with 1 for `add` out += a @ weight."""
    rows, k = a.shape
    few = stack.shape[2]
    for piece in range(stack.shape[0]):
        to = out.ctypes.data + 4 * few * piece
        part = stack[piece]
        sgemm(address, rows, few, k, f4(1), a.ctypes.data, k, part.ctypes.data, few, add, to, out.shape[1])


@loop
def lstm_cell(z, c, h_new, c_new):
    """The gates i, f, g, o of one sample's step, in place, and its next state.

    There are several loops because the compiler vectorises a loop only if it can check that no two of its arrays
    overlap, and it checks only a few pairs.
    """
    n = c.shape[0]
    i, f, g, o = z[:n], z[n : 2 * n], z[2 * n : 3 * n], z[3 * n :]
    for j in range(2 * n):
        z[j] = sigmoid(z[j])
    for j in range(n):
        g[j] = tanh(g[j])
    for j in range(n):
        o[j] = sigmoid(o[j])
    for j in range(n):
        c_new[j] = f[j] * c[j] + i[j] * g[j]
    for j in range(n):
        h_new[j] = o[j] * tanh(c_new[j])


@loop
def lstm_steps(address, stack, z, h, c, mask, lo, hi):
    for t in range(z.shape[0]):
        multiply(address, h[t, lo:hi], stack, f4(1), z[t, lo:hi])
        for b in range(lo, hi):
            if mask is None or mask[t, b]:
                lstm_cell(z[t, b], c[t, b], h[t + 1, b], c[t + 1, b])
            else:
                h[t + 1, b, :], c[t + 1, b, :] = h[t, b], c[t, b]


@loop
def lstm_slopes(z, before, c, dh, dc, dz):
    """The gradients of one step's gates before their activations, for one sample; dc becomes that of the previous c."""
    n = c.shape[0]
    i, f, g, o = z[:n], z[n : 2 * n], z[2 * n : 3 * n], z[3 * n :]
    di, df, dg, do = dz[:n], dz[n : 2 * n], dz[2 * n : 3 * n], dz[3 * n :]
    for j in range(n):
        u = tanh(c[j])
        do[j] = dh[j] * u * o[j] * (f4(1) - o[j])
        dc[j] += dh[j] * o[j] * (f4(1) - u * u)
    for j in range(n):
        di[j] = dc[j] * g[j] * i[j] * (f4(1) - i[j])
    for j in range(n):
        df[j] = dc[j] * before[j] * f[j] * (f4(1) - f[j])
    for j in range(n):
        dg[j] = dc[j] * i[j] * (f4(1) - g[j] * g[j])
    for j in range(n):
        dc[j] *= f[j]


@loop
def lstm_steps_back(address, stack, g, z, c, mask, dz, dh, dc, old, lo, hi):
    T, n = z.shape[0], c.shape[2]
    for s in range(T):
        t = T - 1 - s
        for b in range(lo, hi):
            for j in range(n):
                dh[b, j] += g[t, b, j]
            if mask is None or mask[t, b]:
                lstm_slopes(z[t, b], c[t, b], c[t + 1, b], dh[b], dc[b], dz[t, b])
            else:
                dz[t, b, :], old[b, :] = f4(0), dh[b]
        multiply(address, dz[t, lo:hi], stack, f4(0), dh[lo:hi])
        if mask is not None:
            for b in range(lo, hi):
                if not mask[t, b]:
                    dh[b, :] = old[b]


@loop
def gru_cell(z, part, h, h_new):
    """The gates r, z, n of one sample's step, in place; `part` is the contribution of the recurrent weights."""
    n = h.shape[0]
    r, keep, new, to_new = z[:n], z[n : 2 * n], z[2 * n :], part[2 * n :]
    for j in range(2 * n):
        z[j] = sigmoid(z[j] + part[j])
    for j in range(n):
        new[j] = tanh(new[j] + r[j] * to_new[j])
    for j in range(n):
        h_new[j] = new[j] + keep[j] * (h[j] - new[j])


@loop
def gru_steps(address, stack, bias, z, part, recurrent, h, mask, lo, hi):
    n = h.shape[2]
    for t in range(z.shape[0]):
        for b in range(lo, hi):
            for j in range(3 * n):
                part[b, j] = f4(0) if bias is None else bias[j]
        multiply(address, h[t, lo:hi], stack, f4(1), part[lo:hi])
        for b in range(lo, hi):
            recurrent[t, b, :] = part[b, 2 * n :]
            if mask is None or mask[t, b]:
                gru_cell(z[t, b], part[b], h[t, b], h[t + 1, b])
            else:
                h[t + 1, b, :] = h[t, b]


@loop
def gru_slopes(z, recurrent, h, dh, d_in, d_rec):
    """The gradients of the gates' input parts and recurrent parts, for one sample's step.

    dh becomes its part that bypasses the gates, on the direct path to the previous state.
    """
    n = h.shape[0]
    r, keep, new = z[:n], z[n : 2 * n], z[2 * n :]
    dr, dk, dn = d_in[:n], d_in[n : 2 * n], d_in[2 * n :]
    for j in range(n):
        dn[j] = dh[j] * (f4(1) - keep[j]) * (f4(1) - new[j] * new[j])
    for j in range(n):
        dr[j] = dn[j] * recurrent[j] * r[j] * (f4(1) - r[j])
    for j in range(n):
        dk[j] = dh[j] * (h[j] - new[j]) * keep[j] * (f4(1) - keep[j])
    d_rec[: 2 * n] = d_in[: 2 * n]
    for j in range(n):
        d_rec[2 * n + j] = dn[j] * r[j]
    for j in range(n):
        dh[j] *= keep[j]


@loop
def gru_steps_back(address, stack, g, z, recurrent, h, mask, d_in, d_rec, dh, lo, hi):
    T, n = z.shape[0], h.shape[2]
    for s in range(T):
        t = T - 1 - s
        for b in range(lo, hi):
            for j in range(n):
                dh[b, j] += g[t, b, j]
            if mask is None or mask[t, b]:
                gru_slopes(z[t, b], recurrent[t, b], h[t, b], dh[b], d_in[t, b], d_rec[t, b])
            else:
                d_in[t, b, :], d_rec[t, b, :] = f4(0), f4(0)
        multiply(address, d_rec[t, lo:hi], stack, f4(1), dh[lo:hi])


@loop
def activate(x, by_tanh):
    """The hyperbolic tangent, or ReLU, of a row, in place."""
    if by_tanh:
        for j in range(x.shape[0]):
            x[j] = tanh(x[j])
    else:
        for j in range(x.shape[0]):
            x[j] = f4(0) if x[j] < f4(0) else x[j]


@loop
def rnn_steps(address, stack, z, h, mask, by_tanh, lo, hi):
    for t in range(z.shape[0]):
        h[t + 1, lo:hi] = z[t, lo:hi]
        multiply(address, h[t, lo:hi], stack, f4(1), h[t + 1, lo:hi])
        for b in range(lo, hi):
            if mask is None or mask[t, b]:
                activate(h[t + 1, b], by_tanh)
            else:
                h[t + 1, b, :] = h[t, b]


@loop
def rnn_steps_back(address, stack, g, h, mask, by_tanh, dz, dh, old, lo, hi):
    T = dz.shape[0]
    for s in range(T):
        t = T - 1 - s
        for b in range(lo, hi):
            for j in range(h.shape[2]):
                dh[b, j] += g[t, b, j]
                u = h[t + 1, b, j]
                slope = f4(1) - u * u if by_tanh else (f4(1) if u > f4(0) else f4(0))
                dz[t, b, j] = dh[b, j] * slope
            if mask is not None and not mask[t, b]:
                dz[t, b, :], old[b, :] = f4(0), dh[b]
        multiply(address, dz[t, lo:hi], stack, f4(0), dh[lo:hi])
        if mask is not None:
            for b in range(lo, hi):
                if not mask[t, b]:
                    dh[b, :] = old[b]


def on_cores(steps: Callable, T: int, B: int, weight: np.ndarray) -> None:
    """Call `steps(address, stack, lo, hi)` on each core for a part of B samples: T steps with products by `weight`."""
    many = T * B * weight.size >= MIN_SHARED_PRODUCT
    parts = cores.evenly(B, B, cores.CORES if many else 1)
    stack = uncopied(weight, max((part.stop - part.start for part in parts), default=1))
    sgemm = blas.address()
    cores.share(lambda part: steps(sgemm, stack, part.start, part.stop), parts)


def uncopied(weight: np.ndarray, rows: int) -> np.ndarray:
    """The weight in pieces (pieces, inner, few), with few enough columns that OpenBLAS does not copy them each time."""
    inner, columns = weight.shape
    most = min(max(32, (1 << 14) // max(1, inner)), blas.MAX_UNCOPIED // max(1, rows * inner))
    few = next((few for few in range(min(most, columns), 15, -1) if columns % few == 0), columns)
    return np.ascontiguousarray(weight.reshape(inner, columns // max(1, few), few).swapaxes(0, 1))


def weight_gradient(dz, before):
    """The gradient of the recurrent weight, by one product over all steps; dz is (T, B, gates), before (T, B, H)."""
    return products(dz.reshape(-1, dz.shape[-1]).T, before.reshape(-1, before.shape[-1]))


def lstm_forward(xp, gates, weight, h, c, mask):
    (T, B, _), z = gates.shape, np.array(gates, order="C")
    hs, cs = np.empty((T + 2, *h.shape), np.float32), np.empty((T + 1, *c.shape), np.float32)
    hs[0], cs[0] = h, c
    on_cores(lambda sgemm, stack, lo, hi: lstm_steps(sgemm, stack, z, hs, cs, mask, lo, hi), T, B, weight.T)
    hs[T + 1] = cs[T]
    return hs[1:], (z, hs, cs, weight)


def lstm_backward(xp, g, saved, wanted, mask):
    z, hs, cs, weight = saved
    T, B, _ = z.shape
    g = np.ascontiguousarray(g)
    dz, dh, dc, old = np.empty_like(z), np.zeros_like(hs[0]), g[T].copy(), np.empty_like(hs[0])

    def steps(sgemm, stack, lo, hi):
        lstm_steps_back(sgemm, stack, g, z, cs, mask, dz, dh, dc, old, lo, hi)

    on_cores(steps, T, B, weight)
    return dz, weight_gradient(dz, hs[:T]) if wanted[1] else None, dh, dc


def gru_forward(xp, gates, weight, bias, h, mask):
    (T, B, _), z = gates.shape, np.array(gates, order="C")
    hs, recurrent, part = (
        np.empty((T + 1, *h.shape), np.float32),
        np.empty((T, *h.shape), np.float32),
        np.empty_like(z[0]),
    )
    hs[0] = h

    def steps(sgemm, stack, lo, hi):
        gru_steps(sgemm, stack, bias, z, part, recurrent, hs, mask, lo, hi)

    on_cores(steps, T, B, weight.T)
    return hs[1:], (z, hs, recurrent, weight)


def gru_backward(xp, g, saved, wanted, mask):
    z, hs, recurrent, weight = saved
    (T, B, _), g = z.shape, np.ascontiguousarray(g)
    d_in, d_rec, dh = np.empty_like(z), np.empty_like(z), np.zeros_like(hs[0])

    def steps(sgemm, stack, lo, hi):
        gru_steps_back(sgemm, stack, g, z, recurrent, hs, mask, d_in, d_rec, dh, lo, hi)

    on_cores(steps, T, B, weight)
    gw = weight_gradient(d_rec, hs[:T]) if wanted[1] else None
    return d_in, gw, d_rec.sum((0, 1)) if wanted[2] else None, dh


def rnn_forward(xp, gates, weight, h, mask, nonlinearity):
    (T, B, _), z = gates.shape, np.ascontiguousarray(gates)
    hs = np.empty((T + 1, *h.shape), np.float32)
    hs[0], by_tanh = h, nonlinearity == "tanh"
    on_cores(lambda sgemm, stack, lo, hi: rnn_steps(sgemm, stack, z, hs, mask, by_tanh, lo, hi), T, B, weight.T)
    return hs[1:], (hs, weight)


def rnn_backward(xp, g, saved, wanted, mask, nonlinearity):
    (hs, weight), g, by_tanh = saved, np.ascontiguousarray(g), nonlinearity == "tanh"
    dz, dh, old = np.empty_like(hs[1:]), np.zeros_like(hs[0]), np.empty_like(hs[0])

    def steps(sgemm, stack, lo, hi):
        rnn_steps_back(sgemm, stack, g, hs, mask, by_tanh, dz, dh, old, lo, hi)

    T, B, _ = dz.shape
    on_cores(steps, T, B, weight)
    return dz, weight_gradient(dz, hs[:-1]) if wanted[1] else None, dh


table = {
    "lstm": Kernel(lstm_forward, lstm_backward),
    "gru": Kernel(gru_forward, gru_backward),
    "rnn": Kernel(rnn_forward, rnn_backward),
}
