"""An op is made by one decorator, binds its arguments like a function, and explains what went wrong."""

import inspect

import numpy as np
import pytest

import minigrad as mg
from minigrad import backend, ops
from minigrad.backend import Kernel
from minigrad.checking import gradcheck
from minigrad.primitive import OPS
from minigrad.tensor import Tensor, grad


def cube():
    @mg.primitive
    def cube(xp, x, /, scale=1.0):
        """scale · x³."""
        return scale * x**3

    cube.defvjp(x=lambda g, x, scale: g * (3 * scale * x * x))
    return cube


def test_a_primitive_is_differentiable_to_every_order():
    f = cube()
    gradcheck(f, np.array([1.0, -2, 0.5]), order=4)
    gradcheck(lambda x: f(x, 2.0) + f(x, scale=3.0), np.array([1.0, -2]), order=2)
    assert "cube" not in OPS  # that is for the package


def test_a_definition_is_differentiable_to_every_order():
    @mg.definition
    def mix(x, y, /, power=2):
        return x**power * mg.sin(y)

    gradcheck(lambda x, y: mix(x, y, 3), [np.array([1.0, 2]), np.array([0.5])], order=3)
    gradcheck(lambda x: mix(x, x), np.array([1.0, 2]), order=3)


def test_an_op_reads_as_the_function_it_was_made_of():
    f = cube()
    assert (f.__name__, f.__doc__, str(inspect.signature(f))) == ("cube", "scale · x³.", "(x, /, scale=1.0)")
    assert str(inspect.signature(mg.sum)).startswith("(x, /, axis=None, keepdims=False")
    with pytest.raises(TypeError):
        f()
    with pytest.raises(TypeError):
        f(Tensor([1.0]), power=2)


def test_an_input_without_a_rule_gets_no_gradient():
    @mg.primitive
    def first(xp, a, b, /):
        return a + 0 * b

    first.defvjp(a=lambda g: g)
    a, b = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    assert [g.tolist() for g in grad(first(a, b), [a, b])] == [[1], [0]]


