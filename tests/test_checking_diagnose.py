"""Each mistake is given its name, and the op it was made in."""

import re
from itertools import product

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
    assert error.line.startswith("test_checking_diagnose.py:") and "origin: the rule of sine for its input 'x'" in str(
        error
    )


@pytest.mark.parametrize(
    ("c", "said"),
    [
        (2, "is 2 times"),
        (0.5, "1/2 times"),
        (-5, "-5 times what it should be, the sign included"),
        (1.0001, "1.0001 times"),
        (1 / 3, "1/3 times.*3 is the count of axis 1 of the input: divided"),
        (3, "the 1/n of a mean was forgotten"),
    ],
)
def test_a_factor_is_spelled_out(c, said):
    with pytest.raises(GradientError, match=said):
        gradcheck(sine(lambda g, x: g * ops.cos(x) * c), X)


def test_a_real_transpose():
    @mg.primitive
    def product(xp, a, b, /):
        return a @ b

    product.defvjp(a=lambda g, b: g @ b, b=lambda g, a: ops.transpose(ops.swapaxes(a, 0, 1) @ g))
    assert wrong(product, [SQUARE, SQUARE + 1]).cause is None  # not the transpose of the gradient, but of a factor
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
            assert gradcheck(lambda x, f=f: f(x - 1), np.array(1 + x)).worst <= 1  # x itself does not tell how near


@pytest.mark.parametrize(
    "f",
    [
        mg.linalg.eigvalsh,
        lambda x: mg.linalg.eigvalsh(x, "U"),
        lambda x: mg.linalg.eigh(x).eigenvectors ** 2,
        mg.linalg.cholesky,
        lambda x: mg.linalg.cholesky(x, upper=True),
    ],
)
@pytest.mark.parametrize("stack", [(), (2,)])
def test_a_function_of_symmetric_matrices_asks_for_symmetric_ones(f, stack):
    rows = np.random.default_rng(0).standard_normal((*stack, 3, 3))
    x = rows @ rows.swapaxes(-1, -2) + np.diag([1.0, 2, 3])
    assert wrong(f, x).cause == "symmetric"
    with pytest.raises(GradientError, match=r"symmetrise the input, lambda x: f\(\(x \+ x.swapaxes\(-1, -2\)\) / 2\)"):
        gradcheck(f, x)
    assert gradcheck(lambda x: f((x + x.swapaxes(-1, -2)) / 2), x, order=2)


@pytest.mark.parametrize(
    ("rule", "cause", "said"),
    [
        (lambda g, x: np.ones(5), "shape", r"its gradient has shape \(5,\), and the input \(2, 3\)"),
        (lambda g, x: ops.sum(g), "shape", r"has shape \(\)"),
        (lambda g, x: ops.reshape(g, (6,)), "shape", r"has shape \(6,\)"),
        (lambda g, x: ops.transpose(g), "transposed", "it is transposed"),
        (lambda g, x: 1.0, "shape", "is a float, not an array"),
        (lambda g, x: (g,), "shape", "is a tuple, not an array"),
        (lambda g, x: g * np.cos(x), "raises", "write it with mg.exp, not np.exp"),
        (lambda g, x: g @ x, "raises", "the rule raises ValueError: matmul"),
    ],
)
def test_a_rule_that_gives_nothing_to_compare(rule, cause, said):
    with pytest.raises(GradientError, match=said) as caught:
        gradcheck(lambda x: mg.exp(sine(rule)(x)), X)
    assert (caught.value.cause, caught.value.op) == (cause, "sine") and "test_checking_diagnose.py" in caught.value.line


def test_a_part_without_a_gradient_is_called_that_first():
    error = wrong(sine(lambda g, x: g * ops.cos(x) * np.array([1, 1, 0])), X)
    assert error.cause == "zero" and "in these entries" in str(error) and "0 times" not in str(error)


