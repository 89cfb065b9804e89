"""Rows of ops that rearrange, select, scan or multiply along axes: products, diagonals, pieces, quantiles."""

from __future__ import annotations

import numpy as np

from ... import ops
from .rows import Row, drawn_from

R, _ = drawn_from(1)

IDS = np.array([2, 0, 2])


def added(x, ids, src, axis=0):
    out = np.array(x, float)
    place: tuple = (*[slice(None)] * axis, ids)
    np.add.at(out, place, src)
    return out


def filled(x, ids, value):
    out = np.array(x, float)
    out[:, ids] = value
    return out


def embedded(x, offset=0):
    return (
        np.stack([np.diag(row, offset) for row in np.reshape(x, (-1, x.shape[-1]))]).reshape(
            *x.shape[:-1], x.shape[-1] + abs(offset), x.shape[-1] + abs(offset)
        )
        if x.size
        else np.zeros((*x.shape[:-1], x.shape[-1] + abs(offset), x.shape[-1] + abs(offset)))
    )


def blocks(*xs):
    xs = [np.atleast_2d(x) for x in xs]
    out = np.zeros(np.sum([x.shape for x in xs], 0))
    row = column = 0
    for x in xs:
        out[row : row + len(x), column : column + x.shape[1]] = x
        row, column = row + len(x), column + x.shape[1]
    return out


def windows(x, size, step):
    return np.lib.stride_tricks.sliding_window_view(x, size, 1)[:, ::step]


