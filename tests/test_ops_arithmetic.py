"""Arithmetic where it is delicate: ties, zeros, powers, scalars, conversions."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import minigrad as mg
from minigrad import ops
from minigrad.checking import gradcheck
from minigrad.tensor import Tensor, grad


def leaf(*values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


@given(
    mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3, min_side=0),
    st.sampled_from([ops.add, ops.multiply, ops.divide]),
)
def test_broadcasting_is_undone_whatever_the_shapes(shapes, op):
    a, b = (Tensor(1 + np.arange(np.prod(s), dtype=float).reshape(s), requires_grad=True) for s in shapes.input_shapes)
    y = op(a, b)
    assert y.shape == shapes.result_shape
    for x, g in zip((a, b), grad(mg.sum(y), (a, b)), strict=True):
        assert g.shape == x.shape
    copies = y.size / a.size if a.size else 0
    np.testing.assert_allclose(grad(mg.sum(a + b), a).numpy() if y.size else 0, copies)


@pytest.mark.parametrize("op", [mg.maximum, mg.minimum])
def test_a_tie_shares_the_gradient(op):
    a, b = leaf(1, 2, 2), leaf(2, 2, 1)
    larger = [0, 0.5, 1] if op is mg.maximum else [1, 0.5, 0]
    assert [g.tolist() for g in grad(mg.sum(op(a, b)), [a, b])] == [larger, larger[::-1]]


def test_abs_and_sign_at_zero():
    x = leaf(-2, 0, 3)
    assert grad(mg.sum(mg.abs(x)), x).tolist() == [-1, 0, 1]
    assert mg.sign(x).tolist() == [-1, 0, 1] and not mg.sign(x).requires_grad


@pytest.mark.parametrize(("exponent", "gradients"), [(0, [0, 0, 0]), (1, [1, 1, 1]), (2, [-4, 0, 6]), (3, [12, 0, 27])])
def test_powers_at_and_below_zero(exponent, gradients):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = leaf(-2, 0, 3)
        assert grad(mg.sum(x**exponent), x).tolist() == gradients
        assert grad(mg.sum(grad(x**exponent, x, np.ones(3), create_graph=True) + 0 * x), x).tolist() == [
            exponent * (exponent - 1) * v ** max(exponent - 2, 0) for v in (-2, 0, 3)
        ]
        e = Tensor(np.full(3, float(exponent)), requires_grad=True)
        assert grad(mg.sum(ops.power(x, e.detach())), x).tolist() == gradients
        ge = grad(mg.sum(ops.power(leaf(1, 0, 3), e)), e)
        assert ge.tolist() == [0, 0, pytest.approx(3.0**exponent * np.log(3))]


def test_a_number_or_numpy_scalar_as_the_base_or_the_exponent():
    x = Tensor(np.array([1, 2], np.float32), requires_grad=True)
    for y in (x**2, x ** np.float64(2), np.float64(2) ** x, 2**x, x ** Tensor([2.0, 2.0])):
        assert y.dtype == np.float32 and y.requires_grad
    assert (2**x).tolist() == [2, 4] and (x**-1).tolist() == [1, 0.5]


def test_where_keeps_what_was_not_chosen_out_of_the_gradient():
    x = leaf(0, 4)
    with np.errstate(all="ignore"):
        y = mg.where(x > 0, 1 / mg.where(x > 0, x, 1), 0)
    assert grad(mg.sum(y), x).tolist() == [0, -1 / 16]
    gradcheck(lambda a, b: mg.where(np.array([True, False]), a, b), [np.ones(2), np.ones((3, 1))], order=2)
    assert mg.where(Tensor([True, False]), 1.0, 2.0).dtype == np.float32


def test_astype_brings_the_gradient_back_in_its_own_dtype():
    x = Tensor(np.ones(2, np.float16), requires_grad=True)
    y = x.astype("float64")
    assert y.dtype == np.float64 and grad(mg.sum(y * y), x).dtype == np.float16
    assert not x.astype("int64").requires_grad or grad(mg.sum(x.astype("int64") * 1.0), x).dtype == np.float16
    assert mg.astype(Tensor([1.7, -1.7]), int).tolist() == [1, -1]


def test_comparing_has_no_gradient_and_works_across_types():
    x = leaf(1, 2)
    for y in (x == 1, x != np.array([1, 2]), 1 < x, x >= Tensor([1, 2]), ops.less_equal(x.data, 1)):
        assert y.dtype == bool and not getattr(y, "requires_grad", False)


def test_to_the_same_device():
    x = leaf(1, 2)
    assert ops.to_device(x, "cpu").tolist() == [1, 2] and grad(mg.sum(ops.to_device(x, "cpu") * 2), x).tolist() == [
        2,
        2,
    ]
