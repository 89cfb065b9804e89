"""The kernels again, faster on a CPU: in pieces that stay in a core's cache, shared out over the cores, without large arrays.

They are for float32 arrays; whatever else comes is handed back to `kernels`.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from .. import Kernel
from ..shared import layers
from . import cores, memory, mkl
from .cores import cuts, each_piece, scratch, share
from .products import rows


def flat(out: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Each array as one row, in the order in which the first lies in memory: a view of it, and of those that lie as it does.

    It must have no gaps, as what `empty_like` makes has none, or what is written there is lost.
    """
    arrays = [out, *others]
    if not out.flags.c_contiguous:
        order = np.argsort(out.strides, kind="stable")[::-1]
        arrays = [array.transpose(order) for array in arrays]
    return [memory.in_order(array).reshape(-1) for array in arrays]


def _log_odds(x, out, square):
    """log(Φ(-x) / Φ(x)) into `out`, Φ being the normal distribution function; x² is left in `square`.

    It is x times a function of x².  This is the rational function of degree 3 over 3, as a continued fraction, whose largest
    relative error in erf(x/√2) = tanh(-½ log …) over 0 < x < 6 is least: 3e-9.  (Least squares in float64 at 3000 Chebyshev
    points, the points with large errors given more and more weight.)
    """
    np.multiply(x, x, out=square)
    np.add(square, 37.445206966, out=out)
    np.divide(1096.44704976, out, out=out)
    out += square
    out -= 24.154402148
    np.divide(-21.939575656, out, out=out)
    out += square
    out += 132.527319228
    np.divide(1011.24518935, out, out=out)
    out -= 9.48084044
    out *= x


def erf(x: np.ndarray) -> np.ndarray:
    """The error function: exact in float64; in float32 within 0.6 units in the last place (by way of float64)."""
    if x.dtype == np.float64:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    wide = x.astype(np.float64).reshape(-1) * math.sqrt(2)
    odds = np.empty_like(wide)
    _log_odds(wide, odds, np.empty_like(wide))
    return np.tanh(-0.5 * odds).astype(x.dtype).reshape(x.shape)


def gelu_forward(xp, x, bias, approximate):
    """x Φ(x), as x / (1 + Φ(-x) / Φ(x)); keeps its result as well, to read Φ off on the way back.

    MKL computes Φ in a third of the time; with it Φ is computed once more instead, and the result not kept.  (Its exp is not
    used: it takes forty times as long where the result is 0.)
    """
    y, normal = np.empty_like(x, order="K" if bias is None else "C"), mkl.of_array("vsCdfNorm") if approximate == "none" else None

    def work(y, x):
        sums, square = scratch(2, *x.shape)
        if bias is not None:
            x = np.add(x, bias, out=sums)
        if normal is not None:
            normal(x.size, x.ctypes.data, y.ctypes.data)
            y *= x
            return
        if approximate == "tanh":
            np.multiply(x, x, out=square)
            np.multiply(square, -layers.GELU_TANH[1], out=y)
            y -= layers.GELU_TANH[0]
            y *= x
        else:
            _log_odds(x, y, square)
        np.exp(y, out=y)
        y += 1
        np.divide(x, y, out=y)
    each_piece(work, *(flat if bias is None else rows)(y, x))
    return y, (x, bias, y if normal is None else None, normal)


def gelu_backward(xp, g, saved, wanted, approximate):
    """g (Φ(x) + x Φ'(x)) with Φ(x) from MKL, or read off as y / x, which the two tiny numbers make 1/2 at x = 0."""
    x, bias, y, normal = saved
    as_lines = rows if wanted[1] or bias is not None else flat
    gx = np.empty_like(x, order="C" if as_lines is rows else "K")

    def work(gx, g, x, y=None):
        sums, slope = scratch(2, *x.shape)
        if bias is not None:
            x = np.add(x, bias, out=sums)
        if normal is not None:
            normal(x.size, x.ctypes.data, gx.ctypes.data)
        else:
            np.add(x, 2e-37, out=slope)
            np.add(y, 1e-37, out=gx)
            gx /= slope
        np.multiply(x, x, out=slope)
        if approximate == "tanh":               # Φ is the logistic function of a x + b x³
            slope *= 3 * layers.GELU_TANH[1]
            slope += layers.GELU_TANH[0]
            slope *= gx
            slope *= 1 - gx
        else:
            slope *= -0.5
            np.exp(slope, out=slope)
            slope *= 1 / math.sqrt(2 * math.pi)
        slope *= x
        gx += slope
        gx *= g
        return _sum(gx, -2) if wanted[1] else None
    sums = each_piece(work, *as_lines(gx, g, x, *([] if y is None else [y])))
    return gx if wanted[0] else None, sum(sums) if wanted[1] else None


