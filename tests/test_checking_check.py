"""The checker passes what is right, at every order, and says which entry of what is wrong."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import ops
from minigrad.backend import Kernel, host
from minigrad.checking import GradientError, gradcheck
from minigrad.primitive import definition
from minigrad.tensor import Tensor

X = np.array([[0.3, -1.2, 2.0], [0.7, 0.1, -0.4]])


def wrong(rule):
    """sin, with another gradient."""

    @mg.primitive
    def wrong_sin(xp, x, /):
        return xp.sin(x)

    wrong_sin.defvjp(x=rule)
    return wrong_sin


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_what_is_right_passes(order):
    assert gradcheck(lambda x, y: mg.tanh(x) @ y * mg.sum(x), [X, X.T.copy()], order=order, every_entry=order == 1)


def test_inputs_may_be_one_or_many_tensors_or_arrays_of_any_dtype():
    assert (
        gradcheck(mg.sin, X)
        and gradcheck(mg.sin, [Tensor(X)])
        and gradcheck(ops.multiply, (X.astype("f4"), Tensor([1.0, 2.0, 3.0])))
    )
    assert mg.gradcheck is gradcheck


def test_what_is_constant_passes_and_what_only_claims_to_be_does_not():
    gradcheck(mg.sign, X, order=2)
    gradcheck(mg.sum, X, order=4)
    with pytest.raises(GradientError):
        gradcheck(lambda x: mg.sin(x.detach()), X)


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, x: -g * ops.cos(x),  # sign
        lambda g, x: g * ops.cos(x) * 1.0001,  # constant factor
        lambda g, x: g * ops.cos(x) + 1e-4,
        lambda g, x: g * ops.cos(x) * (x < 1.5),  # one entry
        lambda g: g,
    ],
)
def test_what_is_wrong_is_found(rule):
    with pytest.raises(
        GradientError, match=r"wrong_sin: the gradient of input 0 at \[\d, \d\] is .*, finite differences say"
    ):
        gradcheck(wrong(rule), X)


def test_the_entry_that_is_wrong_is_named_with_both_values():
    bump = np.zeros_like(X)
    bump[1, 2] = 0.5
    with pytest.raises(GradientError, match=r"at \[1, 2\]") as caught:
        gradcheck(wrong(lambda g, x: g * (ops.cos(x) + bump)), X)
    said, numeric = (
        float(word) for word in str(caught.value).replace(",", " ").split() if _is_number(word) and "." in word
    )
    assert said / numeric == pytest.approx((np.cos(-0.4) + 0.5) / np.cos(-0.4), rel=1e-6)


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return True


def test_the_input_that_is_wrong_is_named():
    with pytest.raises(GradientError, match="of input 1 at"):
        gradcheck(lambda a, b: a * wrong(lambda g, x: 2 * g * ops.cos(x))(b), [X, X])


def test_right_once_but_not_twice():
    f = wrong(lambda g, x: g * np.cos(x.data if isinstance(x, Tensor) else x))  # the dependence on x is lost
    gradcheck(f, X)
    with pytest.raises(GradientError, match=r"the gradient of wrong_sin: the gradient of input 0"):
        gradcheck(f, X, order=2)


def test_arguments_that_are_not_in_a_list_are_told_where_they_belong():
    with pytest.raises(TypeError, match=r"order .* of ndarray: .* gradcheck\(f, \[a, b\]\)"):
        gradcheck(lambda a, b: a * b, X, X)
    assert gradcheck(mg.sin, X, order=np.int64(2))


def test_a_kernel_that_is_wrong_and_a_meaning_that_is_wrong(monkeypatch):
    @definition
    def meaning(x, /):
        return x * x

    meaning.op.builtin = True  # a kernel serves only the op it was written for
    monkeypatch.setitem(
        host.kernels, "meaning", Kernel(lambda xp, x: (x * x, x), lambda xp, g, x, wanted: (3 * g * x,))
    )
    with pytest.raises(GradientError, match="meaning: the gradient of input 0"):
        gradcheck(meaning, X)
    monkeypatch.setitem(
        host.kernels, "meaning", Kernel(lambda xp, x: (x**3, x), lambda xp, g, x, wanted: (3 * g * x * x,))
    )
    with pytest.raises(GradientError, match="meaning: the gradient that can be differentiated again of input 0"):
        gradcheck(meaning, X)


def test_a_small_error_in_a_large_input_is_not_lost_in_the_sum():
    x = np.random.default_rng(0).standard_normal((100, 100))
    bump = np.zeros_like(x)
    bump[17, 5] = 0.01
    with pytest.raises(GradientError, match=r"17, 5"):
        gradcheck(wrong(lambda g, x: g * (ops.cos(x) + bump)), x)


def test_every_entry_means_every_entry():
    x = np.linspace(0.1, 1, 1000)
    bump = np.zeros_like(x)
    bump[900] = 1e-8  # too small to be seen along one direction in all of them
    f = wrong(lambda g, x: g * (ops.cos(x) + bump))
    with pytest.raises(GradientError, match=r"at \[900\]") as caught:
        gradcheck(f, x, every_entry=True)
    assert caught.value.wrong == 1


def test_wrong_everywhere_in_a_large_input_is_told_soon():
    x = np.random.default_rng(0).standard_normal((90, 90))
    with pytest.raises(GradientError, match="entries measured, of 8100 in all, are wrong") as caught:
        gradcheck(wrong(lambda g, x: -g * ops.cos(x)), x)
    assert caught.value.cause == "sign"


@pytest.mark.parametrize("inner", [lambda f: f, lambda f: lambda x: x * x + f(x)])
def test_a_primitive_that_writes_into_its_input_is_refused(inner):
    @mg.primitive
    def doubled(xp, x, /):
        x *= 2
        return x

    doubled.defvjp(x=lambda g: g * 2)
    with pytest.raises(ValueError, match="writes into input 0.*compute a new array"):
        mg.gradcheck(inner(doubled), np.ones((2, 3)))
