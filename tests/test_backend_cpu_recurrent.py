"""Recurrent layers shared out over cores: the same as on one, in samples or in products, whatever the library."""

import numpy as np
import pytest
from test_backend_shared_recurrent import CASES, inputs

from minigrad.backend.cpu import cores, mkl
from minigrad.backend.cpu import recurrent as cpu_recurrent
from minigrad.backend.shared import recurrent as shared_recurrent

rng = np.random.default_rng(0)


@pytest.mark.parametrize("together", [None, cpu_recurrent.Products(2)], ids=["apart", "together"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("samples", [0, 1, 2, 5])
@pytest.mark.parametrize("name", CASES)
def test_samples_in_parts_are_samples_together(name, samples, masked, together, monkeypatch):
    """Eleven steps, more than are prepared at a time, in pieces of one; five samples on two cores."""
    monkeypatch.setattr(cpu_recurrent, "MIN_MKL_STEP", 1)
    monkeypatch.setattr(cpu_recurrent, "MIN_SHARED_STEP", 1)
    monkeypatch.setattr(cores, "CORES", 2)
    monkeypatch.setattr(cpu_recurrent, "together", lambda: together)
    monkeypatch.setattr(shared_recurrent, "MAX_STEPS", 4)
    monkeypatch.setattr(cores, "MIN_SHARED", 1)
    monkeypatch.setattr(cores, "MAX_PIECE", 7)
    given, more, kernel = inputs(name, 11, samples, 3), CASES[name][1], shared_recurrent.table[name]
    mask = np.arange(11)[:, None] < rng.integers(1, 12, samples) if masked else None
    shared = cpu_recurrent.table[name]
    (y, saved), (y_shared, saved_shared) = (k.forward(np, *given, mask, *more) for k in (kernel, shared))
    g, wanted = rng.standard_normal(y.shape), (True,) * len(given)
    np.testing.assert_allclose(y_shared, y, atol=1e-14)
    for a, b in zip(
        shared.backward(np, g, saved_shared, wanted, mask, *more),
        kernel.backward(np, g, saved, wanted, mask, *more),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-13)


@pytest.mark.parametrize("B, H", [(3, 8), (32, 256), (80, 256)], ids=["one core", "products", "samples"])
@pytest.mark.parametrize("tbb", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_every_way_is_right_in_float32(name, tbb, B, H, monkeypatch):
    if not tbb:
        monkeypatch.setattr(mkl, "tbb", lambda: None)
    given = [(x / 4).astype(np.float32) for x in inputs(name, 10, B, H)]
    given[1] /= np.float32(H**0.5)
    more, wide = CASES[name][1], [x.astype(np.float64) for x in given]
    y, saved = cpu_recurrent.table[name].forward(np, *given, None, *more)
    expected, wide_saved = shared_recurrent.table[name].forward(np, *wide, None, *more)
    np.testing.assert_allclose(y, expected, atol=2e-6)
    g, wanted = rng.standard_normal(y.shape, np.float32), (True,) * len(given)
    ours = cpu_recurrent.table[name].backward(np, g, saved, wanted, None, *more)
    theirs = shared_recurrent.table[name].backward(np, g.astype(np.float64), wide_saved, wanted, None, *more)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=3e-6 * max(1, np.abs(b).max()))
