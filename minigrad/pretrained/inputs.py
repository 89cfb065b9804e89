"""The inputs of models that read text, checked and converted for the layers, on the device they are on."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, ops
from ..backend import Array
from ..tensor import Tensor


def as_given(given: Any) -> Array:
    """A list, an array or a Tensor as an array; on a GPU, if it is there."""
    given = given.data if isinstance(given, Tensor) else given
    return given if hasattr(given, "dtype") else np.asarray(given)


def host_array(given: Any) -> np.ndarray:
    """A list, an array or a Tensor, on whatever device, as a NumPy array."""
    return np.asarray(given.numpy() if isinstance(given, Tensor) else given)


def token_ids(ids: Any, longest: int | None = None, name: str = "input_ids") -> Array:
    """Token ids as (B, T) integers, T at most `longest`.

    Raises:
        ValueError: they have another shape, or are too long for the model.
        TypeError: they are not integers.
    """
    ids = as_given(ids)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        kind = TypeError if ids.ndim == 2 else ValueError
        raise kind(
            f"{name} must be integers of shape (batch, tokens), these are {ids.dtype} of shape {ids.shape}: "
            "a tokenizer called on a list of texts returns them so"
        )
    if longest is not None and ids.shape[1] > longest:
        raise ValueError(
            f"{name} are {ids.shape[1]} tokens long, but this model reads at most {longest}: "
            f"call the tokenizer with max_length={longest}"
        )
    return ids


def padding_mask(attention_mask: Any, shape: tuple[int, int]) -> Array | None:
    """(B, T) of ones and zeros as (B, 1, 1, T) booleans, True where there is a token; None if nothing is padded.

    (On a GPU a mask is always a mask: to see whether anything is padded would be to wait.)
    """
    if attention_mask is None:
        return None
    mask = as_given(attention_mask)
    if mask.shape != shape:
        raise ValueError(f"attention_mask has shape {mask.shape}, but input_ids {shape}: they must be the same")
    mask = ops.astype(mask, bool)
    return None if backend.of(mask).synchronous and mask.all() else ops.pick(mask, np.s_[:, None, None, :])
