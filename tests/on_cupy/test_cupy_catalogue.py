"""Every row of the catalogue on CuPy: values and gradients of both orders, by meaning and by kernel, are what NumPy
gives.
"""

import numpy as np
import pytest
from two_backends import NAMED, NO_GRADIENT, assert_same, kernel_rows, only, run

from minigrad import backend
from minigrad.backend.shared import table as SHARED

INSTALLED = dict(backend.get("cuda").kernels)
# the twins of CUDA kernels
REPLACED = {name: kernel for name, kernel in SHARED.items() if INSTALLED[name] is not kernel}


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("row", NAMED)
def test_what_an_op_means(row):
    second = row.op not in NO_GRADIENT
    with only("cuda", {}), only("cpu", {}):
        assert_same(run(row, "f4", "cuda", second), run(row, "f4", "cpu", second), 2e-5)


def kernel_cases():
    for dtype, tolerance in (("f8", 1e-12), ("f4", 1e-5), ("f2", 1e-2), ("bfloat16", 6e-2)):
        for name, table in (("installed", INSTALLED), ("replaced", REPLACED)):
            if (dtype, name) != ("bfloat16", "replaced"):  # CuPy's own products and sums do not know it
                for p in kernel_rows(table):
                    yield pytest.param(p.values[0], table, dtype, tolerance, id=f"{dtype}-{p.id}-{name}")


@pytest.mark.parametrize(("row", "table", "dtype", "tolerance"), [*kernel_cases()])
def test_a_kernel_is_what_the_op_means(row, table, dtype, tolerance):
    with only("cuda", table), only("cpu", {}):
        assert_same(run(row, dtype, "cuda"), run(row, dtype, "cpu"), tolerance)
