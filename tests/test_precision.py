"""The dtype an op computes in and that of its result: nothing drifts to float64, and 16 bits add up in float32."""

from importlib.util import find_spec

import numpy as np
import pytest

import minigrad as mg
from minigrad.execution import recording
from minigrad.precision import rounded, settled, uncast, widened
from minigrad.tensor import Tensor, grad


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        ("f4", "f4", "f4"),
        ("f2", "f4", "f4"),
        ("f4", "f8", "f8"),
        ("f2", "f2", "f2"),
        ("i8", "f4", "f4"),
        ("i4", "f2", "f2"),
        ("i8", "f8", "f8"),
        ("?", "f4", "f4"),
        ("i8", "i4", "i8"),
        ("?", "i4", "i4"),
    ],
)
def test_promotion(a, b, result):
    x, y = Tensor(np.ones(2, a)), Tensor(np.ones(2, b))
    assert (x + y).dtype == (y * x).dtype == (y.numpy() + x).dtype == result


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "bfloat16"])
@pytest.mark.parametrize(
    "scalar", [2, 2.5, True, np.float64(2.5), np.float32(2), np.int64(2)], ids=lambda s: type(s).__name__
)
def test_scalars_are_weak(dtype, scalar):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x = Tensor(np.ones(2, dtype))
    expected = "f4" if x.dtype.kind == "i" and isinstance(scalar, float | np.floating) else dtype
    for y in (
        x + scalar,
        scalar * x,
        x - scalar,
        scalar / x if expected == dtype != "i4" else x * scalar,
        mg.maximum(x, scalar),
    ):
        assert isinstance(y, Tensor) and y.dtype == expected


def test_whole_numbers_divided_and_averaged_are_float32():
    x = Tensor([1, 2])
    assert (x / x).dtype == (x / 2).dtype == mg.mean(x).dtype == mg.exp(x).dtype == np.float32
    assert (x + 1).dtype == mg.sum(x).dtype == np.int64
    assert (Tensor(np.ones(2, "i4")) ** 2).dtype == np.int32 and (x**0.5).dtype == np.float32


def test_a_gradient_has_the_dtype_of_its_leaf():
    x, w = Tensor(np.ones(2, np.float32), requires_grad=True), Tensor(np.ones(2, np.float64), requires_grad=True)
    for create_graph in (False, True):
        gx, gw = grad(mg.sum(x * w), [x, w], create_graph=create_graph)
        assert gx.dtype == np.float32 and gw.dtype == np.float64


HALVES = [
    "float16",
    pytest.param("bfloat16", marks=pytest.mark.skipif(not find_spec("ml_dtypes"), reason="no ml_dtypes")),
]


@pytest.mark.parametrize("dtype", HALVES)
def test_16_bits_are_added_up_in_float32_and_rounded_once(dtype):
    x = mg.ones(3000, dtype=dtype)
    assert x.sum().dtype == dtype and float(x.sum()) == float(mg.tensor(3000.0).to(dtype))
    assert float(mg.mean(x * 300)) == float(mg.tensor(300.0).to(dtype))  # the sum is beyond float16


def test_whole_numbers_add_up_in_int64_and_beside_floats_in_those():
    small = np.full((2, 300), 100, np.int8)
    assert mg.matmul(small, small.T).tolist() == [[3_000_000] * 2] * 2
    assert mg.matmul(small, small.T).dtype == mg.sum(small).dtype == np.int64
    assert mg.matmul(small, np.ones((300, 1), np.float16)).dtype == np.float16


def test_whole_numbers_are_float32_in_an_op_with_a_floating_result():
    for dtype in ("int8", "int64", "bool"):
        assert mg.exp(np.ones(2, dtype)).dtype == np.float32
    assert mg.sigmoid(np.array([100, -100], np.int8)).tolist() == pytest.approx([1, 0])


def test_widened_says_what_an_op_computes_in():
    half, single = np.ones(2, "f2"), np.ones(2, "f4")
    add, exp, take, product = mg.add.op, mg.exp.op, mg.maximum.op, mg.matmul.op
    assert widened(add, [half, half]) is None and widened(exp, [single]) is None
    for op, inputs, dtypes, result in [
        (add, [half, 0.1], ["float32", None], "float16"),
        (exp, [half], ["float32"], "float16"),
        (exp, [np.ones(2, "i4")], ["float32"], "float32"),
        (product, [np.ones((2, 2), "i1"), np.ones((2, 2), "?")], ["int64", "int64"], "int64"),
    ]:
        values, dtype = widened(op, inputs)
        assert [getattr(x, "dtype", None) for x in values] == dtypes and dtype == result
    assert not take.in_float32


def test_settled_and_rounded_change_floating_results_only():
    wide, whole = np.ones(2), np.ones(2, "i8")
    assert settled("op", wide, [np.ones(2, "f4"), whole]).dtype == np.float32
    assert settled("op", wide, [whole]).dtype == np.float32 and settled("op", whole, [wide]) is whole
    assert rounded(wide, np.dtype("f2")).dtype == np.float16 and rounded(whole, np.dtype("f2")) is whole


def test_uncast_ends_autocast_in_its_body_only():
    x = mg.ones((2, 2))
    with mg.autocast("float16"):
        with uncast(recording()):
            assert (x @ x).dtype == np.float32
        assert (x @ x).dtype == np.float16