def test_an_op_without_rules_is_refused_once_a_gradient_is_wanted():
    @mg.primitive
    def step(xp, x, /):
        return xp.sign(x)

    assert step(Tensor([-2.0])).tolist() == [-1]
    with mg.no_grad():
        assert step(Tensor([-2.0], requires_grad=True)).tolist() == [-1]
    with pytest.raises(
        TypeError, match=r"step has no derivative.*step.defvjp\(x=lambda g: …\), or step.defvjp\(\) if.*constant"
    ):
        step(Tensor([1.0], requires_grad=True))
    step.defvjp()
    assert not step(Tensor([1.0], requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    "rule", [{"z": lambda g: g}, {"x": lambda g, z: g}, {"scale": lambda g: g}, {"x": lambda g, scale_shape: g}]
)
def test_a_rule_may_ask_for_what_the_op_has_and_no_more(rule):
    with pytest.raises(
        TypeError, match=r"cube: the rule for .* asks for .*one of \['x'\].*\['scale', 'x', 'x_shape', 'y'\]"
    ):
        cube().defvjp(**rule)


def test_a_node_keeps_what_the_rules_name_in_a_tuple():
    x, w = Tensor(np.array([1.0, 2.0]), requires_grad=True), Tensor(np.array([3.0, 4.0]))
    assert (x + 1).node.saved == ()
    assert (x * w).node.saved == (w.data,)  # the array itself: a tuple compares by identity first
    assert mg.sin(x).node.saved == (x.data,)
    assert x.reshape(2, 1).node.saved == ((2,),)


def test_an_input_may_not_have_the_name_of_the_output():
    """A rule that asks for y could not say which."""
    with pytest.raises(TypeError, match="clash: .*'y'"):

        @mg.primitive
        def clash(xp, x, y, /):
            return x + y

    OPS.pop("clash", None)


def test_a_rule_can_be_mended_after_the_op_was_used():
    f, x = cube(), Tensor([2.0], requires_grad=True)
    f(x).backward()
    f.defvjp(x=lambda g: g * 7)
    x.grad = None
    f(x).backward()
    assert x.grad.tolist() == [7]


def test_bare_arrays_and_numbers_stay_what_they_are():
    f = cube()
    assert type(f(np.ones(2))) is np.ndarray and f(np.ones(2, np.float32)).dtype == np.float32
    assert type(f(np.array(2.0))) is np.ndarray  # where NumPy itself would give a scalar
    assert isinstance(f(2.0), Tensor) and f(2.0).dtype == np.float32 and isinstance(f([1.0, 2.0]), np.ndarray)
    assert isinstance(ops.add([1.0], Tensor([2.0])), Tensor)


def test_torch_spelling_of_options():
    x = Tensor(np.arange(6.0).reshape(2, 3))
    assert mg.sum(x, dim=1, keepdim=True).tolist() == mg.sum(x, axis=1, keepdims=True).tolist() == [[3], [12]]
    assert mg.softmax(x, dim=0).shape == (2, 3)
    with pytest.raises(TypeError, match=r"sum\(\) has no option 'axes'; it has axis, keepdims"):
        mg.sum(x, axes=1)
    with pytest.raises(TypeError, match=r"softmax\(\) has no option 'keepdim'; it has axis"):
        mg.softmax(x, keepdim=True)


# Kernels: the fast way there and back, until a gradient is itself to be differentiated


@pytest.fixture(params=["primitive", "definition"])
def fused(request, monkeypatch):
    """An op x·y², whose kernel answers ten times too much, so that it can be told from the meaning."""
    calls = []
    if request.param == "primitive":

        @mg.primitive
        def scaled(xp, x, w, /, factor=1):
            return x * w * w * factor

        scaled.defvjp(x=lambda g, w, factor: g * w * w * factor, w=lambda g, x, w, factor: g * 2 * x * w * factor)
    else:

        @mg.definition
        def scaled(x, w, /, factor=1):
            return x * w * w * factor

    def forward(xp, x, w, factor):
        calls.append(xp)
        return 10 * x * w * w * factor, (x, w)

    def backward(xp, g, saved, wanted, factor):
        calls.append(wanted)
        x, w = saved
        return 10 * g * w * w * factor if wanted[0] else None, 10 * g * 2 * x * w * factor if wanted[1] else None

    monkeypatch.setitem(backend.host.kernels, "scaled", Kernel(forward, backward))
    scaled.op.builtin = True  # a kernel serves ops of the package only: see below
    return scaled, calls


def test_a_kernel_carries_the_first_order(fused):
    scaled, calls = fused
    x, w = Tensor([2.0], requires_grad=True), Tensor([3.0])
    z = scaled(x, w, 2)
    assert z.item() == 360 and grad(z, x).item() == 180
    w.requires_grad = True
    assert [g.item() for g in grad(scaled(x, w), [x, w])] == [90, 120]
    assert calls == [np, (True, False), np, (True, True)]


def test_the_meaning_answers_when_the_gradient_is_differentiated(fused):
    scaled, calls = fused
    x, w = Tensor([2.0], requires_grad=True), Tensor([3.0], requires_grad=True)
    gx, gw = grad(scaled(x, w), [x, w], create_graph=True)
    assert (gx.item(), gw.item()) == (9, 12) and calls[1:] == [np] * (len(calls) - 1)
    assert grad(gw, w).item() == 4


def test_a_kernel_is_used_without_recording_too(fused):
    scaled, calls = fused
    assert scaled(np.ones(1), np.ones(1)).item() == 10 and scaled(Tensor([1.0]), 1.0).item() == 10


def test_a_kernel_adds_its_gradient_to_what_has_arrived(monkeypatch):
    calls = []

    @mg.definition
    def tripled(x, /):
        return 3 * x

    kernel = Kernel(
        lambda xp, x: (3 * x, None),
        lambda xp, g, saved, wanted: (3 * g,),
        lambda xp, x: calls.append("alone") or 3 * x,
        lambda xp, total, g, saved: calls.append("added") or np.add(total, 3 * g, out=total),
    )
    monkeypatch.setitem(backend.host.kernels, "tripled", kernel)
    tripled.op.builtin = True
    x = Tensor([1.0, 2.0], requires_grad=True)
    z = ops.exp(x)
    y = ops.sum(tripled(z) + tripled(z) + 2 * z)
    expected = 8 * np.exp([1, 2])
    np.testing.assert_allclose(grad(y, x, retain_graph=True).numpy(), expected, rtol=1e-6)
    assert calls == ["added", "added"]  # to the gradient of 2 z, which was made here and is nobody else's
    np.testing.assert_allclose(grad(y, x, create_graph=True).numpy(), expected, rtol=1e-6)
    assert calls == ["added", "added"] and tripled(np.ones(1)).tolist() == [3] and calls[2:] == ["alone"]


def test_an_op_of_a_users_own_may_bear_the_name_of_one_of_ours():
    @mg.primitive
    def softmax(xp, x, /, axis=-1):
        return 3 * x

    @mg.primitive
    def sgd_step(xp, x, /):
        return -x

    assert softmax(Tensor([1.0, 2.0])).tolist() == [3, 6] and sgd_step(Tensor([1.0])).tolist() == [-1]
    assert OPS["softmax"].front is mg.softmax and mg.softmax(Tensor([1.0, 1.0])).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: mg.primitive(lambda x, /: x),
            r"given the array library, numpy or cupy, as xp.*def <lambda>\(xp, x, /\)",
        ),
        (lambda: mg.primitive(lambda x, y, /: x), "as xp"),
        (lambda: mg.primitive(lambda xp, /: xp), r"at least one array"),
        (lambda: mg.primitive(lambda xp, x, /, *rest: x), r"no \*args"),
        (lambda: mg.primitive(lambda xp, x, /, **more: x), r"no \*args"),
        (lambda: mg.primitive(np.exp), r"made of a function written with def, not of <ufunc 'exp'>"),
        (lambda: mg.definition(lambda x: x), r"left of a slash.*def <lambda>\(x, /, option=None\)"),
        (lambda: mg.definition(abs), "written with def"),
    ],
)
def test_a_function_that_is_no_op_is_told_what_one_looks_like(make, text):
    with pytest.raises(TypeError, match=text):
        make()


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda xp, x, /: Tensor(x), "a primitive is given arrays and returns one.*returned a Tensor"),
        (lambda xp, x, /: [1.0], "returned a list"),
        (lambda xp, x, /: None, "returned a NoneType"),
    ],
)
def test_a_primitive_returns_an_array(function, text):
    op = mg.primitive(function)
    op.defvjp(x=lambda g: g)
    for requires_grad in (True, False):
        with pytest.raises(TypeError, match=text):
            op(Tensor([1.0], requires_grad))


