"""Each mistake is given its name, and the op it was made in."""
import numpy as np
import pytest

import minigrad as mg
from minigrad import ops
from minigrad.checking import GradientError, gradcheck
from minigrad.checking.diagnose import KINDS

rng = np.random.default_rng(0)
X, SQUARE = rng.standard_normal((2, 3)), rng.standard_normal((3, 3))


def wrong(f, inputs, **options):
    with pytest.raises(GradientError) as caught:
        gradcheck(f, inputs, **options)
    assert caught.value.cause is None or caught.value.cause in KINDS
    return caught.value


def sine(rule):
    """sin, with another gradient."""
    @mg.primitive
    def sine(xp, x, /):
        return xp.sin(x)
    sine.defvjp(x=rule)
    return sine


NOISE = np.random.default_rng(0)
RULES = {
    "sign": lambda g, x: -g * ops.cos(x),
    "factor": lambda g, x: 2.5 * g * ops.cos(x),
    "mean": lambda g, x: g * ops.cos(x) / 6,
    "transposed": lambda g, x: ops.reshape(ops.transpose(g * ops.cos(x)), (2, 3)),
    "shifted": lambda g, x: ops.flip(g * ops.cos(x), 1),
    "zero": lambda g, x: g * 0,
    "infinite": lambda g, x: g / np.zeros(()),
    "dtype": lambda g, x: ops.astype(ops.astype(g * ops.cos(x), "float32"), "float64"),
    "random": lambda g, x: g * ops.cos(x) * NOISE.random(),
}


@pytest.mark.parametrize("cause", RULES)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_the_cause_is_named_with_the_op_and_the_line(cause):
    error = wrong(lambda x: mg.exp(sine(RULES[cause])(x * 0.5)) + 1, X)
    assert (error.cause, error.op, error.op_input) == (cause, "sine", "x")
    assert error.line.startswith("test_checking_diagnose.py:") and "origin: the rule of sine for its input 'x'" in str(error)


@pytest.mark.parametrize(("c", "said"), [
    (2, "is 2 times"), (0.5, "1/2 times"), (-5, "-5 times what it should be, the sign included"), (1.0001, "1.0001 times"),
    (1 / 3, "1/3 times.*3 is the count of axis 1 of the input: divided"), (3, "the 1/n of a mean was forgotten")])
def test_a_factor_is_spelled_out(c, said):
    with pytest.raises(GradientError, match=said):
        gradcheck(sine(lambda g, x: g * ops.cos(x) * c), X)


def test_a_real_transpose():
    @mg.primitive
    def product(xp, a, b, /):
        return a @ b
    product.defvjp(a=lambda g, b: g @ b, b=lambda g, a: ops.transpose(ops.swapaxes(a, 0, 1) @ g))
    assert wrong(product, [SQUARE, SQUARE + 1]).cause is None             # not the transpose of the gradient, but of a factor
    assert wrong(lambda b: product(SQUARE, b), SQUARE).cause == "transposed"


def test_another_inputs_gradient():
    @mg.primitive
    def product(xp, a, b, /):
        return a * b
    product.defvjp(a=lambda g, a: g * a, b=lambda g, b: g * b)
    error = wrong(product, [X, X + 1])
    assert (error.cause, error.input) == ("neighbour", "input 0") and "the gradient of b" in str(error)


def test_lost_parts_of_a_sum():
    @mg.primitive
    def rows(xp, x, /, ids):
        return x[ids]

    def assigned(g, x_shape, ids):
        out = np.zeros(x_shape)
        out[ids] = g.data if isinstance(g, mg.Tensor) else g
        return out if not isinstance(g, mg.Tensor) else mg.Tensor(out)
    rows.defvjp(x=assigned)
    gradcheck(lambda x: rows(x, np.array([2, 0])), SQUARE)
    assert wrong(lambda x: rows(x, np.array([2, 0, 2])), SQUARE).cause == "duplicates"

    @mg.primitive
    def shift(xp, x, b, /):
        return x + b
    shift.defvjp(x=lambda g: g, b=lambda g: g[0])
    error = wrong(shift, [X, X[0]])
    assert (error.cause, error.input, error.wrong) == ("broadcast", "input 1", 3)


