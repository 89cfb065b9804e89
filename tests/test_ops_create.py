"""Creation: shapes, dtypes, and float32 unless told otherwise."""
import numpy as np
import pytest

import minigrad as mg
from minigrad.tensor import Tensor


@pytest.mark.parametrize(("made", "expected"), [
    (mg.zeros(2), np.zeros(2, "f4")), (mg.ones((2, 3)), np.ones((2, 3), "f4")), (mg.full((), 7), np.array(7, "f4")),
    (mg.full(2, 7, "int64"), np.array([7, 7])), (mg.zeros((0, 2), "float64"), np.zeros((0, 2))),
    (mg.eye(2), np.eye(2, dtype="f4")),
    (mg.arange(3), np.arange(3)), (mg.arange(1, 7, 2), np.array([1, 3, 5])),
    (mg.arange(0, 1, 0.25), np.array([0, 0.25, 0.5, 0.75], "f4")),
    (mg.arange(3.0), np.arange(3, dtype="f4")), (mg.arange(2, dtype="float64"), np.arange(2.0)),
    (mg.full_like(Tensor([1.0, 2.0]), 5), np.full(2, 5, "f4")), (mg.zeros_like(Tensor([1, 2])), np.zeros(2, int)),
    (mg.ones_like(Tensor(np.ones(2, "f2"))), np.ones(2, "f2")),
])
def test_creation(made, expected):
    assert isinstance(made, Tensor) and made.device == "cpu" and not made.requires_grad
    assert made.dtype == expected.dtype
    np.testing.assert_array_equal(made.numpy(), expected)


def test_like_an_array_is_an_array():
    assert type(mg.ones_like(np.zeros(2))) is type(mg.full_like(np.zeros(2), 3)) is np.ndarray


@pytest.mark.parametrize("make", [mg.zeros, mg.ones, lambda *a, **k: mg.full(*a, 1.5, **k)])
def test_what_is_created_may_want_a_gradient(make):
    x = make((2, 2), requires_grad=True)
    mg.sum(x * 2).backward()
    assert x.grad.tolist() == [[2, 2], [2, 2]]


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device 'tpu' is not known"):
        mg.zeros(2, device="tpu")
