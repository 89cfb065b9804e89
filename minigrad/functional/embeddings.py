"""Ids as rows of a table: one-hot vectors, and sums of rows over bags of ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, ops
from ..backend import is_float
from ..builtin import builtin
from ..ops.index import add_at, padding_row
from ..ops.shape import check_flags, whole_number
from ..tensor import Tensor, as_array, shaped


def one_hot(input: Any, num_classes: int = -1) -> Any:
    """A vector of zeros with a one at its place for each of the ids `input`: (…) to (…, num_classes), whole numbers.

    Args:
        num_classes: how many classes there are; -1: as many as the largest id needs.

    Raises:
        IndexError: an id is negative, or too large.
        TypeError: the ids are not whole numbers.
    """
    array = as_array(shaped(input, "one_hot"))
    xp, num_classes = backend.of(array).xp, whole_number("one_hot", "num_classes", num_classes, -1)
    if num_classes == -1:
        if not array.size:
            raise ValueError("one_hot: of no ids the number of classes is not known: give num_classes")
        num_classes = int(array.max()) + 1
    ops.check_indices("one_hot", array, num_classes, f"{num_classes} classes", low=0)
    y = (array[..., None] == xp.arange(num_classes)).astype("int64")
    return Tensor(y) if isinstance(input, (Tensor, list, tuple)) else y


@builtin(in_float32="halves", autocast="float32")
def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    *,
    mode: str = "mean",
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """The sum, mean or maximum of the rows of `weight` in each bag of ids, without keeping the rows: (B, size).

    Args:
        input: (B, n) ids, n in each bag; or (N,) ids, cut into bags by `offsets`.
        weight: (count, size).
        offsets: (B,) where each bag begins in a vector of ids, the first one at 0; a bag without ids gives zeros.
        mode: "sum", "mean" or "max".
        per_sample_weights: of the shape of `input`, multiplies each row; for "sum" only.
        include_last_offset: `offsets` has one more entry, where the last bag ends.
        padding_idx: ids that count for nothing.

    Raises:
        IndexError: an id, or padding_idx, is out of range.
        ValueError: shapes or options that do not belong together.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode={mode!r} is not known: type 'sum', 'mean' or 'max'")
    check_flags("embedding_bag", include_last_offset=include_last_offset)
    ids, weight = as_array(shaped(input, "embedding_bag")), shaped(weight, "embedding_bag")
    weight = weight if is_float(weight.dtype) else ops.astype(weight, "float32")
    if per_sample_weights is not None and mode != "sum":
        raise ValueError(f'embedding_bag: per_sample_weights are for mode="sum", not for {mode!r}')
    if per_sample_weights is not None:
        per_sample_weights = shaped(per_sample_weights, "embedding_bag")
        if tuple(per_sample_weights.shape) != ids.shape:
            raise ValueError(
                f"embedding_bag: per_sample_weights have shape {tuple(per_sample_weights.shape)}, the ids {ids.shape}"
            )
    if len(weight.shape) != 2 or ids.ndim not in (1, 2) or (offsets is None) != (ids.ndim == 2):
        raise ValueError(
            "embedding_bag: ids (B, n), or (N,) with offsets (B,), and a weight (count, size) are needed, these have "
            f"{ids.shape} and {tuple(weight.shape)}, the offsets {None if offsets is None else np.shape(offsets)}"
        )
    if padding_idx is not None:
        padding_idx = padding_row("embedding_bag", padding_idx, weight.shape[0])
    if offsets is None:
        bags, count = np.repeat(np.arange(ids.shape[0]), ids.shape[1]), ids.shape[0]
    else:
        offsets = as_array(shaped(offsets, "embedding_bag"))
        bags = _bags(backend.of(offsets).to_numpy(offsets), len(ids), include_last_offset)
        count = len(offsets) - include_last_offset
    return _summed(weight, ids.reshape(-1), bags, count, mode, per_sample_weights, padding_idx)


def _bags(offsets, total, include_last):
    """Which bag each id belongs to."""
    ends = np.append(offsets, total) if not include_last else offsets
    if offsets.ndim != 1 or not len(offsets) or offsets.dtype.kind not in "iu" or ends[0] or (np.diff(ends) < 0).any():
        raise ValueError(
            f"embedding_bag: offsets are where the bags begin among {total} ids, whole numbers from 0 up, not {offsets}"
        )
    return np.repeat(np.arange(len(ends)), np.diff(np.append(ends, total)))  # (what follows the last end has no bag)


def _summed(weight, ids, bags, count, mode, per_sample, padding_idx):
    """The rows of each bag, reduced.  Which ids are padding is not looked at on the host, which would wait for it."""
    xp, n = backend.of(as_array(weight)).xp, int(np.searchsorted(bags, count))  # (what follows the last end has no bag)
    ids, bags = ids[:n], bags[:n]
    rows = ops.embedding(ids, weight)
    if per_sample is not None:
        rows = rows * ops.reshape(per_sample, (-1, 1))[:n]
    kept = xp.ones(n, bool) if padding_idx is None else xp.asarray(ids != padding_idx)
    if mode == "max":
        return _largest(rows, bags, kept, count)
    rows = rows if padding_idx is None else ops.where(kept[:, None], rows, 0)
    at = xp.asarray(np.broadcast_to(bags[:, None], (n, weight.shape[1])))
    total = ops.scatter_add(xp.zeros((count, weight.shape[1]), as_array(weight).dtype), 0, at, rows)
    if mode == "sum":
        return total
    sizes = add_at(kept.astype("int64"), (count,), xp.asarray(bags))
    return total / xp.maximum(sizes, 1)[:, None].astype(as_array(weight).dtype)


def _largest(rows, bags, kept, count):
    """The largest entry of each bag; the bags, side by side, are filled up with -inf."""
    xp, sizes = backend.of(as_array(rows)).xp, np.bincount(bags, minlength=count)
    if not len(bags):
        return xp.zeros((count, rows.shape[1]), as_array(rows).dtype) * ops.sum(rows)
    places = np.arange(len(bags)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    table = np.zeros((count, sizes.max()), np.int64)
    table[bags, places] = np.arange(len(bags))
    real, table = xp.asarray(np.arange(sizes.max()) < sizes[:, None]), xp.asarray(table)
    real = real & kept[table]
    side_by_side = ops.where(real[..., None], rows[table], -np.inf)
    first = as_array(side_by_side).argmax(1)  # of equal ones the first takes the gradient
    largest = ops.gather(side_by_side, 1, first[:, None])[:, 0]
    return ops.where(real.any(1)[:, None], largest, 0)
