"""Dropout: in training, a random part of the entries is set to zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..ops.shape import check_flags


def dropout(x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | int | None = None) -> Any:
    """In training, each entry is 0 with probability p and otherwise divided by 1 - p (Srivastava et al. 2014)."""
    check_flags("dropout", training=training)
    keep = ops.keep_mask(x, x.shape, p, rng) if training else None
    return x if keep is None else ops.dropout(x, keep, p)
