"""Tidying a program: it computes the same, and arrays come back exactly, order in memory included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.insight.program import embedded, laid_out, tidy


def test_what_is_needed_once_is_put_where_it_is_needed():
    lines = ["v1 = x * (2)", "v2 = v1 + (1)", "v3 = np.exp(v2)"]
    assert tidy(lines, {"v3": "y"}, {"v3": (2,)}, {"v3"}) == ["y = np.exp(x * 2 + 1)  # (2,)"]


def test_brackets_are_kept_where_they_mean_something():
    assert tidy(["v1 = x + (1)", "v2 = v1 * (3)", "v3 = (2) - v2"], {}, {}, {"v3"}) == ["v3 = 2 - (x + 1) * 3"]


def test_what_is_needed_twice_or_is_firm_keeps_its_line():
    lines = ["v1 = x + (1)", "v2 = v1 * v1", "v3 = v2 + (1)"]
    assert tidy(lines, {}, {}, {"v2", "v3"}) == ["v1 = x + 1", "v2 = v1 * v1", "v3 = v2 + 1"]


@pytest.mark.parametrize(
    "write", ["x += (1)", "x[0] = (5)", "np.add.at(x, (0,), 1)", "np.exp(x, out=x)", "# a new section"]
)
def test_nothing_passes_a_line_that_writes_into_an_array(write):
    lines = ["v1 = x * (2)", write, "v2 = v1 + (1)"]
    assert len(tidy(lines, {}, {}, {"v2"})) == 3


def test_what_is_written_into_is_not_replaced():
    assert tidy(["v1 = x.reshape(-1)", "v1 += (1)"], {}, {}, set()) == ["v1 = x.reshape(-1)", "v1 += 1"]


def test_what_nobody_needs_goes():
    assert tidy(["v1 = x + (1)", "v2 = v1 + (1)", "v3 = x"], {}, {}, {"v3"}) == ["v3 = x"]


DTYPES = [np.float32, np.float64, np.int64, np.bool_, np.uint8]


@given(hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=3)), st.booleans())
def test_embedded_arrays_come_back_exactly(array, turned):
    array = array.T if turned else array
    back = eval(embedded(array), {"np": np, "laid_out": laid_out})
    assert back.dtype == array.dtype and back.tobytes() == array.tobytes() and back.flags.writeable
    assert array.size < 2 or back.strides == array.strides or array.flags.c_contiguous


def test_any_order_in_memory_is_kept():
    array = np.arange(24.0).reshape(2, 3, 4)[:, ::-1, ::2].transpose(2, 0, 1)
    back = laid_out(array.copy(), array.strides)
    assert np.array_equal(back, array) and back.strides == array.strides
