"""Pieces, and what is put together of pieces."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

X = np.arange(24.0).reshape(2, 3, 4)
T = Tensor(X)


def all_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a.numpy(), b)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_chunk_gives_equal_pieces_but_the_last(n):
    sizes = [piece.shape[2] for piece in mg.chunk(T, n, dim=2)]
    assert sum(sizes) == 4 and len(sizes) <= n and len(set(sizes[:-1])) <= 1


@pytest.mark.parametrize("cuts", [1, 2, 3, [1], [1, 3], [0, 2, 9]])
def test_tensor_split_is_numpys_array_split(cuts):
    all_same(mg.tensor_split(T, cuts, 2), np.array_split(X, cuts, 2))


def test_hsplit_vsplit_dsplit():
    all_same(mg.hsplit(T, 3), np.hsplit(X, 3))
    all_same(mg.vsplit(T, [1]), np.vsplit(X, [1]))
    all_same(mg.dsplit(T, 2), np.dsplit(X, 2))
    all_same(mg.unbind(T, 1), list(X.swapaxes(0, 1)))
    with pytest.raises(ValueError, match="hsplit: axis 1 .* cannot be cut into 2 equal pieces"):
        mg.hsplit(T, 2)
    with pytest.raises(ValueError, match="dsplit: at least 3 axes"):
        mg.dsplit(Tensor([1.0, 2.0]), 2)


@pytest.mark.parametrize("name", ["hstack", "vstack", "dstack", "column_stack"])
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_stacks(name, shape):
    xs = [np.full(shape, i, float) for i in range(3)]
    np.testing.assert_array_equal(getattr(mg, name)(list(map(Tensor, xs))).numpy(), getattr(np, name)(xs))
    with pytest.raises(ValueError, match=name):
        getattr(mg, name)([])


@pytest.mark.parametrize("name", ["atleast_1d", "atleast_2d", "atleast_3d"])
@pytest.mark.parametrize("shape", [(), (2,), (2, 3), (2, 3, 4)])
def test_at_least_so_many_axes(name, shape):
    x = np.ones(shape)
    assert getattr(mg, name)(Tensor(x)).shape == getattr(np, name)(x).shape
    assert isinstance(getattr(mg, name)(Tensor(x), 1.0), tuple)
