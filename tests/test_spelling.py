"""How ops are called: signatures of their own, NumPy's and torch's names of options, and axes of any kind."""

import inspect

import numpy as np
import pytest

import minigrad as mg
from minigrad.spelling import parameters, torch_spelling, translated, whole


def test_an_op_has_its_own_signature():
    assert str(inspect.signature(mg.matmul)) == "(a, b, /)"
    assert str(inspect.signature(mg.softmax)) == "(x, /, axis=-1, **also)"
    assert (mg.softmax.__name__, mg.softmax.__doc__) == ("softmax", mg.softmax.op.function.__doc__)
    with pytest.raises(TypeError, match="positional"):
        mg.matmul(np.ones((1, 1)))
    with pytest.raises(TypeError, match="unexpected keyword"):
        mg.exp(1.0, base=2)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: mg.sum(x, dim=1), [6, 15]),
        (lambda x: mg.sum(x, dim=-1, keepdim=True), [[6], [15]]),
        (lambda x: mg.sum(x, [0, 1]), 21),
        (lambda x: mg.sum(x, dim=(0, 1)), 21),
        (lambda x: mg.sum(x, np.int64(0)), [5, 7, 9]),
        (lambda x: mg.sum(x, keepdim=True), [[21]]),
        (lambda x: mg.max(x, 1), [3, 6]),
        (lambda x: mg.mean(x, dim=0), [2.5, 3.5, 4.5]),
        (lambda x: mg.argmax(x, dim=1), [2, 2]),
        (lambda x: x.sum(dim=0), [5, 7, 9]),
    ],
)
def test_both_spellings(call, expected):
    assert call(mg.Tensor([[1.0, 2, 3], [4, 5, 6]])).tolist() == expected


@pytest.mark.parametrize("op", [mg.sum, mg.max, mg.softmax, mg.logsumexp])
def test_a_single_number_has_one_axis(op):
    for axis in (0, -1, (0,), np.int64(0)):
        assert op(mg.tensor(3.0), axis).shape == () and op(3.0, axis).shape == ()
    with pytest.raises((ValueError, IndexError), match="axis 1|out of bounds"):
        op(mg.tensor(3.0), 1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: mg.sum(x, 0, dim=1), r"sum\(\) was given axis=0 and dim=1, two names of one option"),
        (lambda x: mg.softmax(x, axis=0, dim=1), r"softmax\(\) was given axis=0 and dim=1"),
        (lambda x: mg.mean(x, axis=0, dim=1), r"mean\(\) was given axis=0 and dim=1"),
        (lambda x: mg.sum(x, keepdims=True, keepdim=True), r"keepdims=True and keepdim=True"),
        (lambda x: mg.sum(x, axes=0), r"sum\(\) has no option 'axes'; it has axis, keepdims"),
        (lambda x: mg.sum(x, True), "sum: an axis is one whole number, not True"),
        (lambda x: mg.sum(x, 1.0), "sum: an axis is one whole number, not 1.0"),
        (lambda x: mg.sum(x, (0, "1")), "sum: an axis is one whole number, not '1'"),
    ],
)
def test_what_is_refused(call, text):
    with pytest.raises(TypeError, match=text):
        call(mg.ones((2, 2)))


def test_the_default_may_be_given_by_one_name():
    x = mg.Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert mg.softmax(x, dim=0).tolist() == mg.softmax(x, 0).tolist() == mg.softmax(x, axis=0).tolist()
    assert translated("op", ["axis", "keepdims"], (None, False), {"dim": 1, "keepdim": True}) == (1, True)


def test_a_function_of_ops_takes_both_spellings_too():
    @torch_spelling
    def last(x, axis=-1, keepdims=False):
        return axis, keepdims

    assert last(0, dim=2) == (2, False) and last(0, 1, keepdim=True) == (1, True) and last(0) == (-1, False)
    with pytest.raises(TypeError, match=r"last\(\) was given axis=1 and dim=2"):
        last(0, 1, dim=2)


def test_parameters_are_those_left_and_right_of_the_slash():
    def op(xp, a, b, /, axis=0):
        return axis

    assert parameters(op, "x, /") == (["xp", "a", "b"], ["axis"])
    for wrong in (lambda x: x, lambda *xs: xs, lambda x, /, *, option=1: x, lambda x, /, **options: x):
        with pytest.raises(TypeError, match="inputs stand left of a slash"):
            parameters(wrong, "x, /")
    with pytest.raises(TypeError, match="an op is made of a function written with def"):
        parameters(np.exp, "x, /")


def test_whole():
    assert whole("op", np.int8(3)) == 3 and type(whole("op", np.int8(3))) is int
    with pytest.raises(TypeError, match="op: an axis is one whole number, not None"):
        whole("op", None)
