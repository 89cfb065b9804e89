"""Attention on a CPU, by blocks: what it is at once, in float64."""

import math

import numpy as np
import pytest
from test_backend_cpu_layers import CASES, agrees

from minigrad.backend import host, shared
from minigrad.backend.cpu import cores, loops, select

rng = np.random.default_rng(1)
NAME = "scaled_dot_product_attention"


@pytest.fixture(autouse=True, params=["loop", "blocks"])
def form(request, monkeypatch):
    """The compiled loop, and the shared form by blocks, whatever the size."""
    monkeypatch.setattr(select, "MIN_SIZE", 0)
    if request.param == "loop":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(loops, "available", lambda: False)
    return request.param


@pytest.mark.parametrize("offset", [30, 1e4, -1e4])
def test_attention_wherever_the_scores_are(offset, small_pieces):
    op, (q, k, v, _), options = next(case for case in CASES if case[0] == "scaled_dot_product_attention")
    mask = np.zeros((80, 80), np.float32)
    mask[::3] = offset
    mask[5] = -math.inf
    agrees(op, (q, k, v, mask), options, atol=1e-3 if abs(offset) > 100 else 1e-4)


@pytest.mark.parametrize(
    ("T", "S", "is_causal"),
    [(700, 700, True), (600, 700, False), (3, 900, False), (65, 130, True), (130, 65, True), (513, 200, False)],
)
def test_attention_in_blocks_is_attention_at_once(T, S, is_causal, monkeypatch):
    monkeypatch.setattr(cores, "MAX_PIECE", 700)
    q, k, v = (rng.standard_normal((2, n, 3, 8)).astype(np.float32).swapaxes(1, 2) for n in (T, S, S))
    mask = rng.random((2, 1, T, S)) < 0.7
    mask[0, 0, 1] = False  # a query that may attend to nothing
    keep = rng.random((2, 3, T, S)) < 0.9
    learned = rng.standard_normal((3, 1, S)).astype(np.float32)
    agrees("scaled_dot_product_attention", (q, k, v, mask), (keep, 0.1, 8**-0.5, is_causal))
    agrees("scaled_dot_product_attention", (q, k, v, learned), (keep, 0.1, 8**-0.5, is_causal))
    agrees("scaled_dot_product_attention", (q, k, v, None), (None, 0.0, 8**-0.5, is_causal))


def inputs(*lead, T=150, S=90, d=8, e=5):
    return [rng.standard_normal((*lead, *shape), np.float32) for shape in ((T, d), (S, d), (S, e))]


@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 1, 2)])
@pytest.mark.parametrize("mask_shape", [(90,), (150, 1), (150, 90), None])
def test_any_number_of_leading_axes_and_any_mask(lead, mask_shape, small_pieces):
    mask = None if mask_shape is None else rng.random(mask_shape) < 0.8
    agrees(NAME, (*inputs(*lead), mask), (None, 0.0, 0.3, True))


def test_what_lies_in_any_order_is_read_where_it_lies():
    q, k, v = inputs(2, 3)
    for lies in (lambda x: x[..., ::-1, :], lambda x: x.swapaxes(-1, -2).copy().swapaxes(-1, -2), lambda x: x[:, ::-1]):
        agrees(NAME, (lies(q), lies(k), lies(v), None), (None, 0.0, 0.3, False))
    agrees(
        NAME, (q, np.broadcast_to(k[:, :1], k.shape), np.broadcast_to(v[:, :, :1], v.shape), None), (None, 0, 1, True)
    )


@pytest.mark.parametrize("is_causal", [False, True])
def test_scores_that_grow_from_block_to_block(is_causal):
    """The largest score so far is replaced again and again, also by way of blocks in which nothing may be attended."""
    T = S = 1200
    q, k = np.ones((2, T, 4), np.float32), np.ones((2, S, 4), np.float32)
    k *= np.linspace(-300, 300, S, dtype=np.float32)[:, None]
    v = rng.standard_normal((2, S, 3)).astype(np.float32)
    mask = np.ones((T, S), bool)
    mask[:, 100:600] = False
    mask[7] = False
    agrees(NAME, (q, k, v, mask), (None, 0.0, 0.25, is_causal), atol=2e-3)
    agrees(NAME, (q, k[:, ::-1], v, mask), (None, 0.0, 0.25, is_causal), atol=2e-3)


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_not_finite(which, special, small_pieces):
    q, k, v = given = inputs(2)
    given[which][0, 40, 2] = special
    with np.errstate(all="ignore"):
        y = host.kernels[NAME].forward(np, *given, None, None, 0.0, 0.3, False)[0]
        expected = shared.table[NAME].forward(np, *(x.astype(float) for x in given), None, None, 0.0, 0.3, False)[0]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [dict(T=0), dict(S=0), dict(e=0)])
def test_no_queries_or_no_keys(shape):
    agrees(NAME, (*inputs(2, **shape), None), (None, 0.0, 0.3, False))


def test_the_number_of_cores_changes_no_bit(monkeypatch):
    q, k, v = inputs(4, 3, T=70)
    found = []
    for many in (1, 2, 3):
        monkeypatch.setattr(cores, "CORES", many)
        monkeypatch.setattr(cores, "MIN_SHARED", 1)
        y, saved = host.kernels[NAME].forward(np, q, k, v, None, None, 0.0, 0.3, True)
        found.append(
            [y, *host.kernels[NAME].backward(np, y, saved, (True, True, True, False), None, 0.0, 0.3, True)[:3]]
        )
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_all_scores_never_exist():
    import tracemalloc

    q, k, v = inputs(1, 1, T=3000, S=3000)
    tracemalloc.start()
    y, saved = host.kernels[NAME].forward(np, q, k, v, None, None, 0.0, 0.3, True)
    host.kernels[NAME].backward(np, y, saved, (True, True, True, False), None, 0.0, 0.3, True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 3000 * 3000 / 4
