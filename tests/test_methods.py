"""Operators and methods: each is its op; in place they write into a leaf or are refused; torch's names are known."""

from operator import add, eq, ge, iadd, ifloordiv, imod, imul, ipow, isub, itruediv, lt, matmul, mul, sub, truediv

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.tensor import Tensor, grad


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


OPERATORS = {"+=": iadd, "-=": isub, "*=": imul, "/=": itruediv, "**=": ipow, "//=": ifloordiv, "%=": imod}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_in_place_on_a_leaf_inside_no_grad_writes_into_it(operator):
    for other in (3.0, np.array([2.0, 3.0]), Tensor(np.array([2.0, 3.0]), requires_grad=True), Tensor([2])):
        w = nn.Parameter(np.array([5.0, 7.0]))
        alias, array = w, w.data
        bare = np.array([5.0, 7.0])
        bare = operator(bare, other.numpy() if isinstance(other, Tensor) else other)
        loss = mg.sum(w * w)
        with mg.no_grad():
            w = operator(w, other)
        assert w is alias and w.data is array and isinstance(w, nn.Parameter)
        np.testing.assert_array_equal(array, bare)
        with pytest.raises(RuntimeError, match="written into after"):
            loss.backward()


def test_the_commonest_sgd_trains():
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Tanh(), nn.Linear(3, 1, rng=1))
    x, losses = mg.Tensor(np.random.default_rng(0).standard_normal((16, 2)).astype("f4")), []
    for _ in range(50):
        loss = ((model(x) - x[:, :1]) ** 2).mean()
        loss.backward()
        with mg.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
        model.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_in_place_matrix_product_and_booleans():
    w, m = Tensor(np.eye(2), requires_grad=True), Tensor([True, False])
    array, mask = w.data, m.data
    with mg.no_grad():
        w @= np.array([[1.0, 2], [3, 4]])
        m |= Tensor([True, True])
        m &= Tensor([False, True])
    assert w.data is array and array.tolist() == [[1, 2], [3, 4]] and m.data is mask and mask.tolist() == [False, True]


def test_a_sum_on_the_tape_changes_the_tensor_and_loses_nothing():
    x = leaf(1, 2)
    total = 0
    for k in range(1, 4):
        total += mg.sum(k * x)
    total.backward()
    assert x.grad.tolist() == [6, 6]
    start = Tensor(np.zeros(()))
    total = start
    total += mg.sum(x * x)
    assert total is start and start.item() == 5 and grad(start, x).tolist() == [2, 4]
    h = kept = x * 1
    h *= 3
    assert kept is h and kept.tolist() == [3, 6] and grad(mg.sum(kept), x).tolist() == [3, 3]


class Residual(nn.Module):
    """A model that is right only if `r` sees what is added to `h`."""

    def __init__(self):
        self.a, self.f = nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1)

    def forward(self, x):
        h = self.a(x)
        r = h
        h += self.f(x)
        h *= 2
        return h + r


def test_in_place_means_the_same_with_and_without_the_tape():
    model, x = Residual(), Tensor(np.random.default_rng(0).standard_normal((2, 4, 3)).astype("f4"))
    expected = 4 * (model.a(x) + model.f(x)).numpy()
    recorded = model(x)
    np.testing.assert_allclose(recorded.numpy(), expected, rtol=1e-6)
    recorded.sum().backward()
    np.testing.assert_allclose(model.a.weight.grad.numpy(), 4 * np.tile(x.numpy().sum((0, 1)), (3, 1)), rtol=1e-5)
    with mg.no_grad():
        np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-6)
    model.a.freeze()  # h is on no tape, and what is added to it is
    np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-6)
    model.freeze()
    np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-6)


def test_in_place_inside_a_function_reaches_its_caller_and_what_was_kept_stays():
    def normalise_(h):
        h /= h.sum()

    x = leaf(1, 3)
    h = mg.exp(x)  # keeps its result, which stays as it was
    normalise_(h)
    np.testing.assert_allclose(h.numpy(), mg.softmax(x).numpy())
    np.testing.assert_allclose(grad(h[0], x).numpy(), grad(mg.softmax(x)[0], x).numpy())