def test_a_definition_that_leaves_the_tape_is_refused():
    with pytest.raises(TypeError, match="a definition is given Tensors and returns one.*no .data and no .numpy"):
        mg.definition(lambda x, /: np.exp(x.data))(Tensor([1.0], requires_grad=True))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (lambda g: 0.0, r"op: the rule for 'w' is to return an array of shape \(2,\).*but returned a float"),
        (lambda g: np.ones((2, 3)), r"but returned an array of shape \(2, 3\)"),
        (lambda g: [g], "returned a list"),
    ],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_rule_that_returns_no_gradient_of_its_input_is_named(rule, text, create_graph):
    @mg.primitive
    def op(xp, x, w, /):
        return x * w

    op.defvjp(w=rule)
    with pytest.raises(ValueError, match=text):
        grad(op(Tensor([1.0, 2.0]), w := Tensor([1.0, 2.0], requires_grad=True)).sum(), w, create_graph=create_graph)


AXES = {
    "sum": 0,
    "mean": 0,
    "max": 0,
    "min": 0,
    "argmax": 0,
    "var": 0,
    "std": 0,
    "norm": 0,
    "prod": 0,
    "any": 0,
    "all": 0,
    "softmax": -1,
    "log_softmax": -1,
    "logsumexp": -1,
    "cumsum": 0,
    "sort": -1,
    "argsort": -1,
    "flip": 0,
    "squeeze": 0,
    "expand_dims": 0,
}


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("dim", [0, 1])
def test_axis_and_dim_are_two_names_of_one_option(name, dim):
    x = Tensor(np.ones((1, 1)))
    for axis in {AXES[name], 0}:
        with pytest.raises(
            TypeError, match=rf"{name}\(\) was given axis={axis} and dim={dim}, two names of one option"
        ):
            getattr(mg, name)(x, axis=axis, dim=dim)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum(0, dim=1),
        lambda x: x.mean(axis=0, dim=0),
        lambda x: x.softmax(-1, dim=0),
        lambda x: x.log_softmax(0, dim=0),
        lambda x: mg.stack([x, x], 0, dim=1),
        lambda x: mg.concatenate([x, x], axis=0, dim=1),
        lambda x: mg.split(x, 1, 0, dim=1),
        lambda x: mg.sum(x, 0, True, keepdim=True),
        lambda x: mg.topk(x, 1, axis=-1, dim=0),
        lambda x: x.argmax(0, dim=1),
        lambda x: mg.gather(x, 0, dim=0, ids=np.zeros((2, 2), int)),
        lambda x: mg.mean(x, axis=0, keepdims=True, keepdim=False),
    ],
)
def test_both_are_refused_in_methods_and_by_position_too(call):
    with pytest.raises(TypeError, match="two names of one option|multiple values"):
        call(Tensor(np.ones((2, 2))))