ROWS = [
    # products
    Row("dot", ops.dot, (R(3), R(3)), np.dot, ()),
    Row("vdot", ops.vdot, (R(3), R(3)), np.vdot, ()),
    Row("vecdot", ops.vecdot, (R(2, 3), R(2, 3)), lambda a, b: (a * b).sum(-1), (0, 1)),
    Row("inner", ops.inner, (R(2, 3), R(4, 3)), np.inner),
    Row("outer", ops.outer, (R(2), R(3)), np.outer),
    Row("kron", ops.kron, (R(2, 3), R(2, 2)), np.kron),
    Row(
        "tensordot",
        lambda a, b: ops.tensordot(a, b, ([1, 2], [0, 1])),
        (R(2, 3, 2), R(3, 2, 2)),
        lambda a, b: np.tensordot(a, b, ([1, 2], [0, 1])),
    ),
    Row("cross", ops.cross, (R(2, 3), R(2, 3)), np.cross, (0, 1)),
    Row(
        "addmm",
        lambda x, a, b: ops.addmm(x, a, b, beta=2, alpha=3),
        (R(3), R(2, 4), R(4, 3)),
        lambda x, a, b: 2 * x + 3 * (a @ b),
        (1,),
    ),
    Row("addmv", ops.addmv, (R(2), R(2, 4), R(4)), lambda x, a, b: x + a @ b, (0, 1)),
    Row("addr", ops.addr, (R(2, 3), R(2), R(3)), lambda x, a, b: x + np.outer(a, b), (0, 1)),
    Row("baddbmm", ops.baddbmm, (R(3, 2, 2), R(3, 2, 4), R(3, 4, 2)), lambda x, a, b: x + a @ b, (0, 1, 2)),
    Row("addbmm", ops.addbmm, (R(2, 3), R(4, 2, 5), R(4, 5, 3)), lambda x, a, b: x + (a @ b).sum(0), ()),
    Row("dist", ops.dist, (R(2, 3), R(2, 3)), lambda a, b: np.sqrt(((a - b) ** 2).sum()), ()),
    Row("cdist", ops.cdist, (R(2, 3), R(4, 3)), lambda a, b: np.sqrt(((a[:, None] - b) ** 2).sum(-1))),
    # diagonals
    Row("diagonal", lambda x: ops.diagonal(x, 1, 1, 2), (R(2, 3, 4),), lambda x: np.diagonal(x, 1, 1, 2)),
    Row("diag", lambda x: ops.diag(x, -1), (R(3),), lambda x: np.diag(x, -1)),
    Row("diag", ops.diag, (R(3, 4),), np.diag),
    Row("diag_embed", lambda x: ops.diag_embed(x, 1), (R(2, 3),), lambda x: embedded(x, 1)),
    Row("diagflat", lambda x: ops.diagflat(x), (R(2, 2),), lambda x: np.diagflat(x)),
    Row("trace", ops.trace, (R(3, 4),), np.trace),
    Row("block_diag", ops.block_diag, (R(2, 3), R(1, 2)), blocks, ()),
    # rearranging
    Row(
        "moveaxis", lambda x: ops.moveaxis(x, (0, 1), (-1, 0)), (R(2, 3, 4),), lambda x: np.moveaxis(x, (0, 1), (-1, 0))
    ),
    Row("roll", lambda x: ops.roll(x, (1, -2), (0, 1)), (R(2, 3),), lambda x: np.roll(x, (1, -2), (0, 1))),
    Row("roll", lambda x: ops.roll(x, 2), (R(2, 3),), lambda x: np.roll(x, 2)),
    *[Row("rot90", lambda x, k=k: ops.rot90(x, k), (R(2, 3),), lambda x, k=k: np.rot90(x, k)) for k in (1, 2, 3)],
    Row("repeat", lambda x: ops.repeat(x, 2, 1), (R(2, 3),), lambda x: np.repeat(x, 2, 1)),
    Row("chunk", lambda x: ops.chunk(x, 2, 1)[1], (R(2, 3),), lambda x: x[:, 2:]),
    Row("tensor_split", lambda x: ops.tensor_split(x, 2, 1)[0], (R(2, 3),), lambda x: np.array_split(x, 2, 1)[0]),
    Row("unbind", lambda x: ops.unbind(x, 1)[1], (R(2, 3),), lambda x: x[:, 1]),
    Row("hstack", lambda *xs: ops.hstack(xs), (R(2, 3), R(2, 1)), lambda *xs: np.hstack(xs), (0, 1)),
    Row("vstack", lambda *xs: ops.vstack(xs), (R(2, 3), R(3)), lambda *xs: np.vstack(xs), ()),
    Row("dstack", lambda *xs: ops.dstack(xs), (R(2, 3), R(2, 3)), lambda *xs: np.dstack(xs), (0, 1)),
    Row("column_stack", lambda *xs: ops.column_stack(xs), (R(2), R(2, 3)), lambda *xs: np.column_stack(xs), (0, 1)),
    Row(
        "unflatten",
        lambda x: ops.unflatten(x, 1, (2, -1)),
        (R(2, 4),),
        lambda x: x.reshape(*x.shape[:1], 2, x.shape[1] // 2),
    ),
    Row("meshgrid", lambda a, b: ops.meshgrid(a, b, indexing="xy")[1], (R(2), R(3)), lambda a, b: np.meshgrid(a, b)[1]),
    Row(
        "cartesian_prod",
        ops.cartesian_prod,
        (R(2), R(3)),
        lambda a, b: np.stack([np.repeat(a, len(b)), np.tile(b, len(a))], -1),
    ),
    Row("unfold", lambda x: ops.unfold(x, 1, 2, 2), (R(2, 5),), lambda x: windows(x, 2, 2)),
    # selecting
    Row(
        "masked_fill",
        lambda x, m: ops.masked_fill(x, m, 7),
        (R(2, 3), R(2, 3) > 0),
        lambda x, m: np.where(m, 7, x),
        (0, 1),
    ),
    Row("masked_select", ops.masked_select, (R(2, 3), R(2, 3) > 0), lambda x, m: x[m], (0, 1)),
    Row("index_select", lambda x, i: ops.index_select(x, 1, i), (R(2, 3), IDS), lambda x, i: x[:, i]),
    Row(
        "index_add",
        lambda x, i, src: ops.index_add(x, 1, i, src, alpha=2),
        (R(2, 3), IDS, R(2, 3)),
        lambda x, i, src: added(x, i, 2 * src, 1),
        (0, 2),
    ),
    Row("index_fill", lambda x, i: ops.index_fill(x, 1, i, 7.0), (R(2, 3), IDS), lambda x, i: filled(x, i, 7.0)),
    Row("index_copy", lambda x, i, src: ops.index_copy(x, 1, i, src), (R(2, 3), IDS[:2], R(2, 2)), filled, (0, 2)),
    Row(
        "take_along_axis",
        lambda x, i: ops.take_along_axis(x, i, 1),
        (R(2, 3), np.array([[0, 2, 2, -1]])),
        lambda x, i: np.take_along_axis(x, np.broadcast_to(i, (len(x), i.shape[1])), 1),
    ),
    Row(
        "searchsorted",
        lambda x, v: ops.searchsorted(ops.sort(x)[0], v),
        (R(4), R(2, 3)),
        lambda x, v: np.searchsorted(np.sort(x), v),
        (1,),
    ),
    Row("bincount", lambda w, i: ops.bincount(i, w), (R(3), IDS), lambda w, i: np.bincount(i, w), ()),
    # scans and differences
    Row("cumprod", lambda x: ops.cumprod(x, 1), (R(2, 5),), lambda x: x.cumprod(1)),
    Row("cumprod", lambda x: ops.cumprod(x, 1), (np.array([[2.0, 0, 3, 0, 5]]),), lambda x: x.cumprod(1)),
    Row("logcumsumexp", lambda x: ops.logcumsumexp(x, 1), (R(2, 5),), lambda x: np.logaddexp.accumulate(x, 1)),
    Row("cummax", lambda x: ops.cummax(x, 1)[0], (R(2, 5),), lambda x: np.maximum.accumulate(x, 1)),
    Row("cummin", lambda x: ops.cummin(x, 1)[0], (R(2, 5),), lambda x: np.minimum.accumulate(x, 1)),
    Row("diff", lambda x: ops.diff(x, 2, 1), (R(2, 5),), lambda x: np.diff(x, 2, 1)),
    Row(
        "trapezoid",
        lambda y, x: ops.trapezoid(y, x),
        (R(2, 5), R(5)),
        lambda y, x: ((y[:, 1:] + y[:, :-1]) / 2 * np.diff(x)).sum(1),
    ),
    Row("cumulative_trapezoid", ops.cumulative_trapezoid, (R(2, 5),), lambda y: ((y[:, 1:] + y[:, :-1]) / 2).cumsum(1)),
    # statistics
    Row("argmin", lambda x: ops.argmin(x, 1), (R(2, 3),), lambda x: x.argmin(1)),
    Row("aminmax", lambda x: ops.aminmax(x, axis=1)[0], (R(2, 3),), lambda x: x.min(1)),
    Row("nansum", lambda x: ops.nansum(x, 1), (R(2, 3),), lambda x: x.sum(1)),
    Row("nanmean", lambda x: ops.nanmean(x, 1), (R(2, 3),), lambda x: x.mean(1)),
    Row("quantile", lambda x: ops.quantile(x, [0.2, 0.7], 1), (R(2, 5),), lambda x: np.quantile(x, [0.2, 0.7], 1)),
    Row("nanquantile", lambda x: ops.nanquantile(x, 0.3, 1), (R(2, 5),), lambda x: np.nanquantile(x, 0.3, 1)),
    Row("median", lambda x: ops.median(x, 1), (R(2, 4),), lambda x: np.median(x, 1)),
    Row("nanmedian", lambda x: ops.nanmedian(x, 1), (R(2, 4),), lambda x: np.median(x, 1)),
    Row("mode", lambda x: ops.mode(x, 1)[0], (R(2, 4),), lambda x: x.min(1)),
    Row("kthvalue", lambda x: ops.kthvalue(x, 2, 1)[0], (R(2, 4),), lambda x: np.sort(x, 1)[:, 1]),
    Row("cov", ops.cov, (R(2, 4),), np.cov, ()),
    Row("corrcoef", ops.corrcoef, (R(2, 4),), np.corrcoef, ()),
    Row("count_nonzero", lambda x: ops.count_nonzero(x, 1), (np.round(R(2, 4)),), lambda x: np.count_nonzero(x, 1)),
    Row("isin", lambda x: ops.isin(x, [1.0, -1.0]), (np.round(R(2, 4)),), lambda x: np.isin(x, [1.0, -1.0])),
]
QUESTIONS = {"searchsorted", "count_nonzero", "isin"}
