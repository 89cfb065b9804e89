"""Interpolation, sampling along a grid, and affine grids beside torch, in value and gradient; and what they refuse."""

import warnings

import numpy as np
import pytest

from minigrad import functional as F
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)


def assert_torchs(name, arrays, **options):
    torch = pytest.importorskip("torch")
    ours = [Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y, expected = getattr(F, name)(*ours, **options), getattr(torch.nn.functional, name)(*theirs, **options)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    weights = np.cos(np.arange(y.size)).reshape(y.shape)
    (y * weights).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(0 if a.grad is None else a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-10)


SHAPES = {1: (2, 3, 5), 2: (2, 2, 5, 4), 3: (1, 2, 3, 5, 4)}
MODES = [
    *((mode, many) for mode in ("nearest", "nearest-exact", "area") for many in SHAPES),
    ("linear", 1),
    ("bilinear", 2),
    ("bicubic", 2),
    ("trilinear", 3),
]


@pytest.mark.parametrize(("mode", "many"), MODES)
def test_interpolate(mode, many):
    x, double = rng.standard_normal(SHAPES[many]), tuple(2 * n for n in SHAPES[many][2:])
    for how in (
        {"size": 7},
        {"size": 3},
        {"size": 1},
        {"size": double},
        {"scale_factor": 1.7},
        {"scale_factor": 0.6},
        {"scale_factor": 2.0},
        {"scale_factor": 1.7, "recompute_scale_factor": True},
    ):
        for align in (None, False, True) if "linear" in mode or mode == "bicubic" else (None,):
            assert_torchs("interpolate", [x], mode=mode, align_corners=align, **how)


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [None, True])
@pytest.mark.parametrize(
    ("many", "mode"), [(2, "bilinear"), (2, "nearest"), (2, "bicubic"), (3, "bilinear"), (3, "nearest")]
)
def test_grid_sample(many, mode, padding_mode, align_corners):
    for size in ((4, 5, 3)[:many], (1, 1, 1)[:many]):
        x, grid = rng.standard_normal((2, 2, *size)), rng.uniform(-2.5, 2.5, (2, *(3, 4, 2)[:many], many))
        options = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
        assert_torchs("grid_sample", [x, grid], **options)


@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 3, 1, 2), (2, 1, 3, 4, 2)])
def test_affine_grid(size):
    for align in (False, True):
        assert_torchs(
            "affine_grid", [rng.standard_normal((2, len(size) - 2, len(size) - 1))], size=size, align_corners=align
        )


def test_places_that_are_not_numbers_see_nothing():
    grid = Tensor(np.array([[[[np.nan, 0.0], [np.inf, -np.inf]]]]))
    with np.errstate(invalid="ignore"):
        assert F.grid_sample(Tensor(np.ones((1, 1, 3, 3))), grid).tolist() == [[[[0, 0]]]]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x: F.interpolate(x), "give either a size or a scale_factor"),
        (lambda x: F.interpolate(x, 3, 2.0), "give either a size or a scale_factor"),
        (lambda x: F.interpolate(x, 3, mode="linear"), "mode='linear' does not fit"),
        (lambda x: F.interpolate(x, 3, mode="lanczos"), "mode='lanczos' does not fit"),
        (lambda x: F.interpolate(x, 3, align_corners=True), "align_corners is for the linear and cubic modes"),
        (lambda x: F.interpolate(x, 3, mode="bilinear", align_corners="no"), "align_corners is True or False"),
        (lambda x: F.interpolate(x, scale_factor=2.0, recompute_scale_factor="no"), "factor is True or False"),
        (lambda x: F.grid_sample(x, np.zeros((1, 2, 2, 2)), align_corners="no"), "align_corners is True or False"),
        (lambda x: F.affine_grid(np.zeros((1, 2, 3)), (1, 1, 2, 2), "no"), "align_corners is True or False"),
        (lambda x: F.interpolate(x, 0), "size=0 is not understood"),
        (lambda x: F.interpolate(x, scale_factor=0.1), "leaves nothing"),
        (lambda x: F.interpolate(x, scale_factor=-1), "a number above 0"),
        (lambda x: F.interpolate(x, 3, antialias=True), "antialias"),
        (lambda x: F.grid_sample(x, x), "grid_sample: x"),
        (lambda x: F.grid_sample(x, np.zeros((1, 2, 2, 2)), "cubic"), "mode='cubic' is not known"),
        (lambda x: F.grid_sample(x, np.zeros((1, 2, 2, 2)), padding_mode="wrap"), "padding_mode='wrap'"),
        (lambda x: F.affine_grid(x, (1, 1, 2, 2)), "affine_grid: theta"),
    ],
)
def test_what_is_refused(call, told):
    with pytest.raises((ValueError, TypeError), match=told):
        call(Tensor(np.ones((1, 2, 4, 3))))