def test_an_op_is_written_with_a_slash():
    with pytest.raises(TypeError, match=r"def f\(xp, x, /, option=None\)"):

        @mg.primitive
        def f(xp, x):
            return x


# Errors are short lessons

X = Tensor(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("action", "error", "text"),
    [
        (
            lambda: X + np.zeros(2),
            ValueError,
            r"add\(\(2, 3\), \(2,\)\): axis -1 is 3 in one and 2 in the other.*aligned from the right"
            r"; to line up the first axes write a with b\[\.\.\., None\]",
        ),
        (lambda: np.zeros(2) * X, ValueError, r"multiply\(\(2,\), \(2, 3\)\): .*write b with a\[\.\.\., None\]"),
        (
            lambda: X @ X,
            ValueError,
            r"matmul\(\(2, 3\), \(2, 3\)\): the last axis of a \(3\) must equal the last but one of b \(2\); "
            r"did you mean a @ b.mT\?",
        ),
        (
            lambda: X @ np.zeros(4),
            ValueError,
            r"matmul\(\(2, 3\), \(4,\)\): the last axis of a \(3\) must be as long as b \(4\)",
        ),
        (lambda: X @ np.zeros(2), ValueError, r"must be as long as b \(2\); did you mean a.mT @ b\?"),
        (
            lambda: X @ 2.0,
            ValueError,
            r"matmul\(\(2, 3\), 2.0\): each operand needs an axis at least; with a single number multiply by \*",
        ),
        (
            lambda: mg.tensor([2]) @ mg.tensor(2),
            ValueError,
            r"matmul\(\(1,\), \(\)\): each operand needs an axis at least",
        ),
        (
            lambda: mg.functional.linear(X, np.zeros((4, 2)), None),
            ValueError,
            r"linear\(\(2, 3\), \(4, 2\), None\): "
            r"the last axis of x is 3 long, but the weight \(out, in\) takes 2 features",
        ),
        (lambda: mg.reshape(X, (4, 2)), ValueError, r"reshape\(\(2, 3\), shape=\(4, 2\)\): cannot reshape"),
        (
            lambda: mg.sum(X, 2),
            (ValueError, IndexError),
            r"sum\(\(2, 3\), axis=2, keepdims=False\): axis 2 is out of bounds",
        ),
        (lambda: mg.functional.layer_norm(X, 3, np.zeros(2)), ValueError, r"layer_norm over \(3,\) .* has \(2,\)"),
        (lambda: X + "1", TypeError, "str is not an array: give a Tensor"),
        (lambda: mg.exp(None), TypeError, ""),
    ],
)
def test_errors_name_the_op_the_shapes_and_the_fix(action, error, text):
    with pytest.raises(error, match=text or "exp"):
        action()


def test_an_error_in_a_definition_is_told_by_the_op_it_happened_in():
    @mg.definition
    def outer(x, /):
        return mg.matmul(x, x)

    with pytest.raises(ValueError, match="^matmul"):
        outer(X)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: mg.sort(x, dim=0)[0],
        lambda x: mg.topk(x, 2, dim=0)[0],
        lambda x: mg.stack([x, x], dim=1)[:, 0],
        lambda x: mg.flip(x, dim=0),
        lambda x: x.mean(dim=0, keepdim=True),
        lambda x: mg.var(x, dim=0),
        lambda x: mg.prod(x, dim=0),
        lambda x: mg.gather(x, dim=0, ids=np.zeros((1, 3), int)),
        lambda x: x.sum(0, keepdim=True),
    ],
)
def test_torchs_names_for_axis_and_keepdims_are_taken_everywhere(call):
    x = Tensor(np.arange(6.0).reshape(2, 3))
    assert call(x).shape[-1] == 3


@pytest.mark.parametrize(
    "call", [lambda x: x + 300, lambda x: 300 * x, lambda x: mg.maximum(x, -1), lambda x: x == 300]
)
def test_a_number_outside_the_dtype_is_refused_in_our_words_or_compared(call):
    x = Tensor(np.array([1, 2], np.uint8))
    try:
        assert call(x).tolist() == [False, False]
    except ValueError as error:
        assert "out of bounds for uint8" in str(error)
