"""Masks, ids and searching: what is written where, what is refused, and who gets a gradient."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

X = np.arange(6.0).reshape(2, 3)


def test_masks_are_broadcast_and_are_of_booleans():
    x, mask = Tensor(X, True), Tensor(np.array([True, False, True]))
    y = mg.masked_fill(x, mask, -1)
    np.testing.assert_array_equal(y.numpy(), [[-1, 1, -1], [-1, 4, -1]])
    np.testing.assert_array_equal(mg.grad(y.sum(), x).numpy(), [[0, 1, 0], [0, 1, 0]])
    assert mg.masked_select(x, mask).tolist() == [0, 2, 3, 5]
    assert mg.masked_fill(Tensor([1, 2]), [True, False], 7).dtype == np.int64
    assert mg.masked_fill(Tensor([True, False]), [False, True], 1).dtype == bool
    with pytest.raises(TypeError, match="masked_fill: a mask is of booleans"):
        mg.masked_fill(x, Tensor([1, 0, 1]), 0)
    with pytest.raises(TypeError, match="cannot hold 0.5"):
        mg.masked_fill(Tensor([1, 2]), [True, False], 0.5)
    with pytest.raises(ValueError, match="single number"):
        mg.masked_fill(x, mask, [1.0, 2.0, 3.0])


def test_a_value_to_fill_with_has_a_gradient():
    value = Tensor(np.array(2.0), True)
    assert mg.grad(mg.masked_fill(Tensor(X), X > 2, value).sum(), value).item() == 3
    assert mg.grad(mg.index_fill(Tensor(X), 1, [0, 0], value).sum(), value).item() == 2


def test_ids_that_meet_add_up_and_ids_out_of_range_are_refused():
    x, src = Tensor(X, True), Tensor(np.ones((2, 3)), True)
    y = mg.index_add(x, 1, [2, 2, -1], src, alpha=2)
    np.testing.assert_array_equal(y.numpy(), X + np.array([0, 0, 6]))
    np.testing.assert_array_equal(mg.grad(y.sum(), src).numpy(), 2)
    y = mg.index_copy(x, 0, [1], [[7.0, 8, 9]])
    np.testing.assert_array_equal(y.numpy(), [[0, 1, 2], [7, 8, 9]])
    np.testing.assert_array_equal(mg.grad(y.sum(), x).numpy(), [[1, 1, 1], [0, 0, 0]])
    assert mg.index_select(x, dim=1, ids=[2, 0]).tolist() == [[2, 0], [5, 3]]
    for call in (
        lambda: mg.index_add(x, 1, [3], src[:, :1]),
        lambda: mg.index_fill(x, 0, [-3], 0.0),
        lambda: mg.index_copy(x, 1, [5], src[:, :1]),
        lambda: mg.index_select(x, 1, [3]),
        lambda: mg.take_along_axis(x, np.array([[3]]), 1),
    ):
        with pytest.raises(IndexError, match="out of range"):
            call()
    with pytest.raises(ValueError, match="index_add: src has shape"):
        mg.index_add(x, 1, [0], src)


def test_take_along_axis_broadcasts():
    ids = np.array([[2, 0]])
    np.testing.assert_array_equal(
        mg.take_along_axis(Tensor(X), ids, 1).numpy(), np.take_along_axis(X, np.repeat(ids, 2, 0), 1)
    )
    np.testing.assert_array_equal(mg.take_along_axis(Tensor(X), [5, 0], None).numpy(), [5, 0])
    assert mg.take_along_dim is mg.take_along_axis


def test_searching():
    line, values = np.array([1.0, 2, 2, 5]), np.array([[0.0, 2], [5, 9]])
    for right in (False, True):
        side = "right" if right else "left"
        expected = np.searchsorted(line, values, side)
        np.testing.assert_array_equal(mg.searchsorted(Tensor(line), Tensor(values), right=right).numpy(), expected)
        np.testing.assert_array_equal(mg.searchsorted(Tensor(line), Tensor(values), side=side).numpy(), expected)
        np.testing.assert_array_equal(mg.bucketize(Tensor(values), line, right=right).numpy(), expected)
        rows = mg.searchsorted(Tensor(np.stack([line, line + 1])), Tensor(values), right=right)
        np.testing.assert_array_equal(rows.numpy()[1], np.searchsorted(line + 1, values[1], side))
    with pytest.raises(ValueError, match="searchsorted: side="):
        mg.searchsorted(line, values, side="middle")


def test_counting():
    ids = Tensor([3, 1, 1])
    assert mg.bincount(ids).tolist() == [0, 2, 0, 1] and mg.bincount(ids, minlength=6).shape == (6,)
    weights = Tensor(np.array([0.5, 1, 2]), True)
    y = mg.bincount(ids, weights)
    assert y.tolist() == [0, 3, 0, 0.5]
    np.testing.assert_array_equal(mg.grad(y[1], weights).numpy(), [0, 1, 1])
    assert mg.bincount(Tensor(np.zeros(0, int))).tolist() == []
    with pytest.raises(ValueError, match="bincount: -1 is negative"):
        mg.bincount([1, -1])
    with pytest.raises(TypeError, match="bincount: a vector of whole numbers"):
        mg.bincount([1.0])


def test_unique_entries():
    x = Tensor(np.array([3, 1, 3, 2]))
    values, inverse, counts = mg.unique(x, return_inverse=True, return_counts=True)
    assert (values.tolist(), counts.tolist()) == ([1, 2, 3], [1, 1, 2])
    np.testing.assert_array_equal(values[inverse].numpy(), x.numpy())
    assert mg.unique(Tensor([[1, 2], [1, 2]]), dim=0).tolist() == [[1, 2]]
    with pytest.raises(TypeError, match=r"unique has no gradient: type mg.unique\(x.detach\(\)\)"):
        mg.unique(Tensor([1.0], True))
