"""Trees: what is a leaf and what is not, and that they come together again."""

from collections import namedtuple

import numpy as np
import pytest

from minigrad import Tensor
from minigrad.pytree import flatten

Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("tree", "count"),
    [
        (Tensor([1.0]), 1),
        (3.0, 1),
        ([1.0, [2.0, 3.0]], 1),
        ([Tensor([1.0]), 2.0], 2),
        ({"a": np.ones(2), "b": [np.ones(1), None]}, 2),
        (Pair(np.ones(1), {"c": (Tensor(1.0),)}), 2),
        ([], 0),
        (None, 0),
    ],
)
def test_leaves_and_back(tree, count):
    leaves, rebuild = flatten(tree)
    assert len(leaves) == count
    again = rebuild(leaves)
    assert type(again) is type(tree) and repr(again) == repr(tree)
    with pytest.raises(ValueError, match=f"a tree of {count} leaves"):
        rebuild([*leaves, 0])
