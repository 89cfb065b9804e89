"""Creation: shapes, dtypes, and float32 unless told otherwise."""

import subprocess
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad.tensor import Tensor


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (mg.zeros(2), np.zeros(2, "f4")),
        (mg.ones((2, 3)), np.ones((2, 3), "f4")),
        (mg.full((), 7), np.array(7)),
        (mg.full(3, 2**31 + 1), np.full(3, 2**31 + 1)),
        (mg.full(2, np.int8(3)), np.array([3, 3])),
        (mg.full(2, True), np.array([True, True])),
        (mg.full(2, np.float64(1.5)), np.array([1.5, 1.5], "f4")),
        (mg.full(2, 7, "float32"), np.array([7, 7], "f4")),
        (mg.full(2, 7, "int64"), np.array([7, 7])),
        (mg.zeros((0, 2), "float64"), np.zeros((0, 2))),
        (mg.eye(2), np.eye(2, dtype="f4")),
        (mg.arange(3), np.arange(3)),
        (mg.arange(1, 7, 2), np.array([1, 3, 5])),
        (mg.arange(0, 1, 0.25), np.array([0, 0.25, 0.5, 0.75], "f4")),
        (mg.arange(3.0), np.arange(3, dtype="f4")),
        (mg.arange(2, dtype="float64"), np.arange(2.0)),
        (mg.full_like(Tensor([1.0, 2.0]), 5), np.full(2, 5, "f4")),
        (mg.zeros_like(Tensor([1, 2])), np.zeros(2, int)),
        (mg.ones_like(Tensor(np.ones(2, "f2"))), np.ones(2, "f2")),
    ],
)
def test_creation(made, expected):
    assert isinstance(made, Tensor) and made.device == "cpu" and not made.requires_grad
    assert made.dtype == expected.dtype
    np.testing.assert_array_equal(made.numpy(), expected)


def test_like_an_array_is_an_array():
    assert type(mg.ones_like(np.zeros(2))) is type(mg.full_like(np.zeros(2), 3)) is np.ndarray


@pytest.mark.parametrize("make", [mg.zeros, mg.ones, lambda *a, **k: mg.full(*a, 1.5, **k)])
def test_what_is_created_may_want_a_gradient(make):
    x = make((2, 2), requires_grad=True)
    mg.sum(x * 2).backward()
    assert x.grad.tolist() == [[2, 2], [2, 2]]


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device 'tpu' is not known"):
        mg.zeros(2, device="tpu")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: mg.zeros((2, 3), 4), r"zeros: a shape is one size or a tuple of sizes.*not \(\(2, 3\), 4\)"),
        (lambda: mg.ones(2, "float32", 3), r"ones: a shape is one size or a tuple of sizes.*not \(2, 'float32', 3\)"),
        (lambda: mg.zeros(-1), "zeros: a shape is one size or a tuple"),
        (lambda: mg.zeros(1.5), "zeros: a shape is"),
        (lambda: mg.zeros("a"), "zeros: a shape is"),
        (lambda: mg.ones((2, None)), "ones: a shape is"),
        (lambda: mg.eye("a"), "eye: a shape is"),
        (lambda: mg.zeros(3, "floot"), "zeros: 'floot' is not a dtype: type \"float32\""),
        (lambda: mg.ones(3, None), "ones: None is not"),
        (lambda: mg.full((2,), "a"), "full: the value is to be one number, not 'a'"),
        (lambda: mg.full((2,), None), "full: the value"),
        (lambda: mg.full_like(Tensor([1.0]), "a"), "full_like: the value"),
        (lambda: mg.arange("a"), "arange: start, stop and step"),
        (lambda: mg.arange(0, 1, 0), "arange: .*step not 0"),
        (lambda: mg.arange(3, dtype="floot"), "arange: 'floot' is not a dtype"),
    ],
)
def test_what_nothing_can_be_made_of(call, text):
    with pytest.raises(TypeError, match=text):
        call()


