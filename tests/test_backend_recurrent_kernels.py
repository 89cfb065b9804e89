"""Recurrent kernels; that they equal the step-by-step definitions, with and without padding, is asked in the catalogue."""
import numpy as np
import pytest

from minigrad.backend import recurrent_kernels

rng = np.random.default_rng(0)
CASES = {"lstm": (4, 2, ()), "gru": (3, 1, ()), "rnn": (1, 1, ("tanh",))}      # gates, states, further options


@pytest.mark.parametrize("name", CASES)
def test_steps_that_are_padding_leave_the_state_and_pass_the_gradient_through(name):
    gates, states, more = CASES[name]
    kernel, H = recurrent_kernels.table[name], 5
    given = [rng.standard_normal(shape) for shape in ((4, 2, gates * H), (gates * H, H), (gates * H,), *[(2, H)] * states)]
    mask = np.zeros((4, 2), bool)               # nothing is real
    y, saved = kernel.forward(np, *given, mask, *more)
    first = np.stack(given[3:], 1) if states == 2 else given[3]
    np.testing.assert_array_equal(y, np.broadcast_to(first, y.shape))
    g = rng.standard_normal(y.shape)
    d_gates, d_weight, d_bias, *d_first = kernel.backward(np, g, saved, (True,) * len(given), mask, *more)
    assert not d_gates.any() and not d_weight.any() and not d_bias.any()
    np.testing.assert_allclose(np.stack(d_first, 1) if states == 2 else d_first[0], g.sum(0))


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_wanted_is_not_computed(name):
    gates, states, more = CASES[name]
    given = [rng.standard_normal(shape) for shape in ((3, 2, gates * 4), (gates * 4, 4), (gates * 4,), *[(2, 4)] * states)]
    y, saved = recurrent_kernels.table[name].forward(np, *given, None, *more)
    wanted = (True, False, False, *[True] * states)
    assert recurrent_kernels.table[name].backward(np, np.ones_like(y), saved, wanted, None, *more)[1:3] == (None, None)
