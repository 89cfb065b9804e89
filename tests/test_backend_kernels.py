"""The generic kernels, where the catalogue does not reach: steps of optimisers, and gradients that must not depend on luck."""
import numpy as np
import pytest

from minigrad.backend import cpu, kernels, numpy_kernels

rng = np.random.default_rng(0)
ADAM = {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}
BOTH = {"generic": kernels.table, "numpy": kernels.table | numpy_kernels.table}
TABLES = [pytest.param(table, id=name) for name, table in BOTH.items()]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_adam_is_the_algorithm_of_the_paper(table, decoupled, dtype, tolerance):
    w, m, v = rng.standard_normal(200_000), np.zeros(200_000), np.zeros(200_000)
    param, kept_m, kept_v = (x.astype(dtype) for x in (w, m, v))
    for step in (1, 2, 3):
        g = rng.standard_normal(w.shape)
        table["adam_step"](np, param, g.astype(dtype), kept_m, kept_v, decoupled=decoupled, step=step, **ADAM)
        if decoupled:
            w = w * (1 - 0.01 * 0.1)
        else:
            g = g + 0.1 * w
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        w = w - 0.01 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
    np.testing.assert_allclose(param, w, rtol=tolerance, atol=tolerance)
    assert param.dtype == dtype


@pytest.mark.parametrize("table", TABLES)
def test_a_step_writes_into_no_gradient(table):
    param, g = rng.standard_normal((2, 5000)).astype("f4")
    before = g.copy()
    table["adam_step"](np, param, g, np.zeros_like(g), np.zeros_like(g), decoupled=False, step=1, **ADAM)
    table["sgd_step"](np, param, g, np.zeros_like(g), lr=0.1, momentum=0.9, dampening=0.0, weight_decay=0.1, nesterov=True,
                      first=True)
    np.testing.assert_array_equal(g, before)


def test_square_sum_of_halves_does_not_overflow():
    assert float(cpu.kernels["square_sum"](np, np.full(70_000, 2.0, np.float16))) == 280_000


def test_embedding_gradients_have_the_same_bits_every_time():
    ids, g = rng.integers(0, 5, 1000), rng.standard_normal((1000, 8)).astype("f4")
    backward = cpu.kernels["embedding"].backward
    first, = backward(np, g, (7, 8), (True,), ids)
    expected = np.zeros((7, 8))
    np.add.at(expected, ids, g)
    np.testing.assert_allclose(first, expected, atol=1e-4)
    assert all((backward(np, g, (7, 8), (True,), ids)[0] == first).all() for _ in range(3))
