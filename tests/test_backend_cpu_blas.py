"""The matrix product called as a C library: NumPy's results, for matrices that lie in any way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.backend.cpu import blas

rng = np.random.default_rng(0)
sizes = st.integers(0, 7)


def lying(rows, columns, how):
    """A matrix of whole numbers, so that every order of summing gives the same."""
    whole = rng.integers(-9, 9, (2 * rows + 1, 3 * columns + 2)).astype("f4")
    if how == "in order":
        return np.ascontiguousarray(whole[:rows, :columns])
    if how == "transposed":
        return np.asfortranarray(whole[:rows, :columns])
    return whole[:rows, 2 : columns + 2] if how == "a part" else whole[1 : 2 * rows + 1 : 2, ::3][:, :columns]


ways = st.sampled_from(["in order", "transposed", "a part", "apart"])


@given(sizes, sizes, sizes, ways, ways, ways, st.booleans())
def test_gemm_is_matmul(m, k, n, first, second, third, add):
    a, b, out = lying(m, k, first), lying(k, n, second), lying(m, n, third)
    expected = a @ b + out * add
    blas.gemm(a, b, out, add)
    np.testing.assert_array_equal(out, expected)


def test_a_row_that_lies_as_a_column():
    """Its rows are 4 bytes apart, less than they are long, and BLAS would refuse it on standard error and write
    nothing.
    """
    a, b, out = lying(1, 4, "in order"), lying(4, 6, "in order"), np.empty((6, 1), "f4").T
    blas.gemm(a, b, out)
    np.testing.assert_array_equal(out, a @ b)


@pytest.mark.skipif(blas._numpys_product is None, reason="NumPy has another BLAS")
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("third", ["in order", "apart", "a part"])
@pytest.mark.parametrize(
    "rows, inner, second, turned",
    [
        (2, blas.MIN_TURNED_WIDTH + 1, "transposed", True),
        (blas.MAX_TURNED_ROWS, blas.MIN_TURNED_WIDTH + 1, "transposed", True),
        (blas.MAX_TURNED_ROWS + 1, blas.MIN_TURNED_WIDTH + 1, "transposed", False),
        (2, blas.MIN_TURNED_WIDTH, "transposed", False),
        (2, blas.MIN_TURNED_WIDTH + 1, "in order", False),
    ],
)
def test_of_few_rows_and_a_transposed_matrix_openblas_makes_the_transposed_product(
    rows, inner, second, turned, third, add, monkeypatch
):
    sizes = []

    def product(*arguments):
        sizes.append(arguments[3:5])
        openblas(*arguments)

    blas._product()  # tells ctypes the types of the arguments
    openblas = blas._numpys_product
    monkeypatch.setattr(blas, "_product", lambda threads: product)
    monkeypatch.setattr(blas, "_numpys_product", product)
    monkeypatch.setattr(blas, "MAX_UNCOPIED", rows * inner * 130 - 1)
    a, b, out = lying(rows, inner, "a part"), lying(inner, 130, second), lying(rows, 130, third)
    expected = a @ b + out * add
    blas.gemm(a, b, out, add)
    np.testing.assert_array_equal(out, expected)
    if third != "apart":  # then NumPy answers
        assert sizes == [(130, rows) if turned else (rows, 130)]


@pytest.mark.parametrize("add", [False, True])
def test_without_a_blas_it_can_call_numpy_answers(add, monkeypatch):
    monkeypatch.setattr(blas, "_product", lambda threads: None)
    a, b, out = lying(3, 4, "in order"), lying(4, 5, "in order"), lying(3, 5, "in order")
    expected = a @ b + out * add
    blas.gemm(a, b, out, add)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("shapes", [((2, 3), (4, 5), (2, 5)), ((2, 3), (3, 5), (2, 4)), ((2, 3), (3, 5), (5, 2))])
def test_shapes_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError, match="mismatch"):
        blas.gemm(*(np.ones(shape, "f4") for shape in shapes))


def test_rows_that_are_no_whole_numbers_apart_are_numpys():
    records = np.zeros(30, [("a", "f4", (20,)), ("b", "u1")])
    records["a"] = lying(30, 20, "in order")
    a, b, out = records["a"], lying(20, 5, "in order"), np.empty((30, 5), "f4")
    expected = np.array(a) @ b
    blas.gemm(a, b, out)
    np.testing.assert_array_equal(out, expected)
    into = np.zeros(30, [("a", "f4", (5,)), ("b", "u1")])
    blas.gemm(np.array(a), b, into["a"])
    np.testing.assert_array_equal(into["a"], expected)


@pytest.mark.parametrize("m, k, n", [(5, 1, 4), (1, 5, 4), (5, 4, 1), (1, 4, 1), (1, 1, 4)])
def test_vectors_that_stand_for_matrices_are_read_as_they_lie(m, k, n):
    """An axis of one may have any stride: NumPy gives a new axis the stride 0."""

    def spread(x, step):
        """The matrix again; if it is a vector, with its entries apart and a new axis."""
        apart = np.repeat(x.reshape(-1), step)[::step]
        return apart[None] if len(x) == 1 else apart[:, None] if x.shape[1] == 1 else x

    for step in 1, 2:
        a, b, out = spread(lying(m, k, "in order"), step), spread(lying(k, n, "in order"), step), np.empty((m, n), "f4")
        assert blas._layout(a) and blas._layout(b)
        blas.gemm(a, b, out)
        np.testing.assert_array_equal(out, a @ b)


@pytest.mark.parametrize("dtype", ["f8", "f2", "i8"])
def test_other_dtypes(dtype):
    a, b, out = (lying(3, 3, "in order").astype(dtype) for _ in range(3))
    expected = a @ b + out
    blas.gemm(a, b, out, add=True)
    np.testing.assert_array_equal(out, expected)
