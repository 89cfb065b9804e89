"""What decoders share: who may see whom, where tokens stand, and which is the last of a text."""

import numpy as np
import pytest

from minigrad.nn import KVCache
from minigrad.pretrained.decoder import Reading, last_token
from minigrad.tensor import Tensor

IDS = np.arange(6).reshape(2, 3)


def cache(length):
    found = KVCache(9)
    found.length = length
    return [found]


def seen(reading, total):
    """The mask (B, T, S) that the two parts of a reading make together."""
    T = reading.ids.shape[1]
    allowed = (
        np.ones((2, 1, T, total), bool) if reading.mask is None else np.broadcast_to(reading.mask, (2, 1, T, total))
    )
    return (allowed & np.tri(T, total, dtype=bool) if reading.is_causal else allowed)[:, 0]


@pytest.mark.parametrize("before", [0, 1, 4])
@pytest.mark.parametrize("T", [1, 3])
@pytest.mark.parametrize("padded", [False, True])
def test_a_token_sees_what_is_before_it_and_no_padding(before, T, padded):
    mask = np.ones((2, before + T), int)
    if padded:
        mask[1, 0] = 0
    reading = Reading.of(IDS[:, :T], mask, None, cache(before) if before else None, 1, 9)
    for b in range(2):
        for t in range(T):
            expected = [bool(s <= before + t and mask[b, s]) for s in range(before + T)]
            assert seen(reading, before + T)[b, t].tolist() == expected
    np.testing.assert_array_equal(reading.positions, np.arange(before, before + T)[None])


def test_positions_may_be_given():
    assert Reading.of(IDS, None, [[4, 5, 6]], None, 2, 9).positions.tolist() == [[4, 5, 6]]
    assert Reading.of(IDS, None, None, None, 2, 9).caches == [None, None]


@pytest.mark.parametrize(
    ("mask", "past", "longest", "told"),
    [
        (np.ones((2, 2)), None, 9, "attention_mask has shape"),
        (np.ones((2, 3)), cache(4), 9, "attention_mask has shape"),
        (None, None, 2, "reads at most 2"),
    ],
)
def test_what_does_not_fit(mask, past, longest, told):
    with pytest.raises(ValueError, match=told):
        Reading.of(IDS, mask, None, past, 1, longest)


def test_the_last_token_that_is_no_padding():
    vectors = Tensor(np.arange(12.0).reshape(2, 3, 2))
    assert last_token(vectors, np.array([[5, 0, 0], [0, 5, 6]]), 0).tolist() == [[0, 1], [10, 11]]
    assert last_token(vectors[:1], np.array([[5, 0, 0]]), None).tolist() == [[4, 5]]
    with pytest.raises(ValueError, match="where the texts of a batch end"):
        last_token(vectors, IDS, None)
