"""Diagonals: NumPy's, of any pair of axes and with any offset, and back into matrices."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

X = np.arange(60.0).reshape(3, 4, 5)


@pytest.mark.parametrize("offset", [-4, -3, -1, 0, 2, 4, 6])
@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (-1, 0), (1, 2)])
def test_diagonal(offset, axes):
    y = mg.diagonal(Tensor(X), offset, *axes)
    np.testing.assert_array_equal(y.numpy(), np.diagonal(X, offset, *axes))
    np.testing.assert_array_equal(mg.diagonal(Tensor(X), offset, dim1=axes[0], dim2=axes[1]).numpy(), y.numpy())
    np.testing.assert_allclose(mg.trace(Tensor(X), offset, *axes).numpy(), np.trace(X, offset, *axes))


@pytest.mark.parametrize("offset", [-2, 0, 3])
def test_diag_there_and_back(offset):
    x = Tensor(np.arange(1.0, 4))
    y = mg.diag(x, offset)
    np.testing.assert_array_equal(y.numpy(), np.diag(x.numpy(), offset))
    np.testing.assert_array_equal(mg.diag(y, offset).numpy(), x.numpy())
    stack = mg.diag_embed(Tensor(X), offset, 0, -1)
    np.testing.assert_array_equal(mg.diagonal(stack, offset, 0, -1).numpy(), X)
    assert mg.diag(Tensor([True, True])).dtype == bool


def test_refusals():
    with pytest.raises(ValueError, match="diagonal: axis1=1 and axis2=-2 are one axis"):
        mg.diagonal(Tensor(X), 0, 1, -2)
    with pytest.raises(ValueError, match="diag: a vector or a matrix"):
        mg.diag(Tensor(X))
    with pytest.raises(TypeError, match="offset"):
        mg.diagonal(Tensor(X), 0.5)


@pytest.mark.parametrize("offset", [-2, 0, 1])
def test_indices_of_triangles(offset):
    for ours, theirs in ((mg.tril_indices, np.tril_indices), (mg.triu_indices, np.triu_indices)):
        for found, right in zip(ours(3, m=4, offset=offset), theirs(3, offset, 4)):
            np.testing.assert_array_equal(found.numpy(), right)
    assert mg.ones((3, 4))[mg.tril_indices(3, m=4, offset=offset)].shape == (len(np.tril_indices(3, offset, 4)[0]),)
    assert len(mg.triu_indices(3)[0]) == 6
    with pytest.raises(TypeError, match=r"type m=1 or offset=1"):
        mg.triu_indices(3, 1)