@pytest.mark.parametrize("extra", [1e6, 0.0, 1.0])
@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (np.floor, 0),
        (np.ceil, 0),
        (lambda x: np.round(x - 0.5), 0),
        (np.sign, 0),
        (lambda x: (x >= 1) * 3.0 + x, 1),
        (lambda x: np.where(x > 1, 1e-3, 0) + x, 1),
    ],
)
def test_at_a_jump_no_gradient_is_right(f, slope, extra):
    at = 0.0 if f is np.sign else 1.0
    for x in (np.array([at, 2.7]), np.r_[np.linspace(3.01, 3.4, 400), at]):
        error = wrong(f, x, vjp=lambda g, x: g * (slope + extra * (x == at)))
        assert error.cause == "jump" and "jumps here" in str(error)


def test_away_from_a_jump_the_gradient_counts():
    x = np.array([1.2, 2.7, -0.3])
    assert gradcheck(np.floor, x, vjp=lambda g, x: 0 * g)
    assert gradcheck(lambda x: np.sign(x) * x, x, vjp=lambda g, x: g * np.sign(x))
    assert wrong(lambda x: np.floor(x) + x, x, vjp=lambda g, x: g * 1.001).cause == "factor"


@pytest.mark.parametrize("speed", [1e2, 3e3, 1e4, 1e5])
def test_a_fast_function_is_measured_with_shorter_steps(speed):
    for x in (X, np.random.default_rng(1).standard_normal(1000)):
        assert gradcheck(lambda x: mg.sin(x * speed), x).worst <= 1
        assert gradcheck(lambda x: np.sin(x * speed), x, vjp=lambda g, x: speed * g * np.cos(x * speed))
        wrong(lambda x: np.sin(x * speed), x, vjp=lambda g, x: 1.001 * speed * g * np.cos(x * speed))


@pytest.mark.parametrize("speed", [1e9, 1e11, 1e12, 1e15, 1e17])
def test_of_what_moves_faster_than_any_step_nothing_is_said(speed):
    """At every step the differences are those of a noise, which agree with no gradient and prove none wrong."""
    last_digit = speed >= 1e11
    for x, seed in product((X, np.random.default_rng(1).standard_normal(1000)), range(3)):
        errors = [
            wrong(lambda x: np.sin(speed * x.real), x, vjp=lambda g, x: speed * g * np.cos(speed * x), seed=seed),
            wrong(lambda x: mg.sin(speed * x), x, seed=seed),
        ]
        for error in errors:
            assert error.cause == "unclear" and "may be right or wrong" in str(error)
            assert "are wrong" not in str(error) and "rule of" not in str(error)
            assert ("the last digit of the inputs" in str(error)) == last_digit
    assert "values of sin, as a function of its input 'x'" in str(wrong(lambda x: mg.sin(x), speed * X))


@pytest.mark.parametrize("large", [1e9, 1e12, 1e17])
def test_a_gradient_that_promises_the_impossible_of_a_smooth_function_is_wrong(large):
    error = wrong(np.sin, X, vjp=lambda g, x: large * g * np.cos(x))
    assert error.wrong == X.size and error.cause in ("factor", None)
    assert wrong(lambda x: x * large, X, vjp=lambda g, x: 2 * large * g).cause == "factor"
    assert wrong(lambda x: large * (x - 1), np.ones(3), vjp=lambda g, x: 1.05 * large * g).cause == "factor"


def test_at_the_edge_of_the_domain_the_gradient_cannot_be_checked():
    """x ** 1.5 has the slope 0 at 0, but from one side only; |x| ** 1.5 has it from both."""
    x = np.array([1.0, 0.0, 2.0])
    for error in (wrong(lambda x: x**1.5, x), wrong(lambda x: x**1.5, x, vjp=lambda g, x: 1.5 * g * x**0.5)):
        assert error.cause == "infinite" and error.index == (1,) and "edge of the function's domain" in str(error)
    assert gradcheck(lambda x: mg.abs(x) ** 1.5, x) and gradcheck(lambda x: x**1.5, x + 1e-3)
    assert "edge" not in str(wrong(lambda x: 1 / x, x, vjp=lambda g, x: np.where(x == 0, 0, -g / x**2)))


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e12])
def test_a_function_is_measured_at_the_size_of_its_input(size):
    x = size * np.array([0.3, -1.2, 2.0])
    assert gradcheck(lambda x: (x**2).sum(), x) and gradcheck(lambda x: (x**2).sum(), x, gradient=lambda x: 2 * x)
    error = wrong(lambda x: (x**2).sum(), x, gradient=lambda x: 3 * x)
    assert error.cause == "factor" and error.analytic == pytest.approx(1.5 * error.numeric)