@pytest.mark.parametrize(
    "view",
    [lambda y: y[:2], lambda y: y.reshape(2, 2), lambda y: y.T, lambda y: y[None], lambda y: mg.split(y, 2)[1]],
    ids=["slice", "reshape", "transpose", "axis", "split"],
)
def test_in_place_on_a_view_on_the_tape_is_refused(view):
    y = leaf(1, 2, 3, 4) * 2
    v = view(y)
    with pytest.raises(RuntimeError, match=r"x \+= y: x is a view.*type x = x \+ y"):
        v += 10
    zeros = Tensor(np.zeros(4))
    v = view(zeros)
    with pytest.raises(RuntimeError, match=r"x \*= y: x is a view.*type x = x \* y"):
        v *= leaf(3)
    v += 10
    assert zeros.numpy().max() == 10  # off the tape it is written into the memory of both
    z = view(leaf(1, 2, 3, 4) * 2)  # nobody else is left to see it
    z += 1
    assert z.requires_grad


HOLDERS = {  # what goes on with the old values, which torch would show the new ones, or refuse in the backward pass
    "slice": lambda h: h[:2],
    "slice of a slice": lambda h: h[1:][:2],
    "reshape": lambda h: h.reshape(2, 2),
    "transpose": lambda h: h.T,
    "new axis": lambda h: h[None],
    "broadcast": lambda h: h.expand(3, 4),
    "split": lambda h: mg.split(h, 2),
    "detach": lambda h: h.detach(),
    "slice of a detached Tensor": lambda h: h.detach()[::2],
    "NumPy array": lambda h: h.numpy(),
    "slice of a NumPy array": lambda h: h.numpy()[1:],
    "product": lambda h: h * h,
    "matrix product": lambda h: h @ leaf(1, 2, 3, 4),
}


@pytest.mark.parametrize("symbol", [iadd, isub, imul, itruediv, ipow], ids=lambda f: f.__name__)
@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_in_place_on_the_tape_is_refused_while_others_hold_the_old_values(hold, symbol):
    x = leaf(1, 2, 3, 4)
    h = x * 2
    holder = hold(h)
    with pytest.raises(RuntimeError, match=r"holds the old values of x.*type x = x . y|holds the old values.*\*\* y"):
        symbol(h, 2)
    assert h.tolist() == [2, 4, 6, 8]
    del holder  # nobody else is left to see it
    symbol(h, 2)
    assert h.tolist() == symbol(2 * np.arange(1.0, 5), 2).tolist() and h.requires_grad


def test_in_place_on_the_tape_beside_a_view_of_what_had_no_gradient():
    array = np.zeros(2)
    h = Tensor(array)
    with pytest.raises(RuntimeError, match="holds the old values"):
        h += leaf(1, 2)
    h += 1
    assert array.tolist() == [1, 1]  # off the tape it is written into the memory of both
    del array
    h += leaf(1, 2)
    assert h.tolist() == [2, 3]


def test_in_place_on_the_tape_keeps_the_dtype():
    h = leaf(1, 2, dtype=np.float32) * 1
    h += leaf(1, 2)
    assert h.dtype == np.float32 and h.tolist() == [2, 4]
    with pytest.raises(TypeError, match="the result is float32, which x, of int64, cannot hold"):
        iadd(Tensor([1, 2]), leaf(1, 2, dtype=np.float32))
    with pytest.raises(ValueError, match=r"the result has shape \(3, 2\)"):
        iadd(leaf(1, 2) * 1, np.ones((3, 2)))


@pytest.mark.parametrize("operator", [iadd, imul, ipow, isub, ifloordiv, imod], ids=lambda f: f.__name__)
@pytest.mark.parametrize("other", [2, np.array([1, 2]), Tensor([1, 2])], ids=["int", "array", "Tensor"])
def test_in_place_whole_numbers_do_not_go_into_booleans(operator, other):
    b = Tensor([True, False])
    with pytest.raises(TypeError, match=r"the result is int\d+, which x, of bool, cannot hold: type x = x"):
        operator(b, other)
    with pytest.raises(TypeError, match="of bool, cannot hold"):
        itruediv(b, 2)
    b *= Tensor([True, True])
    assert b.dtype == bool and b.tolist() == [True, False]