def exp_sums(x, out, limit, axis=-1):
    """exp(x) into `out`; what is largest along the axis is subtracted first only if some sum is not within 1 / limit to limit.

    Returns the sums, and what was subtracted.
    """
    np.exp(x, out=out)
    total = _sum(out, axis)
    if total.min() > 1 / limit and total.max() < limit:                        # nothing that matters over- or underflowed
        return total, 0
    top = x.max(axis)
    top[top == -math.inf] = 0
    np.exp(np.subtract(x, np.expand_dims(top, axis), out=out), out=out)
    return _sum(out, axis), top


def _sum(x, axis):
    """The sums along the last axis, or the last but one, each in the way that is quickest."""
    return np.einsum("...i->...", x) if axis == -1 else np.matmul(np.ones((1, x.shape[-2]), np.float32), x)[..., 0, :]


def softmax_forward(xp, x, axis):
    y = np.empty(x.shape, x.dtype)

    def work(x, y):
        y *= 1 / exp_sums(x, y, 1e20)[0][:, None]
    each_piece(work, *rows(x, y))
    return y, y


def softmax_backward(xp, g, y, wanted, axis):
    gx = np.empty_like(y)

    def work(g, y, gx):
        np.subtract(g, np.einsum("ij,ij->i", g, y)[:, None], out=gx)
        gx *= y
    each_piece(work, *rows(g, y, gx))
    return gx,


def log_softmax_forward(xp, x, axis):
    y = np.empty(x.shape, x.dtype)

    def work(x, y):
        total, top = exp_sums(x, y, 1e6)       # a tighter limit: of a large log(total), fewer digits are behind the point
        if np.ndim(top):
            x = x - top[:, None]
        np.subtract(x, np.log(total)[:, None], out=y)
    each_piece(work, *rows(x, y))
    return y, y


def log_softmax_backward(xp, g, y, wanted, axis):
    gx = np.empty_like(y)

    def work(g, y, gx):
        np.exp(y, out=gx)
        gx *= -np.einsum("ij->i", g)[:, None]
        gx += g
    each_piece(work, *rows(g, y, gx))
    return gx,