def test_the_numbers_shown_are_those_of_the_users_function():
    error = wrong(lambda x: (x**2).sum(), np.array([2.0, 1.0]), gradient=lambda x: -2 * x)
    assert (error.index, error.analytic) == ((0,), -4.0) and error.numeric == pytest.approx(4.0, rel=1e-12)
    error = wrong(lambda x: np.sin(x), X, vjp=lambda g, x: -g * np.cos(x))
    assert error.numeric == pytest.approx(np.cos(X[error.index]), rel=1e-12)
    assert f"(of the output at {list(error.index)})" in str(error)
    assert error.analytic == pytest.approx(-error.numeric)
    error = wrong(lambda x: (x.sum(1), x * x), X, vjp=lambda gs, x: gs[0][:, None] + gs[1] * x)
    assert "(of output[1] at" in str(error) and error.analytic == pytest.approx(X[error.index])
    many = np.random.default_rng(0).standard_normal(20_000)
    assert "a sum of the 20000 outputs with random weights" in str(wrong(np.sin, many, vjp=lambda g, x: -g * np.cos(x)))


@pytest.mark.parametrize(
    ("f", "x", "vjp"),
    [
        (lambda x: (x * x).sum(0), [SQUARE], lambda g, x: 2 * x * g[:, None]),
        (lambda x: x.cumsum(0), [SQUARE], lambda g, x: g[:, ::-1].cumsum(1)[:, ::-1]),
        (lambda x, b: x + b, [SQUARE, SQUARE[0]], lambda g, x, b: (g, g.sum(1))),
        (lambda x: np.exp(x).mean(1, keepdims=True), [SQUARE], lambda g, x: np.exp(x) * g.T / 3),
        (lambda x: (x**3).sum(1), [np.stack([SQUARE, SQUARE + 1])], lambda g, x: 3 * x**2 * g[:, :, None]),
    ],
)
def test_a_sum_over_the_wrong_axis_of_a_square(f, x, vjp):
    error = wrong(f, x, vjp=vjp)
    assert "axis" in [cause.kind for cause in error.causes] and "along the wrong one" in str(error)


def test_a_forgotten_g():
    error = wrong(sine(lambda g, x: ops.cos(x)), X)
    assert (error.cause, error.op) == ("upstream", "sine") and "forgot to multiply by g" in str(error)
    assert wrong(np.sin, X, vjp=lambda g, x: np.cos(x)).cause == "upstream"
    assert "is not proportional" in str(wrong(np.sin, X, vjp=lambda g, x: g * g * np.cos(x)))
    assert all(cause.kind != "upstream" for cause in wrong(np.sin, X, vjp=lambda g, x: g * x).causes)


def test_a_small_factor_is_not_called_float32():
    error = wrong(np.sin, X, vjp=lambda g, x: g * np.cos(x) * (1 + 1e-6))
    assert [cause.kind for cause in error.causes] == ["factor"] and "1.000001 times" in str(error)


def test_an_error_too_small_for_any_entry_is_told_of_all_together():
    def norm(x):  # next to 1e6 one entry, of slope 0.01, can be measured to 1e-7 or so
        return 1e6 + float(np.sqrt((x * x).sum()))

    x = np.random.default_rng(0).standard_normal(10_000)
    gradcheck(norm, x, gradient=lambda x: x / np.linalg.norm(x))
    error = wrong(norm, x, gradient=lambda x: x / np.linalg.norm(x) * (1 + 2e-6))
    assert error.cause == "together" and re.search(r"along a random direction in \d+ entries is", str(error))


def test_no_pattern_is_made_up():
    error = wrong(sine(lambda g, x: g * x), X)
    assert error.cause is None and "none of the standard mistakes" in str(error)