def test_a_gradient_lost_between_ops_is_no_ops_fault():
    error = wrong(lambda x: mg.sin(x) * mg.cos(x).detach(), X)
    assert error.op is None and "the rules of all ops on the tape are right" in str(error)
    assert wrong(lambda x: mg.sin(x.detach()), X).cause == "zero"


def test_what_does_not_compute_in_float64_is_refused_and_the_op_named():
    error = wrong(lambda x: mg.sin(mg.astype(x, "float32")), X)
    assert error.cause == "dtype" and "float32" in str(error) and error.op == "astype"
    inside = wrong(lambda x: mg.astype(mg.astype(x, "float16"), "float64") * 2, X)
    assert inside.cause == "dtype"


def test_a_random_function_is_said_to_be_random():
    noise = np.random.default_rng(0)
    error = wrong(lambda x: x * noise.random(), X)
    assert error.cause == "random" and "the function is not the same when computed twice" in str(error)


def test_a_kink_is_said_and_only_what_lies_outside_its_two_slopes_is_wrong():
    from minigrad.checking import KinkWarning
    x = np.array([[-1.0, 0.0, 2.0]])
    with pytest.warns(KinkWarning, match=r"relu has a kink at input 0 at \[0, 1\]"):
        report = gradcheck(mg.relu, x, order=2)
    assert report.kinks == ("input 0 at [0, 1]",)
    with pytest.warns(KinkWarning, match=r"input 0 at \[0\].*input 0 at \[2\]"):
        gradcheck(mg.max, np.array([1.0, 0.5, 1.0]))

    @mg.primitive
    def hinge(xp, x, /):
        return xp.maximum(x, 0)
    hinge.defvjp(x=lambda g, x: g * (x > 0) + g * (x == 0) * 1.5)
    error = wrong(hinge, x)
    assert (error.cause, error.index, error.wrong) == ("kink", (0, 1), 1)


@pytest.mark.filterwarnings("ignore::minigrad.checking.KinkWarning")
@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 4.5e-6, 3e-6, 1e-6, 1e-9, 1e-12])
def test_near_a_kink_is_not_at_a_kink(distance):
    for f in (mg.relu, mg.abs, lambda x: mg.max(mg.stack([x, x * x + x])), lambda x: mg.relu(mg.sin(x) * 3)):
        for x in (distance, -distance):
            assert gradcheck(f, np.array(x)).kinks == ()
            assert gradcheck(lambda x, f=f: f(x - 1), np.array(1 + x)).worst <= 1    # x itself does not tell how near


@pytest.mark.parametrize(("rule", "cause", "said"), [
    (lambda g, x: np.ones(5), "shape", r"its gradient has shape \(5,\), and the input \(2, 3\)"),
    (lambda g, x: ops.sum(g), "shape", r"has shape \(\)"),
    (lambda g, x: ops.reshape(g, (6,)), "shape", r"has shape \(6,\)"),
    (lambda g, x: ops.transpose(g), "transposed", "it is transposed"),
    (lambda g, x: 1.0, "shape", "is a float, not an array"),
    (lambda g, x: (g,), "shape", "is a tuple, not an array"),
    (lambda g, x: g * np.cos(x), "raises", "write it with mg.exp, not np.exp"),
    (lambda g, x: g @ x, "raises", "the rule raises ValueError: matmul"),
])
def test_a_rule_that_gives_nothing_to_compare(rule, cause, said):
    with pytest.raises(GradientError, match=said) as caught:
        gradcheck(lambda x: mg.exp(sine(rule)(x)), X)
    assert (caught.value.cause, caught.value.op) == (cause, "sine") and "test_checking_diagnose.py" in caught.value.line


def test_a_part_without_a_gradient_is_called_that_first():
    error = wrong(sine(lambda g, x: g * ops.cos(x) * np.array([1, 1, 0])), X)
    assert error.cause == "zero" and "in these entries" in str(error) and "0 times" not in str(error)


def test_no_pattern_is_made_up():
    error = wrong(sine(lambda g, x: g * x), X)
    assert error.cause is None and "none of the standard mistakes" in str(error)
