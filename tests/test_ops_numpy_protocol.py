"""NumPy's functions of Tensors: operators are ours; a function that would lose a gradient is refused and names ours."""

from operator import attrgetter

import numpy as np
import pytest

import minigrad as mg
from minigrad.checking import gradcheck
from minigrad.ops import numpy_protocol
from minigrad.tensor import Tensor

X, Y = np.array([[0.5, 1.5, 2.5], [3.5, 0.25, 1.0]]), np.array([[2.0, 1.0, 0.5], [1.5, 3.0, 2.0]])

OPERATORS = {
    "add": lambda x: np.add(Y, x),
    "array on the left": lambda x: Y - x,
    "multiply": lambda x: np.multiply(x, Y),
    "divide": lambda x: np.divide(Y, x),
    "power": lambda x: np.power(Y, x),
    "power of a number": lambda x: np.power(x, 2),
    "matmul": lambda x: Y.T @ x,
    "negative": lambda x: np.negative(x),
    "abs": lambda x: np.abs(x),
    "a number of NumPy's": lambda x: np.float64(2) * x,
}


@pytest.mark.parametrize("f", OPERATORS.values(), ids=OPERATORS)
def test_operators_are_ours(f):
    y = f(Tensor(X, requires_grad=True))
    assert isinstance(y, Tensor) and y.requires_grad and isinstance(f(Tensor(X)), Tensor)
    np.testing.assert_allclose(y.numpy(), f(X), rtol=1e-14)
    gradcheck(f, [X], order=2)


def test_whole_division_and_exclusive_or_with_an_array_on_the_left():
    x = Tensor(X)
    for f in (lambda y, x: y // x, lambda y, x: y % x, lambda y, x: divmod(y, x)[1], lambda y, x: (y > 1) ^ (x > 1)):
        found = f(Y, x)
        assert isinstance(found, Tensor)
        np.testing.assert_array_equal(found.numpy(), f(Y, X))


def test_every_name_that_is_told_exists():
    for name in numpy_protocol._OURS.values():
        assert callable(attrgetter(name)(mg))


def test_comparisons_and_booleans():
    x, mask = Tensor(X, requires_grad=True), np.array([True, False, True])
    for y in (Y < x, Y == x, Y >= x, mask & (x > 1), mask | (x > 1)):
        assert isinstance(y, Tensor) and y.dtype == bool
    assert (mask & (x > 1)).tolist() == (mask & (X > 1)).tolist()


LOST = {
    "exp": (lambda x: np.exp(x), "type mg.exp"),
    "sqrt": (lambda x: np.sqrt(x), "type mg.sqrt"),
    "maximum": (lambda x: np.maximum(x, 1), "type mg.maximum"),
    "tanh": (lambda x: np.tanh(x), "type mg.tanh"),
    "sum": (lambda x: np.sum(x), "type mg.sum"),
    "mean": (lambda x: np.mean(x, axis=0), "type mg.mean"),
    "max": (lambda x: np.max(x), "type mg.max"),
    "amin": (lambda x: np.amin(x), "type mg.amin"),
    "std": (lambda x: np.std(x), "type mg.std"),
    "linalg.norm": (lambda x: np.linalg.norm(x), "type mg.linalg.norm"),
    "dot": (lambda x: np.dot(x, x.T), "type mg.dot"),
    "where": (lambda x: np.where(X > 1, x, 0), "type mg.where"),
    "clip": (lambda x: np.clip(x, 0, 1), "type mg.clip"),
    "stack": (lambda x: np.stack([x, x]), "type mg.stack"),
    "concatenate": (lambda x: np.concatenate([X, x]), "type mg.concatenate"),
    "Tensor of a stack": (lambda x: Tensor(np.stack([x, x])), "type mg.stack"),
    "reshape": (lambda x: np.reshape(x, 6), "type mg.reshape"),
    "ravel": (lambda x: np.ravel(x), "type mg.ravel"),
    "einsum": (lambda x: np.einsum("ij->j", x), "type mg.einsum"),
    "floor": (lambda x: np.floor(x), "type mg.floor"),
    "arctan2": (lambda x: np.arctan2(x, 1), "type mg.arctan2"),
    "vstack": (lambda x: np.vstack([x, x]), "type mg.vstack"),
    "split": (lambda x: np.split(x, 2), "type mg.tensor_split"),
    "pad": (lambda x: np.pad(x, 1), "type mg.pad"),
    "take": (lambda x: np.take(x, [0]), "type mg.take"),
    "outer": (lambda x: np.outer(x, x), "type mg.outer"),
    "cumsum": (lambda x: np.cumsum(x), "type mg.cumsum"),
    "inv": (lambda x: np.linalg.inv(x[:, :2]), "type mg.linalg.inv"),
    "median": (lambda x: np.median(x), "type mg.median"),
    "out": (lambda x: np.exp(x, out=np.empty((2, 3))), "type mg.exp"),
    "reduce": (lambda x: np.add.reduce(x), "type mg.sum"),
    "dtype": (lambda x: np.multiply(x, 2, dtype=np.float64), "np.multiply"),
    "modf": (lambda x: np.modf(x), "no modf"),
    "interp": (lambda x: np.interp(x, [0, 1], [0, 1]), "no interp"),
    "copyto": (lambda x: np.copyto(np.empty((2, 3)), x), "no copyto"),
    "add.at": (lambda x: np.add.at(np.zeros((2, 3)), [0, 1], x), "type mg.scatter_add"),
    "block": (lambda x: np.block([[x, x]]), "no block"),
}


@pytest.mark.parametrize(("f", "text"), LOST.values(), ids=LOST)
def test_what_would_lose_a_gradient_is_refused(f, text):
    x = Tensor(X, requires_grad=True)
    for recorded in (x, x * 1):
        with pytest.raises(TypeError, match=text):
            f(recorded)
    f(x.detach())  # nothing to lose
    with mg.no_grad():
        f(x)


def test_in_place_of_an_array():
    a, x = np.ones((2, 3)), Tensor(X, requires_grad=True)
    with pytest.raises(TypeError, match="np.add of a Tensor that requires a gradient"):
        a += x
    assert (a == 1).all()
    a += x.detach()
    np.testing.assert_array_equal(a, 1 + X)


def test_what_has_no_gradient_to_lose_is_numpys():
    x = Tensor(X, requires_grad=True)
    assert np.shape(x) == (2, 3) and np.ndim(x) == 2 and np.size(x) == 6
    assert np.isfinite(x).all() and np.array_equal(x, X) and np.allclose(x, X)
    assert np.argsort(x, axis=1).tolist() == np.argsort(X, axis=1).tolist() and len(np.where(x > 1)) == 2
    assert np.zeros_like(x).tolist() == [[0] * 3] * 2 and np.result_type(x, np.float32) == np.float64
    np.testing.assert_allclose(x, X)


def test_values_can_be_taken_off_the_tape_by_name(tmp_path):
    x = Tensor(X, requires_grad=True)
    np.savez(tmp_path / "x.npz", x=x)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["x"], X)
    np.testing.assert_array_equal(np.asarray(x), X)