def test_a_running_sum_without_gradients_is_written_into():
    total = Tensor([0.0, 0.0])
    array = total.data
    total += leaf(1, 2).detach()
    total -= 1
    assert total.data is array and total.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("action", "error", "text"),
    [
        (
            lambda x: iadd(x, 1),
            RuntimeError,
            r"x \+= y would write into a Tensor that is a leaf.*no_grad\(\):.*x\.copy_\(values\)",
        ),
        (lambda x: imul(nn.Buffer([1.0, 2.0]), x), RuntimeError, r"x \*= y would write into a Buffer .*copy_"),
        (
            lambda x: _off(iadd, x * 2, 1),
            RuntimeError,
            r"the result of multiply, off the tape: type x = x.detach\(\) \+ y",
        ),
        (
            lambda x: _off(iadd, x, np.ones((3, 2))),
            ValueError,
            r"the result has shape \(3, 2\).*x of shape \(2,\): type x = x \+ y",
        ),
        (lambda x: itruediv(Tensor([1, 2]), 2), TypeError, r"the result is float32, which x, of int64, cannot hold"),
        (lambda x: ifloordiv(x, 2), RuntimeError, r"x //= y would write into a Tensor that is a leaf"),
        (lambda x: _off(iadd, Tensor(np.broadcast_to(1.0, 2)), 1), ValueError, r"broadcast cannot be written into"),
    ],
)
def test_in_place_refuses_what_would_lose_a_gradient(action, error, text):
    x = leaf(1, 2)
    with pytest.raises(error, match=text):
        action(x)
    assert x.tolist() == [1, 2]


def _off(operator, x, other):
    with mg.no_grad():
        return operator(x, other)


@pytest.mark.parametrize("use", [add, sub, mul, truediv, pow, lt, ge, eq, matmul], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "left",
    [np.array([3.0, 4]), np.full((3, 2), 2.0), np.array(3.0), np.float64(3), np.float32(3), 3],
    ids=["1-d", "2-d", "0-d", "float64", "float32", "int"],
)
def test_numpy_on_the_left_of_an_operator(use, left):
    x = leaf(1, 2)
    if use is matmul and np.ndim(left) == 0:
        return
    y = use(left, x)
    np.testing.assert_array_equal(y.numpy(), use(left, x.numpy()))
    assert isinstance(y, Tensor) and y.requires_grad == (use not in (lt, ge, eq))


def test_comparing_gives_booleans_and_hashing_identity():
    x, same = leaf(1, 2), leaf(1, 2)
    assert (x == same).tolist() == (x <= 2).tolist() == (1 <= x).tolist() == [True, True]
    assert (x != same).tolist() == (x > 2).tolist() == [False, False]
    assert (x == same).dtype == bool and not (x == same).requires_grad
    assert len({x, same, x}) == 2 and {x: 1}[x] == 1


def test_methods_are_their_ops():
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 4)))
    for name in ("sum", "mean", "max", "min", "var", "argmax"):
        np.testing.assert_array_equal(getattr(x, name)(1).numpy(), getattr(mg, name)(x, axis=1).numpy())
        kept = getattr(mg, name)(x, 1, keepdims=True)
        np.testing.assert_array_equal(getattr(x, name)(dim=1, keepdim=True).numpy(), kept.numpy())
    assert x.reshape(4, -1).shape == x.reshape((4, 6)).shape == x.reshape([4, 6]).shape == (4, 6)
    assert (
        x.T.shape == x.swapaxes(0, 2).shape == (4, 3, 2)
        and x.mT.shape == (2, 4, 3)
        and x.transpose(1, 0, 2).shape == (3, 2, 4)
    )
    np.testing.assert_array_equal(abs(-x).numpy(), mg.abs(x).numpy())


def test_masks_are_combined_as_in_numpy():
    x = Tensor([1.0, -2.0, 3.0])
    np.testing.assert_array_equal(~(x > 0) | (x > 2) & True, [False, True, True])
    with pytest.raises(TypeError, match="& is for booleans, such as x > 0, not for float32"):
        x & (x > 0)
