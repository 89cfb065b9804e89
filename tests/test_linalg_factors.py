"""Factors of matrices: they give the matrix again, in every shape, and refuse derivatives that do not exist."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, linalg

R = np.random.default_rng(0).standard_normal
WEIGHTS = np.cos(np.arange(9.0)).reshape(3, 3)


def weighted(x):
    return (x * Tensor(np.cos(np.arange(float(x.size))).reshape(x.shape))).sum()


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 2), (0, 2), (2, 0)])
def test_factors_multiply_to_the_matrix(shape):
    x = R(shape)
    for full in (False, True):
        u, s, v = linalg.svd(Tensor(x), full)
        n = s.shape[-1]
        np.testing.assert_allclose((u[..., :n] * s[..., None, :] @ v[..., :n, :]).numpy(), x, atol=1e-12)
        assert [p.shape for p in (u, s, v)] == [p.shape for p in np.linalg.svd(x, full)]
    for mode in ("reduced", "complete"):
        q, r = linalg.qr(Tensor(x), mode)
        np.testing.assert_allclose((q @ r).numpy(), x, atol=1e-12)
        assert (q.shape, r.shape) == tuple(p.shape for p in np.linalg.qr(x, mode))


def test_symmetric_matrices():
    x = R((2, 3, 3))
    s = x @ x.swapaxes(1, 2) + np.eye(3)
    low = linalg.cholesky(Tensor(s))
    np.testing.assert_allclose((low @ low.mT).numpy(), s, atol=1e-12)
    np.testing.assert_allclose(linalg.cholesky(Tensor(s), upper=True).numpy(), low.mT.numpy())
    for letter in "LU":
        w, v = linalg.eigh(Tensor(s), letter)
        np.testing.assert_allclose((v * w[..., None, :] @ v.mT).numpy(), s, atol=1e-12)
    with pytest.raises(ValueError, match="cholesky.*not positive definite"):
        linalg.cholesky(Tensor(-s))
    with pytest.raises(ValueError, match="UPLO"):
        linalg.eigh(Tensor(s), "X")


def test_vectors_of_equal_values_have_no_gradient_and_values_have_one():
    x = Tensor(np.diag([2.0, 2, 5]), True)
    for f in (lambda: linalg.eigh(x).eigenvectors, lambda: linalg.svd(x).U, lambda: linalg.svd(x).Vh):
        with pytest.raises(ValueError, match="(eigh|svd): two .*values are equal"):
            mg.grad(weighted(f()), x)
    np.testing.assert_allclose(mg.grad(linalg.eigvalsh(x).sum(), x).numpy(), np.eye(3), atol=1e-12)
    np.testing.assert_allclose(mg.grad(linalg.svdvals(x).sum(), x).numpy(), np.eye(3), atol=1e-12)


def test_what_does_not_depend_on_the_choice_of_vectors_has_its_gradient():
    """The square root of a matrix, by its eigenvectors, two of which may be turned."""
    x = Tensor(np.diag([4.0, 9, 25]), True)
    w, v = linalg.eigh(x)
    g = mg.grad(weighted(v * mg.sqrt(w)[None] @ v.T), x)
    roots = np.array([2.0, 3, 5])
    even = (WEIGHTS + WEIGHTS.T) / 2
    np.testing.assert_allclose(g.numpy(), even / (roots[:, None] + roots), rtol=1e-10)


def test_dependent_columns_have_no_gradient_of_qr():
    x = Tensor(np.array([[1.0, 2], [2, 4], [3, 6]]), True)
    with pytest.raises(ValueError, match="qr: the columns are linearly dependent"):
        mg.grad(weighted(linalg.qr(x).Q), x)
    with pytest.raises(ValueError, match='only mode="reduced" has a gradient'):
        linalg.qr(x, "complete")


def test_a_singular_value_of_0_has_no_vectors_with_a_gradient():
    x = Tensor(np.array([[1.0, 2], [2, 4], [3, 6]]), True)
    with pytest.raises(ValueError, match="svd: "):
        mg.grad(weighted(linalg.svd(x, False).U), x)


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)])
def test_gradients_through_all_the_factors_at_once(shape):
    x = R(shape)
    mg.gradcheck(lambda x: mg.concatenate([mg.flatten(p) for p in linalg.svd(x, False)]), x, order=2)
    mg.gradcheck(lambda x: mg.concatenate([mg.flatten(p) for p in linalg.qr(x)]), x, order=2)


def test_a_jvp_of_singular_vectors_is_not_lost():
    """It starts from a gradient of zeros, which is to be differentiated."""
    x, t, h = R((3, 3)), R((3, 3)), 1e-6
    _, found = mg.jvp(lambda x: linalg.svd(x).U, [x], [t])
    ahead, behind = (np.linalg.svd(x + s * h * t)[0] for s in (1, -1))
    np.testing.assert_allclose(found.numpy(), (ahead - behind) / (2 * h), atol=1e-7)


FACTORS = {  # what has no answer for a NaN or an infinity
    "eigh": lambda x: linalg.eigh(x),
    "eigh of the upper triangle": lambda x: linalg.eigh(x.mT, "U"),
    "eigvalsh": linalg.eigvalsh,
    "svd": linalg.svd,
    "svd, reduced": lambda x: linalg.svd(x, full_matrices=False),
    "svdvals": linalg.svdvals,
    "cholesky": linalg.cholesky,
    "qr": linalg.qr,
    "qr, complete": lambda x: linalg.qr(x, "complete"),
    "qr of a wide matrix": lambda x: linalg.qr(x[..., :2, :]),
    "qr, complete, of a tall matrix": lambda x: linalg.qr(x[..., :2], "complete"),
    "pinv": linalg.pinv,
    "pinv of a symmetric matrix": lambda x: linalg.pinv(x, hermitian=True),
    "lstsq": lambda x: linalg.lstsq(x, x[..., :1]),
    "matrix_rank": linalg.matrix_rank,
    "cond": linalg.cond,
    "norm": lambda x: linalg.norm(x, 2, (-2, -1)),
    "nuclear norm": lambda x: linalg.matrix_norm(x, "nuc"),
    "gradient of det": lambda x: mg.value_and_grad(lambda x: linalg.det(x).sum())(x),
}
BROKEN = pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
PLACES = pytest.mark.parametrize("place", [(0, 0), (1, 0), (1, 1)])


def broken(bad, place, stack=(), dtype="float64"):
    x = np.broadcast_to(np.diag([3.0, 2.0, 4.0]) + 0.1, (*stack, 3, 3)).astype(dtype)
    x[(*[-1] * len(stack), *place)] = bad
    return Tensor(x, dtype != "int64")


@BROKEN
@PLACES
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("stack", [(), (2,)])
@pytest.mark.parametrize("f", FACTORS.values(), ids=FACTORS)
def test_a_matrix_that_is_not_finite_has_no_factors(f, stack, place, bad):
    """NumPy gives numbers for some of these, and never returns from the svd of an infinity."""
    for dtype in ("float64", "float32", "float16"):
        with pytest.raises(ValueError, match=r"of \d+ entries [12] are not finite, so there are no"):
            f(broken(bad, place, stack, dtype).detach())


def test_the_triangle_that_is_not_read_may_hold_anything():
    x = broken(np.nan, (0, 1)).detach()
    clean = Tensor(np.diag([3.0, 2.0, 4.0]) + 0.1)
    for f in (linalg.eigvalsh, linalg.cholesky, lambda x: linalg.eigvalsh(x.mT, "U")):
        np.testing.assert_array_equal(f(x).numpy(), f(clean).numpy())


@BROKEN
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("place", [(0, 0), (1, 0), (0, 1), (2, 1)])
def test_the_inverse_of_what_is_not_finite_is_nan(place, bad):
    """NumPy gives numbers in some rows.  The other matrices of a stack keep theirs."""
    x, single = broken(bad, place, (2,)), broken(bad, place)
    for f in (linalg.inv, lambda x: linalg.solve(x, x[..., :1].detach() * 0 + 1), lambda x: linalg.matrix_power(x, -1)):
        assert np.isnan(f(single).detach().numpy()).all()
        y = f(x).detach().numpy()
        assert np.isnan(y[1]).all()
        np.testing.assert_allclose(y[0], f(x[:1]).detach().numpy()[0], rtol=1e-14)
        assert np.isnan(mg.grad(f(x).sum(), x).numpy()[1]).any()
    if np.isnan(bad):
        assert all(np.isnan(part.detach().numpy()).all() for part in (linalg.det(single), *linalg.slogdet(single)))
        assert np.isnan(linalg.logdet(single).item())