def recorded():
    return Tensor(X, requires_grad=True) * 2


def assigned(index, value):
    a = np.zeros((2, 3))
    a[index] = value
    return a


AS_ARRAY = {
    "asarray": lambda y: np.asarray(y),
    "array": lambda y: np.array(y, dtype="float32"),
    "list of Tensors": lambda y: np.array([y, y]),
    "list of entries": lambda y: np.array([1.0, y[0, 0]]),
    "float32": lambda y: np.float32(y),
    "assignment": lambda y: assigned(..., y),
    "row": lambda y: assigned(0, y[0]),
    "method of an array": lambda y: X.astype("f8").dot(y.T),
    "option of an op": lambda y: mg.pad(X[0], ((1, 1),), y[0, 0]),
    "dlpack": lambda y: np.from_dlpack(y),
    "from_dlpack": lambda y: mg.from_dlpack(y),
    "Tensor": lambda y: Tensor(y),
    "Tensor of a dtype": lambda y: Tensor(y, dtype="float32", requires_grad=True),
    "tensor": lambda y: mg.tensor(y),
}


@pytest.mark.parametrize("f", AS_ARRAY.values(), ids=AS_ARRAY)
def test_an_array_of_a_result_is_refused_for_its_gradient_would_be_lost(f):
    with pytest.raises(TypeError, match=r"x\.detach\(\)"):
        f(recorded())
    f(recorded().detach())
    with mg.no_grad():
        f(recorded())


def test_numbers_comparisons_and_new_parameters_of_a_result_are_welcome():
    y, right = recorded(), X * 2
    assert float(y[0, 0]) == y[0, 0].item() == 1.0 and int(y[0, 0]) == 1 and y.tolist() == right.tolist()
    np.testing.assert_allclose(y, right)
    np.testing.assert_array_equal(right, y)
    np.testing.assert_almost_equal(y, right)
    np.testing.assert_array_less(y, right + 1)
    assert pytest.approx(right) == y
    with pytest.raises(AssertionError, match="Mismatched elements"):
        np.testing.assert_allclose(y, right + 1)
    assert np.allclose(y, right) and y.numpy().sum() == right.sum()
    assert mg.nn.Parameter(y).is_leaf
    leaf = Tensor(X, requires_grad=True)
    for of in (np.asarray, np.array, np.from_dlpack, Tensor, mg.tensor):
        np.testing.assert_array_equal(of(leaf), X)  # what was put in
