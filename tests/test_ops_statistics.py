"""Quantiles of every kind, with and without NaN, and covariances: NumPy's answers."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

X = np.random.default_rng(0).standard_normal((3, 5))
HOLES = np.where(np.random.default_rng(1).random((4, 6)) < 0.4, np.nan, np.random.default_rng(2).random((4, 6)))


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "nearest", "midpoint"])
@pytest.mark.parametrize("q", [0.0, 0.3, 0.5, 1.0, [0.25, 0.8]])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_quantile_is_numpys(interpolation, q, axis):
    for keepdims in (False, True):
        y = mg.quantile(Tensor(X), q, axis, keepdims, interpolation=interpolation)
        expected = np.quantile(X, q, axis=axis, keepdims=keepdims, method=interpolation)
        np.testing.assert_allclose(y.numpy(), expected)
        found = mg.nanquantile(Tensor(HOLES), q, axis, keepdims, interpolation=interpolation)
        np.testing.assert_allclose(
            found.numpy(), np.nanquantile(HOLES, q, axis=axis, keepdims=keepdims, method=interpolation)
        )


def test_quantile_has_a_gradient_by_q_and_refuses_what_is_no_probability():
    q = Tensor(np.array([0.3, 0.6]), True)
    mg.gradcheck(lambda x, q: mg.quantile(x, q, 1), [X, np.array([0.3, 0.6])])
    assert mg.grad(mg.quantile(Tensor(X), q, 1).sum(), q).shape == (2,)
    for wrong in (1.5, -0.1, np.nan, [[0.5]]):
        with pytest.raises(ValueError, match="quantile: q is a number from 0 to 1"):
            mg.quantile(Tensor(X), wrong)
    with pytest.raises(ValueError, match="has no entries"):
        mg.quantile(mg.zeros((0, 2)), 0.5, 0)
    with pytest.raises(ValueError, match="interpolation"):
        mg.quantile(Tensor(X), 0.5, interpolation="cubic")


def test_the_median_is_the_mean_of_the_two_in_the_middle():
    assert mg.median(Tensor([4, 1, 3, 2])).item() == 2.5 and mg.median(Tensor([4.0, 1, 3])).item() == 3
    assert mg.quantile(Tensor([4.0, 1, 3, 2]), 0.5, interpolation="lower").item() == 2  # torch's
    assert np.isnan(mg.median(Tensor([1.0, np.nan, 2])).item())
    assert mg.nanmedian(Tensor([1.0, np.nan, 2])).item() == 1.5
    assert np.isnan(mg.nanmedian(Tensor([np.nan, np.nan])).item())
    np.testing.assert_allclose(mg.median(Tensor(X), dim=1, keepdim=True).numpy(), np.median(X, 1, keepdims=True))


def test_sums_and_means_without_nan():
    x = Tensor(HOLES, True)
    for axis in (None, 0, (0, 1)):
        np.testing.assert_allclose(mg.nansum(x, axis).numpy(), np.nansum(HOLES, axis))
        np.testing.assert_allclose(mg.nanmean(x, axis).numpy(), np.nanmean(HOLES, axis))
    np.testing.assert_array_equal(mg.grad(mg.nansum(x), x).numpy(), ~np.isnan(HOLES))


def test_the_kth_and_the_extremes():
    values, ids = mg.kthvalue(Tensor(X), 2, 1)
    np.testing.assert_array_equal(values.numpy(), np.sort(X, 1)[:, 1])
    np.testing.assert_array_equal(ids.numpy(), np.argsort(X, 1)[:, 1])
    low, high = mg.aminmax(Tensor(X), dim=0, keepdim=True)
    np.testing.assert_array_equal(low.numpy(), X.min(0, keepdims=True))
    np.testing.assert_array_equal(high.numpy(), X.max(0, keepdims=True))
    assert mg.argmin(Tensor(X), dim=1).tolist() == X.argmin(1).tolist()
    with pytest.raises(ValueError, match="kthvalue: k=6 of axis 1, which is 5 long"):
        mg.kthvalue(Tensor(X), 6, 1)


def test_covariances_with_weights():
    f, a = np.array([1, 2, 0, 3, 1]), np.array([0.5, 1, 2, 0.25, 1])
    for options in ({}, {"fweights": f}, {"aweights": a}, {"fweights": f, "aweights": a}):
        for correction in (0, 1):
            y = mg.cov(Tensor(X), correction=correction, **options)
            np.testing.assert_allclose(y.numpy(), np.cov(X, ddof=correction, **options), rtol=1e-12)
    assert mg.cov(Tensor(X[0])).shape == () and mg.corrcoef(Tensor(X[:1])).item() == 1
    np.testing.assert_allclose(mg.corrcoef(Tensor(X)).numpy(), np.corrcoef(X))
    mg.gradcheck(lambda x: mg.cov(x, fweights=f), X, order=2)
    for wrong, text in (
        ({"fweights": a}, "whole numbers"),
        ({"aweights": a[:1]}, "weights of"),
        ({"aweights": -a}, "not negative"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"cov: .*{text}"):
            mg.cov(Tensor(X), **wrong)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8", "bool"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_the_mode_is_torchs(dtype, axis, keepdims):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(axis + 1).integers(0, 4, (4, 7, 5)).astype(dtype)
    ours, theirs = mg.mode(Tensor(x), axis, keepdims), torch.mode(torch.tensor(x), axis, keepdims)
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    assert ours[0].dtype == x.dtype and ours[1].dtype == np.int64


def test_the_mode_of_one_of_nan_and_of_nothing():
    assert [part.item() for part in mg.mode(Tensor(4.0))] == [4, 0]
    assert [part.tolist() for part in Tensor([[1.0, np.nan, np.nan], [5, 4, 4]]).mode(dim=1)] == [[1, 4], [0, 2]]
    x = Tensor([3.0, 1, 3, 2], True)
    assert mg.grad(mg.mode(x)[0], x).tolist() == [0, 0, 1, 0]
    with pytest.raises(ValueError, match=r"mode: axis 0 of \(0, 3\) has no entries"):
        mg.mode(mg.zeros((0, 3)), 0)
