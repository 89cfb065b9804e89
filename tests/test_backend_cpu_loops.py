"""Compiled loops: the same numbers as the forms in shared/, whatever the input, its layout and the number of cores."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_backend_shared_recurrent import CASES, inputs

from minigrad.backend import host, shared
from minigrad.backend.cpu import cores, loops, select

pytest.importorskip("numba")
rng = np.random.default_rng(0)
ROWS = {
    "gelu": [("none",), ("tanh",)],
    "softmax": [(-1,)],
    "log_softmax": [(-1,)],
    "layer_norm": [(1e-5,)],
    "cross_entropy": [(None, -100, 0.1, "mean"), (None, 1, 0.0, "none")],
}


@pytest.fixture(autouse=True)
def every_size(monkeypatch):
    monkeypatch.setattr(select, "MIN_SIZE", 0)


@pytest.fixture(params=[1, 2])
def on_cores(request, monkeypatch):
    monkeypatch.setattr(cores, "CORES", request.param)
    monkeypatch.setattr(cores, "MIN_SHARED", 1)


def operands(name, x):
    """The further inputs of an op, and its options."""
    vector = rng.standard_normal(x.shape[1]).astype(x.dtype)
    return {
        "gelu": [(None,), (vector,)],
        "layer_norm": [(None, None), (vector, vector[::-1])],
        "cross_entropy": [(rng.integers(0, x.shape[1], len(x)),)],
    }.get(name, [()])


def wide(x):
    return x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == np.float32 else x


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 9), st.integers(8, 70), st.sampled_from([0, 30, -200, 1e4]), st.sampled_from(["C", "F", "part"]))
@pytest.mark.parametrize("name", ROWS)
def test_a_loop_computes_what_the_shared_form_does(name, m, n, offset, lies):
    x = (rng.standard_normal((2 * m, n)) * 3 + offset).astype(np.float32)
    x = {"C": x[:m].copy(), "F": np.asfortranarray(x[:m]), "part": x[::2]}[lies]
    slack = 4e-7 * max(1, abs(offset))  # what rounding the input to float32 is worth
    loop, meaning = loops.instead_of(shared.table)[name], shared.table[name]
    for more in operands(name, x):
        for options in ROWS[name]:
            given, wanted = (x, *more), (True,) * (1 + len(more))
            y, saved = loop.forward(np, *given, *options)
            expected, wide_saved = meaning.forward(np, *map(wide, given), *options)
            assert y.dtype == np.float32
            np.testing.assert_allclose(y, expected, rtol=3e-6, atol=3e-6 + (slack if "softmax" not in name else 1e-6))
            g, also = rng.standard_normal(np.shape(y)).astype(np.float32), options_of(name, given, options)
            ours = loop.backward(np, g, saved, wanted, *also)
            theirs = meaning.backward(np, wide(g), wide_saved, wanted, *also)
            for a, b in zip(ours, theirs):
                if b is not None and a is not None:
                    np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * max(1, np.abs(b).max()))


def options_of(name, given, options):
    """What `backward` is given besides: the labels of cross-entropy count as an option."""
    return (*given[1:], *options) if name == "cross_entropy" else options


@pytest.mark.parametrize("name", ["gelu", "softmax", "log_softmax", "layer_norm"])
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_in_its_row(name, special, on_cores):
    x = rng.standard_normal((8, 300)).astype(np.float32)
    x[3, 5] = special
    more, options = operands(name, x)[0], ROWS[name][0]
    with np.errstate(all="ignore"):
        y = host.kernels[name].forward(np, x, *more, *options)[0]
        expected = shared.table[name].forward(np, wide(x), *map(wide, more), *options)[0]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("B, H", [(0, 3), (1, 1), (5, 8), (16, 64)])
@pytest.mark.parametrize("name", CASES)
def test_a_recurrent_layer_takes_all_its_steps_in_one_loop(name, B, H, masked, monkeypatch):
    monkeypatch.setattr("minigrad.backend.cpu.loops.recurrent.MIN_SHARED_PRODUCT", 1)
    given = [(x / 4).astype(np.float32) for x in inputs(name, 11, B, H)]
    given[1] /= np.float32(H**0.5)  # or small errors grow
    mask = np.arange(11)[:, None] < rng.integers(1, 12, B) if masked else None
    more, wanted = CASES[name][1], (True,) * len(given)
    y, saved = host.kernels[name].forward(np, *given, mask, *more)
    expected, wide_saved = shared.table[name].forward(np, *map(wide, given), mask, *more)
    np.testing.assert_allclose(y, expected, atol=2e-6)
    g = rng.standard_normal(y.shape).astype(np.float32)
    ours = host.kernels[name].backward(np, g, saved, wanted, mask, *more)
    theirs = shared.table[name].backward(np, wide(g), wide_saved, wanted, mask, *more)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=3e-6 * max(1, np.abs(b).max(initial=0)))


def test_without_numba_the_other_form_answers(monkeypatch):
    monkeypatch.setattr(loops, "available", lambda: False)
    saved = loops.instead_of(shared.table)["softmax"].forward(np, np.ones((2, 3), np.float32), -1)[1]
    assert saved[0] is shared.table["softmax"]
