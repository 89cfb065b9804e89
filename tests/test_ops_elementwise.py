"""Elementwise functions at their edges: no overflow, no gradient where there is none."""

import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional
from minigrad.tensor import Tensor, grad

EXTREME = np.array([-1e4, -100, -30, -1e-8, 0, 1e-8, 30, 100, 1e4])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "erf", "relu"])
def test_no_input_is_too_large(name, dtype):
    """Values and gradients are torch's, and nothing warns."""
    torch = pytest.importorskip("torch")
    x, t = Tensor(EXTREME.astype(dtype), requires_grad=True), torch.tensor(EXTREME.astype(dtype), requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = getattr(mg, name)(x)
        g = grad(mg.sum(y), x)
    expected = getattr(torch, name)(t)
    expected.sum().backward()
    eps = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=eps, atol=eps)
    np.testing.assert_allclose(g.numpy(), t.grad.numpy(), rtol=eps, atol=eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_over_its_whole_range(dtype):
    from math import erf

    x = np.linspace(-7, 7, 2001).astype(dtype)
    expected = np.array([erf(v) for v in x.astype(float)])
    np.testing.assert_allclose(mg.erf(x), expected, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


def test_erf_of_what_is_not_a_number():
    np.testing.assert_array_equal(mg.erf(np.array([np.nan, np.inf, -np.inf])), [np.nan, 1, -1])
    assert mg.erf(np.float32(0.5) * np.ones(())).shape == ()


def test_relu_and_clip_pass_gradient_only_where_they_pass_values():
    x = Tensor(np.array([-2.0, 0, 0.5, 3]), requires_grad=True)
    assert grad(mg.sum(mg.relu(x)), x).tolist() == [0, 0, 1, 1]
    assert grad(mg.sum(mg.clip(x, -1, 1)), x).tolist() == [0, 1, 1, 0]
    assert grad(mg.sum(mg.clip(x, None, 1)), x).tolist() == [1, 1, 1, 0]
    assert grad(mg.sum(mg.clip(x, 0.25, None)), x).tolist() == [0, 0, 1, 1]


def test_relu_lets_nan_through():
    assert np.isnan(mg.relu(Tensor([float("nan")])).item())


TAILS = np.array([-80, -50, -30, -20, -17, -8, -1, 0, 1, 8, 17, 20, 30, 50, 80.0])
TAIL_OF = {  # by the name of a function: its value, and its slope, in float64
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (np.exp(x / 2) + np.exp(-x / 2)) ** 2),
    "logsigmoid": (lambda x: -np.logaddexp(0, -x), lambda x: 1 / (1 + np.exp(x))),
    "softplus": (
        lambda x: np.where(x > 20, x, np.logaddexp(0, x)),
        lambda x: np.where(x > 20, 1, 1 / (1 + np.exp(-x))),
    ),
    "silu": (lambda x: x / (1 + np.exp(-x)), lambda x: (1 + np.exp(-x) + x * np.exp(-x)) / (1 + np.exp(-x)) ** 2),
    "expm1": (np.expm1, np.exp),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TAIL_OF)
def test_no_small_value_is_lost(name, dtype):
    """Relative to the value itself, however small: values and gradients, with the tape of the way back and without."""
    value, slope = TAIL_OF[name]
    x, eps = Tensor(TAILS.astype(dtype), requires_grad=True), np.finfo(dtype).eps
    y = getattr(functional, name, None) or getattr(mg, name)
    np.testing.assert_allclose(y(x).numpy(), value(TAILS), rtol=8 * eps)
    for again in (False, True):
        np.testing.assert_allclose(grad(mg.sum(y(x)), x, create_graph=again).numpy(), slope(TAILS), rtol=40 * eps)


def test_losses_of_confident_logits_keep_their_gradient():
    x = Tensor(np.array([-30, -20, 20, 30], np.float32), requires_grad=True)
    loss = functional.binary_cross_entropy_with_logits(x, np.array([0, 0, 1, 1], np.float32), reduction="sum")
    np.testing.assert_allclose(grad(loss, x).numpy(), np.array([1, 1, -1, -1]) * np.exp(-abs(x.numpy())), rtol=1e-6)
    p = mg.sigmoid(Tensor(np.array([-20.0, -30], np.float32), requires_grad=True))
    assert mg.log(p).numpy() == pytest.approx([-20, -30], rel=1e-6)


@pytest.mark.parametrize(
    ("base", "exponent", "value", "by_base", "by_exponent"),
    [
        (0, -1, np.inf, -np.inf, -np.inf),
        (0, 0, 1, 0, 0),
        (0, 0.5, 0, np.inf, 0),
        (0, 1, 0, 1, 0),
        (0, 2, 0, 0, 0),
        (np.inf, 0, 1, 0, np.inf),
        (np.inf, 2, np.inf, np.inf, np.inf),
        (3, 0, 1, 0, np.log(3)),
    ],
)
def test_powers_at_their_limits(base, exponent, value, by_base, by_exponent):
    with np.errstate(all="ignore"):
        for again in (False, True):
            xs = Tensor(np.float64(base), requires_grad=True), Tensor(np.float64(exponent), requires_grad=True)
            y = xs[0] ** xs[1]
            assert y.item() == value and [g.item() for g in grad(y, xs, create_graph=again)] == [by_base, by_exponent]
        y = xs[0] ** exponent
        assert y.item() == value and grad(y, xs[0]).item() == by_base


def test_the_slope_of_a_power_of_0_is_differentiated_too():
    """∂²(xⁿ)/∂x∂n = xⁿ⁻¹ (1 + n log x), which is 1/x at n = 0."""
    x, n = Tensor(4.0, requires_grad=True), Tensor(0.0, requires_grad=True)
    assert grad(grad(x**n, x, create_graph=True), n).item() == 0.25


def test_clip_between_tensors_is_torchs():
    torch = pytest.importorskip("torch")
    values = [np.array([[-2.0, 0.25, 3], [5, -5, 0]]), np.array([-1.0, 0.25, 4]), np.array([[1.0], [2]])]
    ours, theirs = (
        [Tensor(v, requires_grad=True) for v in values],
        [torch.tensor(v, requires_grad=True) for v in values],
    )
    for used in ((0, 1, 2), (0, 1), (0, None, 2)):
        y = mg.clip(*[None if i is None else ours[i] for i in used])
        expected = torch.clamp(*[None if i is None else theirs[i] for i in used])
        np.testing.assert_array_equal(y.numpy(), expected.detach().numpy())
        some = [i for i in used if i is not None]
        for g, e in zip(
            grad(y, [ours[i] for i in some], np.ones(y.shape)),
            torch.autograd.grad(expected.sum(), [theirs[i] for i in some]),
            strict=True,
        ):
            np.testing.assert_array_equal(g.numpy(), e.numpy())
    np.testing.assert_array_equal(ours[0].clip(-1, np.float32(1)).numpy(), values[0].clip(-1, 1))
    assert mg.clip(values[0].astype("f4"), -np.float64(1), None).dtype == np.float32


def test_equal_infinities_share_a_gradient():
    for f in (mg.maximum, mg.minimum):
        for v in (np.inf, -np.inf):
            a, b = Tensor(v, requires_grad=True), Tensor(v, requires_grad=True)
            assert [g.item() for g in grad(f(a, b), [a, b])] == [0.5, 0.5]


BASES = [-7.0, -2.0, 0.0, 0.5, 3.0]
EXPONENTS = [-2.0, -1.5, 0.0, 0.5, 2.0, 3.0]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("base", ["a Tensor", "with a gradient", *BASES])
def test_the_gradient_of_an_exponent_is_torchs(base, dtype):
    torch = pytest.importorskip("torch")
    given = np.full((5, 6), base) if isinstance(base, float) else np.repeat(np.array(BASES)[:, None], 6, 1)
    b = np.tile(EXPONENTS, (5, 1)).astype(dtype)
    ours, theirs = Tensor(b, True), torch.tensor(b, requires_grad=True)
    x, t = (base, base) if isinstance(base, float) else (Tensor(given.astype(dtype)), torch.tensor(given.astype(dtype)))
    if base == "with a gradient":
        x.requires_grad = t.requires_grad = True
    y, z = x**ours, t**theirs
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-6)
    z.sum().backward()
    np.testing.assert_allclose(grad(y.sum(), ours).numpy(), theirs.grad.numpy(), rtol=1e-5)
    if base == "with a gradient":
        np.testing.assert_allclose(grad((x**ours).sum(), x).numpy(), t.grad.numpy(), rtol=1e-5)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_negative_base_has_no_gradient_of_its_exponent():
    b = Tensor([2.0, 3.0], True)
    for f in (lambda b: (-7.0) ** b, lambda b: mg.Tensor([-7.0, -1.0]) ** b, lambda b: mg.power(-7, b)):
        assert np.isnan(mg.grad(f(b).sum(), b).numpy()).all()
        assert np.isnan(mg.jvp(f, [b], [mg.ones_like(b)])[1].numpy()).all()


@pytest.mark.parametrize("base", [2, 300, -3, np.int64(2)])
def test_a_whole_number_to_the_power_of_booleans(base):
    b = mg.Tensor([True, False])
    for y in (mg.power(base, b), base**b):
        assert y.dtype == np.int64 and y.tolist() == [base, 1]


def test_bounds_by_the_names_of_torch():
    x = mg.Tensor([-2.0, 0.5, 2.0], requires_grad=True)
    for clip in (mg.clip, mg.Tensor.clip):
        assert clip(x, min=0).tolist() == [0, 0.5, 2]
        assert clip(x, max=1.0).tolist() == [-2, 0.5, 1]
        assert clip(x, min=-1, max=mg.Tensor([0.0, 0.0, 3.0])).tolist() == [-1, 0, 2]
        assert mg.grad(clip(x, min=0, max=1).sum(), x).tolist() == [0, 1, 0]
        with pytest.raises(TypeError, match="low=0 and min=1, two names of one option"):
            clip(x, 0, min=1)
