"""Hypothesis strategies for people who test gradients: arrays, shapes that broadcast, indices, dtypes.

They need the extra: pip install "minigrad-learn[testing]".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    raise ImportError('minigrad.checking.strategies needs Hypothesis: pip install "minigrad-learn[testing]"') from error


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of arrays; min_side=0 allows arrays without entries."""
    return (
        hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)
        if min_dims
        else st.lists(st.integers(min_side, max_side), max_size=max_dims).map(tuple)
    )


def broadcastable(
    many: int = 2, max_dims: int = 3, max_side: int = 4
) -> st.SearchStrategy[tuple[tuple[int, ...], ...]]:
    """`many` shapes that NumPy broadcasts with each other."""
    found = hnp.mutually_broadcastable_shapes(num_shapes=many, max_dims=max_dims, max_side=max_side)
    return found.map(lambda shapes: shapes.input_shapes)


def dtypes(floating_only: bool = False) -> st.SearchStrategy[np.dtype]:
    """Dtypes that a Tensor may have: float16, float32, float64, and unless `floating_only` bool, int32, int64."""
    names = ["float64", "float32", "float16"] + ([] if floating_only else ["int64", "int32", "bool"])
    return st.sampled_from(names).map(np.dtype)


@st.composite
def arrays(
    draw: Any,
    shape: Any = None,
    dtype: Any = "float64",
    low: float = -3.0,
    high: float = 3.0,
    away_from: Sequence[float] = (),
    distinct: bool = False,
) -> np.ndarray:
    """Arrays of well-conditioned floats: multiples of 1/64 between low and high, exact in every floating dtype.

    Args:
        shape: a tuple, or a strategy for one; any of `shapes()` by default.
        dtype: a floating dtype, or a strategy for one.
        away_from: kinks from which entries keep a distance of 1/8; (0,) for relu and abs.
        distinct: no two entries are equal, for max, sort and other functions with a kink at a tie.

    Raises:
        ValueError: the dtype is not floating, or the range holds too few numbers to draw from.
    """
    shape, dtype = _one(draw, shapes() if shape is None else shape), np.dtype(_one(draw, dtype))
    if dtype.kind != "f":
        raise ValueError(f"arrays: dtype {dtype} is not floating: for whole numbers use indices()")
    grid = np.arange(int(np.ceil(low * 64)), int(high * 64) + 1) / 64
    for kink in away_from:
        grid = grid[abs(grid - kink) >= 1 / 8]
    size = int(np.prod(shape))
    if len(grid) < (size if distinct else 1):
        raise ValueError(
            f"arrays: {size} entries of shape {shape} cannot be drawn from the {len(grid)} numbers between {low} and "
            f"{high} away from {tuple(away_from)}: widen the range"
        )
    grid = grid[np.argsort(abs(grid), kind="stable")]  # examples shrink towards the first numbers, the simplest
    places = draw(st.lists(st.integers(0, len(grid) - 1), min_size=size, max_size=size, unique=distinct))
    return grid[places].reshape(shape).astype(dtype)


@st.composite
def indices(draw: Any, size: int, shape: Any = None, negative: bool = True) -> np.ndarray:
    """Integer arrays that index an axis of `size` entries, often repeatedly; `negative` allows negative indices.

    Raises:
        ValueError: `size` is less than 1.
    """
    if size < 1:
        raise ValueError(f"indices: an axis of size {size} has nothing to index")
    shape = _one(draw, shapes(max_dims=2) if shape is None else shape)
    return draw(hnp.arrays(np.int64, shape, elements=st.integers(-size if negative else 0, size - 1)))


def _one(draw: Any, given: Any) -> Any:
    """`given` itself, or a value drawn from it if it is a strategy."""
    return draw(given) if isinstance(given, st.SearchStrategy) else given