def layer_norm_forward(xp, x, weight, bias, eps):
    """Where a mean is larger than the deviation, what rounding left of it, the mean of what was centred, is taken away too."""
    y, n = np.empty(x.shape, x.dtype), x.shape[-1]
    mean, rest, inverse_std = np.empty((3, x.size // n, 1), np.float32)
    each = np.full(n, 1 / n, np.float32)

    def work(x, y, mean, rest, inverse_std):
        np.matmul(x, each, out=mean[:, 0])
        np.subtract(x, mean, out=y)
        square = np.vecdot(y, y)
        rest[...] = 0
        if (n * mean[:, 0]**2 > square).any():
            np.matmul(y, each, out=rest[:, 0])
            y -= rest
            square = np.vecdot(y, y)
        inverse_std[:, 0] = 1 / np.sqrt(square / n + eps)
        y *= inverse_std
        if weight is not None:
            y *= weight
        if bias is not None:
            y += bias
    each_piece(work, *rows(x, y), mean, rest, inverse_std)
    return y, (x, weight, mean, rest, inverse_std)


def layer_norm_backward(xp, g, saved, wanted, eps):
    """gx = inverse_std · (scaled - mean(scaled) - unit · mean(scaled · unit)); scaled is g · weight, unit the normalised x.

    The sums along rows and columns are products with vectors, which BLAS does as fast as the numbers come.
    """
    x, weight, mean, rest, inverse_std = saved
    gx, n = np.empty(x.shape, x.dtype), x.shape[-1]
    each = np.full(n, 1 / n, np.float32) if weight is None else weight / np.float32(n)

    def work(g, x, gx, mean, rest, inverse_std):
        product, centred = scratch(2, *x.shape)
        middle = mean + rest
        if (abs(middle) * inverse_std > 4).any():            # to take it away from the sums only would cost digits
            x, middle = np.subtract(x, mean, out=centred), rest
        np.multiply(g, x, out=product)
        across, down = inverse_std[:, 0], np.ones(len(g), np.float32)
        gw, gb = across @ product - (middle[:, 0] * across) @ g, down @ g
        level = (g @ each)[:, None]
        slope = inverse_std**3 * ((product @ each)[:, None] - middle * level)  # of -x in gx
        np.multiply(g, inverse_std, out=gx)
        if weight is not None:
            gx *= weight
        gx -= np.multiply(x, slope, out=product)
        gx += slope * middle - inverse_std * level
        return gw, gb
    gw, gb = (sum(parts) for parts in zip(*each_piece(work, *rows(g, x, gx), mean, rest, inverse_std)))
    return tuple(gradient if want else None for gradient, want in zip((gx, gw, gb), wanted))


def dropout_forward(xp, x, keep, p):
    y = np.empty_like(x)

    def work(y, x, keep):
        np.multiply(keep, 1 / (1 - p), out=y, dtype=np.float32)
        y *= x
    each_piece(work, *flat(y, x, keep))
    return y, None


def dropout_backward(xp, g, saved, wanted, keep, p):
    return dropout_forward(xp, g, keep, p)[0],


def _log_sum_exp(xp, x):
    def work(x):
        total, top = exp_sums(x, scratch(*x.shape), 1e6)         # of a large logarithm fewer digits are behind the point
        total[total == 0] = math.inf
        return np.stack([np.broadcast_to(top, total.shape), np.log(total)])
    return np.concatenate(each_piece(work, x), axis=1)[..., None]


def _scaled_exp(xp, x, top, log_sum, scale):
    """exp(x - top - log_sum) · scale, with one of each for each row, as exp(x - top - (log_sum - log |scale|)), with its sign."""
    y = np.empty_like(x)

    def work(x, top, log_sum, scale, y):
        less = log_sum - np.log(np.abs(scale))
        if top.any():
            np.subtract(x, top[:, None], out=y)
            y -= less[:, None]
        else:
            np.subtract(x, less[:, None], out=y)
        np.exp(y, out=y)
        if scale.min(initial=0) < 0:
            y *= np.sign(scale)[:, None]
    with np.errstate(divide="ignore"):          # of a scale of 0, where a label is ignored
        each_piece(work, x, top, log_sum, scale, y)
    return y


cross_entropy_forward = functools.partial(layers.cross_entropy_forward, log_sum_exp=_log_sum_exp)
cross_entropy_backward = functools.partial(layers.cross_entropy_backward, exp_rows=_scaled_exp)


def embedding_backward(xp, g, shape, wanted, ids):
    gw = np.zeros(shape, g.dtype)
    embedding_add(xp, gw, g, shape, ids)
    return gw,


def embedding_add(xp, total, g, shape, ids):
    """Row by row: numpy.add.at takes several times as long for rows, and adds them in the same order."""
    for i, row in zip(ids.reshape(-1).tolist(), *rows(g)):
        total[i] += row


def at_once(step):
    """An optimiser's step for many parameters, in pieces that are shared out together: one wait for all of them.

    What does not lie in order is a piece as it is, for all but the gradient are written into.
    """
    def run(xp, parameters, **options):
        pieces = []
        for arrays in parameters:
            there = [array for array in arrays if array is not None]
            if all(array.flags.c_contiguous for array in there):
                lines = [None if array is None else array.reshape(-1) for array in arrays]
                parts = cuts(there[0].size, there[0].size)
                pieces += [[None if line is None else line[part] for line in lines] for part in parts]
            else:
                pieces.append(arrays)
        _share_all(lambda arrays: step(xp, *arrays, **options), pieces)
    return run


def _share_all(work, pieces):
    """[work(piece) for piece in pieces], tuples of arrays; where these are few entries in all, on this thread."""
    if sum(piece[0].size for piece in pieces) < cores.SHARED:
        return [work(piece) for piece in pieces]
    return share(work, pieces)


def square_sums(xp, arrays):
    lines = [array.reshape(-1) for array in arrays]
    pieces = [(line[part], i) for i, line in enumerate(lines) for part in cuts(line.size, line.size)]
    total = [0.0] * len(arrays)
    for (_, i), square in zip(pieces, _share_all(lambda piece: float(layers.square_sum(xp, piece[0])), pieces)):
        total[i] += square
    return total


def scale(xp, arrays, factor):
    at_once(lambda xp, array: np.multiply(array, factor, out=array))(xp, [(array,) for array in arrays])


def in_parts(function, a, b):
    """function(a, b) of an a without gaps and what is broadcast to it: an equal part on each core, for memory takes the time.

    The result lies as a does.  NumPy warns, or raises, as it would on the thread that calls.
    """
    b = np.broadcast_to(np.asarray(b, a.dtype), a.shape)
    if memory.lies_by_pixel(a):
        return memory.by_sample(in_parts(function, memory.by_pixel(a), memory.by_pixel(b)))
    if not a.flags.c_contiguous:
        return function(a, b)
    if all(b.strides):                          # not broadcast
        b = memory.in_order(b)
    y, errors = np.empty(a.shape, a.dtype), np.geterr()
    out = y
    if b.flags.c_contiguous or not any(b.strides):           # however few there are along the first axis
        out, a = flat(y, a)
        b = b.reshape(-1) if b.flags.c_contiguous else np.broadcast_to(b.reshape(-1)[:1], a.shape)
    while len(a) == 1:
        a, b, out = a[0], b[0], out[0]
    step = -(-len(a) // cores.CORES)

    def work(i):
        with np.errstate(**errors):
            function(a[i:i + step], b[i:i + step], out=out[i:i + step])
    share(work, range(0, len(a), step))
    return y


def plain(x, *rest):
    """Float32, and not so small that cutting it up takes longer than computing it."""
    return x.dtype == np.float32 and x.size > 1024


def plain_matrix(x, *rest):
    """... and in order."""
    return plain(x) and x.flags.c_contiguous


def plain_rows(x, axis):
    return plain(x) and axis in (-1, x.ndim - 1)


def where(fits, name, *ours):
    """A kernel that is `ours` for inputs that fit and the generic one for others; what it saves says which it was."""
    ours, generic = Kernel(*ours), layers.table[name]

    def alone(xp, *arguments):
        return ours.alone(xp, *arguments) if fits(*arguments) else generic.forward(xp, *arguments)[0]

    def forward(xp, *arguments):
        chosen = ours if fits(*arguments) else generic
        y, saved = chosen.forward(xp, *arguments)
        return y, (chosen, saved)

    def backward(xp, g, saved, wanted, *options):
        chosen, saved = saved
        return chosen.backward(xp, g, saved, wanted, *options)
    return Kernel(forward, backward, ours.alone and alone)


table = {
    "gelu": where(plain, "gelu", gelu_forward, gelu_backward),
    "softmax": where(plain_rows, "softmax", softmax_forward, softmax_backward),
    "log_softmax": where(plain_rows, "log_softmax", log_softmax_forward, log_softmax_backward),
    "layer_norm": where(plain, "layer_norm", layer_norm_forward, layer_norm_backward),
    "dropout": where(plain, "dropout", dropout_forward, dropout_backward),
    "cross_entropy": where(plain_matrix, "cross_entropy", cross_entropy_forward, cross_entropy_backward),
    "embedding": Kernel(layers.embedding_forward, embedding_backward, add=embedding_add),
    **{f"{name}s": at_once(layers.table[name]) for name in ("adam_step", "sgd_step", "rmsprop_step", "adagrad_step")},
    "square_sums": square_sums,
    "scale": scale,
    "in_parts": in_parts,
}
