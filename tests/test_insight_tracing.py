"""Traced arrays: what is written down is what was done, whatever NumPy is asked for."""

import gc
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad import backend
from minigrad.insight.tracing import tracing

X, ROWS = np.arange(1.0, 7).reshape(2, 3), np.array([1, 0, 1])
CASES = [
    lambda x, xp: 2 - (x + 1) * x / 3,
    lambda x, xp: -(x**2) % 3,
    lambda x, xp: x @ x.T,
    lambda x, xp: x.mT,
    lambda x, xp: np.maximum(x, 2) + xp.exp(x),
    lambda x, xp: x[:, ::-1][0],
    lambda x, xp: x[(slice(1),)],
    lambda x, xp: x[ROWS],
    lambda x, xp: xp.where(x > 2, x, -np.inf),
    lambda x, xp: xp.add.reduce(x, 0, None, None, True),
    lambda x, xp: np.concatenate([x, x], axis=1),
    lambda x, xp: x.sum(),
    lambda x, xp: x.astype(np.float32),
    lambda x, xp: xp.full((2, 2), 3, x.dtype) * xp.float32(2.5),
    lambda x, xp: np.einsum("ij->ji", x),
    lambda x, xp: (x > 1) & ~(x == 3),
    lambda x, xp: abs(x).max(axis=1, keepdims=True),
    lambda x, xp: x[None, ..., 0],
]


def put(x, xp):
    y = xp.zeros(x.shape, x.dtype)
    xp.add.at(y, (ROWS[:1], ROWS[1:2]), 5.0)
    y[0] = x[1]
    y[1, :2] += x[0, 1:]
    y *= 2
    xp.exp(y, out=y)
    return y


@pytest.fixture
def trace():
    with tracing() as trace:
        yield trace


@pytest.mark.parametrize("f", [*CASES, put])
def test_the_lines_give_what_was_computed(f, trace):
    x = trace.constant(X.copy(), "x")
    y = f(x, backend.of(x).xp)
    space = {"np": np} | {key: array.copy() for key, array in trace.constants.items()}
    exec("\n".join(trace.lines), space)
    assert np.array_equal(space[y.id], f(X.copy(), np)) and np.array_equal(y.array, f(X.copy(), np))
    assert y.array.dtype == space[y.id].dtype and y.array.strides == space[y.id].strides


def test_questions_are_answered_without_a_line(trace):
    x = trace.constant(X, "x")
    assert (x.shape, x.ndim, x.size, len(x), x.dtype, x.flags.c_contiguous) == ((2, 3), 2, 6, 2, np.float64, True)
    assert backend.of(x).xp.result_type(x, np.float32) == np.float64 and x.item.__name__ == "item" and not trace.lines


def test_what_does_nothing_writes_nothing(trace):
    x = trace.constant(X, "x")
    assert backend.of(x).xp.asarray(x) is x and x.astype(np.float64, copy=False) is x and not trace.lines


def test_ops_and_rules_run_on_them_as_they_are(trace):
    x = mg.Tensor(trace.constant(X, "x"), requires_grad=True)
    (g,) = mg.grad((mg.tanh(x) * x).sum(), [x])
    plain = mg.Tensor(X, requires_grad=True)
    assert np.array_equal(g.data.array, mg.grad((mg.tanh(plain) * plain).sum(), plain).data)
    assert any("np.tanh(" in line for line in trace.lines)


def test_names_are_their_own_and_fit_a_program(trace):
    wanted = ["x", "x", "0.weight", "lambda", "np", "self.scale"]
    found = [trace.call_it(trace.constant(np.ones(1), name), name) for name in wanted]
    assert found == ["x", "x_2", "layer_0_weight", "lambda_", "np_", "scale"]


def test_a_trace_is_let_go_of():
    with tracing() as trace:
        last = weakref.ref(trace)
        trace.constant(X, "x")
    del trace
    gc.collect()
    assert last() is None
