"""Rolled, turned, repeated and unfolded: NumPy's answers, for arguments as NumPy and torch users write them."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

X = np.arange(24.0).reshape(2, 3, 4)
T = Tensor(X)


def same(y, expected):
    assert y.shape == np.shape(expected)
    np.testing.assert_array_equal(y.numpy(), expected)


@pytest.mark.parametrize(("shifts", "axis"), [(5, None), (-1, 0), (2, -1), ((1, 7), (0, 1)), (0, 1), ((1, 1), (2, 2))])
def test_roll(shifts, axis):
    same(mg.roll(T, shifts, axis), np.roll(X, shifts, axis))
    if axis is not None:
        same(mg.roll(T, shifts, dims=axis), np.roll(X, shifts, axis))


@pytest.mark.parametrize("k", range(-2, 6))
@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (2, 0)])
def test_rot90(k, axes):
    same(mg.rot90(T, k, axes), np.rot90(X, k, axes))
    same(mg.rot90(T, k, dims=axes), np.rot90(X, k, axes))


@pytest.mark.parametrize(("source", "destination"), [(0, 2), (-1, 0), ((0, 1), (1, 0)), ([2, 0], [0, 1])])
def test_moveaxis(source, destination):
    same(mg.moveaxis(T, source, destination), np.moveaxis(X, source, destination))
    assert mg.movedim is mg.moveaxis


@pytest.mark.parametrize(
    ("repeats", "axis"), [(2, None), (0, 1), ([1, 0, 2], 1), (np.array([2, 1]), 0), (Tensor([3]), 2)]
)
def test_repeat(repeats, axis):
    counts = repeats.numpy() if isinstance(repeats, Tensor) else repeats
    same(mg.repeat(T, repeats, axis), np.repeat(X, counts, axis))
    with pytest.raises(ValueError, match="repeat: repeats is a whole number"):
        mg.repeat(T, [1, 2], 1)


def test_meshgrid_is_told_which_order():
    a, b = np.arange(2.0), np.arange(3.0)
    for indexing in ("ij", "xy"):
        for found, right in zip(
            mg.meshgrid(Tensor(a), Tensor(b), indexing=indexing), np.meshgrid(a, b, indexing=indexing)
        ):
            same(found, right)
    with pytest.raises(TypeError, match="indexing"):
        mg.meshgrid(Tensor(a), Tensor(b))
    with pytest.raises(ValueError, match='"ij" or "xy"'):
        mg.meshgrid(Tensor(a), indexing="yx")


def test_unflatten_and_flatten_of_some_axes():
    same(mg.unflatten(T, 2, (2, -1)), X.reshape(2, 3, 2, 2))
    same(mg.flatten(T, 0, 1), X.reshape(6, 4))
    same(mg.flatten(T, start_dim=1, end_dim=2), X.reshape(2, 12))
    with pytest.raises(ValueError, match="unflatten"):
        mg.unflatten(T, 2, (3, -1))
    with pytest.raises(ValueError, match="start_axis=2 lies behind end_axis=1"):
        mg.flatten(T, 2, 1)


def test_combinations_and_cartesian_products():
    same(mg.combinations(Tensor([1.0, 2.0, 3.0])), [[1, 2], [1, 3], [2, 3]])
    same(mg.combinations(Tensor([1.0, 2.0]), 2, True), [[1, 1], [1, 2], [2, 2]])
    same(mg.cartesian_prod(Tensor([1.0, 2.0]), Tensor([3.0])), [[1, 3], [2, 3]])


def test_unfold_gives_overlapping_windows_their_gradients():
    x = Tensor(np.arange(5.0), True)
    y = mg.unfold(x, 0, 3, 1)
    same(y, [[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    same(mg.grad(y.sum(), x), [1, 2, 3, 2, 1])


def test_shapes_that_do_not_broadcast():
    assert mg.broadcast_shapes((2, 1), (3,)) == (2, 3)
    with pytest.raises(ValueError, match="broadcast_shapes: .* do not broadcast"):
        mg.broadcast_shapes((2,), (3,))
    a, b = mg.broadcast_arrays(Tensor(np.ones((2, 1))), Tensor(np.ones(3)))
    assert a.shape == b.shape == (2, 3)


@pytest.mark.parametrize("call", [lambda: mg.combinations([1, 2], with_replacement="False")])
def test_text_is_neither_true_nor_false(call):
    with pytest.raises(TypeError, match="is True or False, not 'False'"):
        call()
