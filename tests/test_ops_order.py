"""Sorting and its kin: ties, zeros and refusals.  (Values and gradients: the catalogue.)"""

import numpy as np
import pytest

import minigrad as mg
from minigrad.tensor import Tensor

x = np.array([[3.0, 1, 3, 2], [0, 0, -1, 5]])


@pytest.mark.parametrize("descending", [False, True])
def test_ties_keep_their_order(descending):
    values, ids = mg.sort(Tensor(x), 1, descending)
    assert ids.tolist() == ([[0, 2, 3, 1], [3, 0, 1, 2]] if descending else [[1, 3, 0, 2], [2, 0, 1, 3]])
    np.testing.assert_array_equal(values.numpy(), np.take_along_axis(x, ids.numpy(), 1))


def test_a_gradient_goes_back_to_where_its_entry_came_from():
    leaf = Tensor(x, requires_grad=True)
    (mg.topk(leaf, 2, 1)[0] * np.array([10.0, 1])).sum().backward()
    assert leaf.grad.tolist() == [[10, 0, 1, 0], [1, 0, 0, 10]]


@pytest.mark.parametrize("k", [-1, 5])
def test_topk_of_too_many(k):
    with pytest.raises(ValueError, match=f"topk: k={k} of axis 1, which is 4 long"):
        mg.topk(x, k, 1)


def test_cumsum_keeps_its_dtype():
    assert mg.cumsum(x.astype("f4"), 1).dtype == mg.cumsum(x.astype("f2"), 0).astype("f4").dtype == np.float32


def test_values_and_indices_have_torchs_names():
    x = mg.tensor([[3.0, 1, 2], [5, 6, 4]])
    for found in (mg.sort(x), x.sort(0), x.topk(2), x.kthvalue(2), x.mode(), x.cummax(1), x.cummin(1)):
        values, indices = found
        assert found.values is values and found.indices is indices and indices.dtype == np.int64
        assert type(found).__name__ == "Ordered"
    assert mg.tensor(2.0).topk(1).values.item() == 2
