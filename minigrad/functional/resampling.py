"""Images at another size, and at any places: interpolation, and sampling along a grid.

Pixel i covers the line from i to i + 1, unless `align_corners` lets the first and the last pixel keep their places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from numbers import Real
from typing import Any

import numpy as np

from .. import backend, ops
from ..builtin import builtin
from ..ops.pool import adaptive_avg_pool1d, adaptive_avg_pool2d
from ..ops.shape import check_flags
from ..ops.volume import adaptive_avg_pool3d
from ..ops.window import each
from ..tensor import as_array, shaped

CUBIC = -0.75  # the slope of bicubic interpolation's kernel at 1, torch's
MODES = {  # of `interpolate`: the numbers of axes it is for
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
    "area": (1, 2, 3),
}


def interpolate(
    x: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Any:
    """x at another size: signals (N, C, L), images (N, C, H, W) or volumes (N, C, D, H, W).

    Args:
        size: the new size of the axes after the first two, one number for all or one for each.
        scale_factor: in its place, what the old size is multiplied by, and rounded down.
        mode: "nearest" (as torch's, which takes the pixel before), "nearest-exact", "linear" (of signals), "bilinear"
            and "bicubic" (of images; Keys 1981), "trilinear" (of volumes) or "area", a mean.
        align_corners: of the linear and cubic modes: the first and the last entry keep their places.
        recompute_scale_factor: go by the ratio of the sizes, not by the `scale_factor` given.

    Raises:
        ValueError: a mode that is not for so many axes, both or neither of size and scale_factor, or a size below 1.
    """
    x, many = shaped(x, "interpolate"), len(getattr(x, "shape", ())) - 2
    if many not in MODES.get(str(mode), ()):
        raise ValueError(
            f"interpolate: mode={mode!r} does not fit x {tuple(x.shape)}: nearest, nearest-exact and area are for all, "
            "linear for (N, C, L), bilinear and bicubic for (N, C, H, W), trilinear for (N, C, D, H, W)"
        )
    if align_corners is not None and "linear" not in mode and mode != "bicubic":
        raise ValueError(
            f"interpolate: align_corners is for the linear and cubic modes, not for {mode!r}: leave it out"
        )
    _check_flags("interpolate", align_corners=align_corners, recompute_scale_factor=recompute_scale_factor)
    sizes, steps = _sizes(x, many, size, scale_factor, recompute_scale_factor)
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[many - 1](x, sizes)
    if mode.startswith("nearest"):
        for axis, (n, step) in enumerate(zip(sizes, steps), 2):
            x = _nearest(x, axis, n, step, mode == "nearest-exact")
        return x
    return _by_matrices(x, sizes, steps, mode == "bicubic", bool(align_corners))


def _check_flags(op, **flags):
    """`check_flags` of options that may be None."""
    check_flags(op, **{name: value for name, value in flags.items() if value is not None})


def _sizes(x, many, size, scale_factor, recompute):
    """The new sizes, and how far apart the old places are: old size / new size, or 1 / scale_factor."""
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either a size or a scale_factor")
    old = x.shape[2:]
    if 0 in old:
        raise ValueError(f"interpolate: there is nothing to interpolate in x {tuple(x.shape)}")
    if size is not None:
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor is for a scale_factor, but a size is given")
        sizes = each("interpolate", "size", tuple(size) if isinstance(size, Sequence) else size, many, 1)
        return sizes, [n / m for n, m in zip(old, sizes, strict=True)]
    factors: Any = tuple(scale_factor) if isinstance(scale_factor, Sequence) else (scale_factor,) * many
    numbers = len(factors) == many and all(isinstance(f, Real) for f in factors)
    if not numbers or not all(f > 0 for f in factors):
        raise ValueError(f"interpolate: scale_factor={scale_factor!r} is to be a number above 0, or {many} of them")
    sizes = tuple(math.floor(n * f) for n, f in zip(old, factors, strict=True))
    if min(sizes) < 1:
        raise ValueError(f"interpolate: scale_factor={scale_factor!r} leaves nothing of {tuple(old)}: {sizes}")
    return sizes, [n / m if recompute else 1 / f for n, m, f in zip(old, sizes, factors, strict=True)]


def _nearest(x, axis, size, step, exact):
    """Along one axis; by a whole factor each entry is repeated, which has a quick way back."""
    n = x.shape[axis]
    if size % n == 0 and step == n / size:
        shape = (*x.shape[: axis + 1], size // n, *x.shape[axis + 1 :])
        wide = ops.broadcast_to(ops.expand_dims(x, axis + 1), shape)
        return ops.reshape(wide, (*x.shape[:axis], size, *x.shape[axis + 1 :]))
    places = np.floor((np.arange(size, dtype=np.float32) + np.float32(0.5 * exact)) * np.float32(step))
    return ops.take(x, places.astype(np.int64).clip(0, n - 1), axis)  # (torch too multiplies in float32)


@builtin(in_float32="halves and integers", autocast="float32")
def _by_matrices(x, sizes, steps, is_cubic, align_corners):
    """A product with a matrix along each axis, whose row i weighs the old entries around place i."""
    xp = backend.of(as_array(x)).xp
    for axis, (size, step) in enumerate(zip(sizes, steps), 2):
        n = x.shape[axis]
        if align_corners:
            places = np.arange(size) * ((n - 1) / (size - 1) if size > 1 else 0.0)
        else:
            places = (np.arange(size) + 0.5) * step - 0.5
            places = places if is_cubic else places.clip(0)
        first = np.floor(places)
        weights = _cubic(places - first) if is_cubic else (1 - (places - first), places - first)
        matrix = np.zeros((n, size))
        for shift, weight in enumerate(weights, -1 if is_cubic else 0):
            np.add.at(matrix, ((first + shift).astype(int).clip(0, n - 1), np.arange(size)), weight)
        y = ops.matmul(ops.swapaxes(x, axis, -1), xp.asarray(matrix, dtype=x.dtype))
        x = ops.swapaxes(y, axis, -1)
    return x


def _cubic(t: Any) -> tuple[Any, Any, Any, Any]:
    """The weights of the entries at -1, 0, 1 and 2 for a place t between 0 and 1 (Keys 1981)."""
    near = [((CUBIC + 2) * s - (CUBIC + 3)) * s * s + 1 for s in (t, 1 - t)]
    far = [((CUBIC * s - 5 * CUBIC) * s + 8 * CUBIC) * s - 4 * CUBIC for s in (t + 1, 2 - t)]
    return far[0], near[0], near[1], far[1]


@builtin(in_float32="halves and integers", leading=2, autocast="float32")
def grid_sample(
    x: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Any:
    """x at the places of the grid: images (N, C, H, W) with a grid (N, H', W', 2) to (N, C, H', W') (Jaderberg 2015).

    Volumes (N, C, D, H, W) take a grid (N, D', H', W', 3).

    Args:
        grid: (x, y) or (x, y, z) for each place of the result, from -1, the left edge, to 1, the right one.
        mode: "bilinear" (of volumes trilinear), "nearest", or "bicubic" (of images).
        padding_mode: what lies outside: "zeros", the "border", or the "reflection" at the edge.
        align_corners: -1 and 1 are the middle of the first and the last pixel, not their edges.

    Raises:
        ValueError: shapes that do not belong together, or a mode that is not known.
    """
    many = len(x.shape) - 2
    modes = ("bilinear", "nearest", "bicubic")[: 5 - many]
    if many not in (2, 3) or len(grid.shape) != many + 2 or (grid.shape[0], grid.shape[-1]) != (x.shape[0], many):
        raise ValueError(
            "grid_sample: x (N, C, H, W) and a grid (N, H', W', 2), or (N, C, D, H, W) and (N, D', H', W', 3), are "
            f"needed, these have {tuple(x.shape)} and {tuple(grid.shape)}"
        )
    if mode not in modes:
        raise ValueError(f"grid_sample: mode={mode!r} is not known here: type one of {', '.join(map(repr, modes))}")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            f"grid_sample: padding_mode={padding_mode!r} is not known: type 'zeros', 'border' or 'reflection'"
        )
    if min(x.shape[2:]) < 1:
        raise ValueError(f"grid_sample: there is nothing to sample in x {tuple(x.shape)}")
    _check_flags("grid_sample", align_corners=align_corners)
    align = bool(align_corners)
    places = []  # along each axis, in the order of x's
    for axis, n in enumerate(x.shape[2:]):
        place = grid[..., many - 1 - axis]
        place = (place + 1) * ((n - 1) / 2) if align else ((place + 1) * n - 1) / 2
        places.append(place if mode == "bicubic" else _bounded(place, n, padding_mode, align))
    return _sampled(x, places, mode, padding_mode, align)


def _bounded(place, n, padding_mode, align):
    """The places that lie outside, moved inside by the border or by reflection; gradients as torch's."""
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        low, span = (0.0, n - 1.0) if align else (-0.5, float(n))
        here = as_array(place)
        xp = backend.of(here).xp
        turns = xp.floor((here - low) / span) if span else here * 0
        odd = turns % 2 == 1
        slope = xp.where(odd, -1.0, 1.0) * bool(span)
        shift = xp.where(odd, 2 * low + (turns + 1) * span, -turns * span) if span else 0 * here + low
        slope, shift = slope.astype(here.dtype), shift.astype(here.dtype)
        place = place * slope + shift
    return ops.where(place <= 0, 0, ops.where(place >= n - 1, n - 1, place))


def _sampled(x, places, mode, padding_mode, align):
    """The sum over the entries of x near each place, times their weights."""
    N, C, *size = x.shape
    xp, shape = backend.of(as_array(x)).xp, tuple(places[0].shape[1:])
    taps = []  # along each axis: (the index of an entry, its weight), one for each entry near by
    for place in places:
        here = as_array(place)
        if mode == "nearest":
            taps.append([(xp.rint(here), None)])
            continue
        first = xp.floor(here)
        t = place - first
        weights = _cubic(t) if mode == "bicubic" else (1 - t, t)
        taps.append([(first + k, w) for k, w in enumerate(weights, -1 if mode == "bicubic" else 0)])
    flat, total = ops.reshape(x, (N, C, math.prod(size))), None
    for near in product(*taps):
        ids: Any = 0
        inside: Any = True
        weight = None
        for (index, w), n in zip(near, size, strict=True):
            if mode == "bicubic":
                index = as_array(_bounded(index, n, padding_mode, align))
            inside = (index >= 0) & (index <= n - 1) & inside
            ids = ids * n + xp.where(index == index, index, 0).clip(0, n - 1).astype("int64")
            weight = w if weight is None or w is None else weight * w
        ids = ids.reshape(N, 1, math.prod(shape))
        ids = xp.ascontiguousarray(xp.broadcast_to(ids, (N, C, math.prod(shape))))
        seen = ops.reshape(ops.gather(flat, 2, ids), (N, C, *shape))
        part = seen if weight is None else seen * ops.expand_dims(weight, 1)
        part = ops.where(inside[:, None], part, 0)
        total = part if total is None else total + part
    return total


@builtin(in_float32="halves and integers", autocast="float32")
def affine_grid(theta: Any, size: Sequence[int], align_corners: bool | None = None) -> Any:
    """The grid that lets `grid_sample` turn, scale and move images by theta (N, 2, 3): (N, H, W, 2).

    Args:
        theta: for each image a matrix that maps (x, y, 1) of the result to (x, y) of the input; of volumes (N, 3, 4).
        size: of the result, (N, C, H, W) or (N, C, D, H, W).
        align_corners: as in `grid_sample`.

    Raises:
        ValueError: theta and size do not belong together.
    """
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"affine_grid: size is that of the result, (N, C, H, W) or (N, C, D, H, W), not {size!r:.60}")
    _check_flags("affine_grid", align_corners=align_corners)
    theta, many = shaped(theta, "affine_grid"), len(size) - 2
    if many not in (2, 3) or tuple(theta.shape) != (size[0], many, many + 1):
        raise ValueError(
            "affine_grid: theta (N, 2, 3) and a size (N, C, H, W), or theta (N, 3, 4) and a size (N, C, D, H, W), are "
            f"needed, these are {tuple(theta.shape)} and {tuple(size)}"
        )
    lines = [np.linspace(-1, 1, n) * (1 if align_corners else (n - 1) / n) if n > 1 else np.zeros(n) for n in size[2:]]
    places = np.meshgrid(*lines, indexing="ij")[::-1]
    base = np.stack([*places, np.ones_like(places[0])], -1)  # (H, W, 3)
    base = backend.of(as_array(theta)).xp.asarray(base, dtype=theta.dtype)
    grid = ops.matmul(base.reshape(-1, many + 1), ops.swapaxes(theta, 1, 2))
    return ops.reshape(grid, (size[0], *size[2:], many))