def test_bfloat16_by_its_name_and_numpys_sizes():
    """In a process of its own, where nobody has named bfloat16 before."""
    pytest.importorskip("ml_dtypes")
    code = "; ".join(
        [
            "import minigrad as mg",
            *(
                f'assert {x}.dtype.name == "bfloat16"'
                for x in (
                    'mg.zeros(3, dtype="bfloat16")',
                    'mg.full(2, 1.5, "bfloat16")',
                    'mg.eye(2, dtype="bfloat16")',
                    'mg.arange(3, dtype="bfloat16")',
                    'mg.tensor([1.0], "bfloat16")',
                )
            ),
        ]
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert mg.zeros((np.int64(2), np.int32(3))).shape == (2, 3) and mg.arange(np.int64(3)).dtype == np.int64


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: mg.full(2, -1, "uint8"), "full: -1 is no uint8, which goes from 0 to 255"),
        (lambda: mg.full(2, 2**31, "int32"), "full: 2147483648 is no int32"),
        (lambda: mg.full(2, np.nan, "int64"), "nan is no int64"),
        (lambda: mg.full_like(Tensor(np.zeros(2, np.uint8)), 256), "full_like: 256 is no uint8"),
        (lambda: mg.arange(0, -8, -4, "uint8"), "arange: -8 is no uint8"),
        (lambda: mg.arange(0.5, 3, dtype="int64"), "arange: 0.5, 3 and 1 are not whole, but int64 is"),
        (lambda: mg.arange(0, 3, 0.5, "int32"), "are not whole, but int32 is"),
    ],
)
def test_a_number_that_the_dtype_does_not_hold(call, text):
    with pytest.raises(ValueError, match=text):
        call()
    assert mg.full(2, 255, "uint8").tolist() == [255, 255] and mg.arange(0.0, 4.0, 2, "int32").tolist() == [0, 2]


@pytest.mark.parametrize("make", [lambda d: Tensor([1.0], dtype=d), lambda d: Tensor([1.0]).astype(d)])
@pytest.mark.parametrize("dtype", ["foo", "floatt", object, str, type("torch.float32", (), {})()])
def test_what_is_no_dtype_is_refused_with_the_names_of_dtypes(make, dtype):
    with pytest.raises(TypeError, match='is not a dtype: type "float32", "float64"'):
        make(dtype)


@pytest.mark.parametrize("make", [mg.zeros, mg.ones])
def test_sizes_one_by_one_or_a_dtype_after_the_shape(make):
    for sizes in ((), (2,), (2, 3), (2, 3, 4), (0, 3)):
        y = make(*sizes, dtype="int64") if sizes else make((), dtype="int64")
        assert y.shape == sizes and y.dtype == np.int64
        assert make(sizes, "float64").dtype == make(sizes, np.float64).dtype == np.float64
    assert make(shape=(2, 3)).shape == (2, 3) and make(np.int64(2), 3).shape == (2, 3) and make([2, 3]).shape == (2, 3)
    assert make(2, 3, requires_grad=True).requires_grad


def test_torchs_names_of_the_arguments():
    assert mg.zeros(size=(2, 3)).shape == mg.ones(size=(2, 3)).shape == (2, 3)
    assert mg.full(size=(2,), fill_value=3.0).tolist() == mg.full_like(mg.ones(2), fill_value=3.0).tolist() == [3, 3]
    assert mg.linspace(0, 1, steps=3).tolist() == [0, 0.5, 1] and mg.logspace(0, 2, steps=3).tolist() == [1, 10, 100]
    with pytest.raises(TypeError, match="two names of one option"):
        mg.zeros((2, 3), size=(2, 3))
    for x in (mg.ones((2, 3)), np.ones((2, 3), "f4")):
        for like, value in ((mg.zeros_like, 0), (mg.ones_like, 1), (lambda x, *a, **k: mg.full_like(x, 2, *a, **k), 2)):
            y = like(x, dtype="int64")
            assert type(y) is type(x) and y.dtype == np.int64 and y.tolist() == [[value] * 3] * 2
            assert like(x).dtype == like(x, None).dtype == np.float32 and like(x, requires_grad=True).requires_grad
    with pytest.raises(ValueError, match="full_like: -1 is no uint8"):
        mg.full_like(mg.ones(2), -1, "uint8")
