"""What models that read from left to right share: where tokens stand, what each may see, and which one sums up a text."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..nn import KVCache
from ..tensor import Tensor
from .inputs import host_array, padding_mask, token_ids


class Reading(NamedTuple):
    """What is read in one pass, and what every layer is told about it."""
    ids: np.ndarray                             # (B, T)
    positions: np.ndarray                       # (B, T), or (1, T) if they are the same for all texts
    mask: np.ndarray | None                     # True where a token may be seen, broadcastable to (B, 1, T, S); None: all may
    is_causal: bool                             # besides, token t sees tokens 0 … t only
    caches: Sequence[KVCache | None]            # one for each layer

    @classmethod
    def of(cls, input_ids: Any, attention_mask: Any, position_ids: Any, past: Sequence[KVCache] | None, layers: int,
           longest: int) -> Reading:
        """From what users pass to `forward`; the ids continue what the caches hold, S tokens with them.

        Args:
            input_ids: (B, T).   attention_mask: (B, S), 1 for a token and 0 for padding.
            position_ids: (B, T); by default they count on from what the caches hold, paddings included.

        Raises:
            ValueError: a shape is wrong, or there are more than `longest` tokens.
        """
        ids = token_ids(input_ids, longest)
        (B, T), before = ids.shape, past[0].length if past else 0
        mask = padding_mask(attention_mask, (B, before + T))
        if before and T > 1:                    # several tokens after others: the triangle does not start in the corner
            allowed = np.tri(T, before + T, before, dtype=bool)
            mask = allowed if mask is None else mask & allowed
        positions = np.arange(before, before + T)[None] if position_ids is None else host_array(position_ids)
        return cls(ids, positions, mask, T > 1 and not before, past or [None] * layers)


def last_token(vectors: Tensor, ids: np.ndarray, pad_token_id: int | None) -> Tensor:
    """The vector (B, D) of the last token of each text that is no padding, of vectors (B, T, D).

    Raises:
        ValueError: a batch of several texts, and no padding token to tell where they end.
    """
    if pad_token_id is None and len(ids) > 1:
        raise ValueError("without a pad_token_id in the configuration nothing tells where the texts of a batch end: load the "
                         "model with pad_token_id=tokenizer.pad_token_id")
    last = (np.arange(ids.shape[1]) * (ids != pad_token_id)).argmax(1) if pad_token_id is not None else [ids.shape[1] - 1]
    return vectors[np.arange(len(ids)), np.asarray(last)]
