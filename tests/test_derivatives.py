"""Functions of trees: the derivatives of what takes and returns dicts, lists and named tuples; and vmap."""

from typing import NamedTuple

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

W, B, X = np.arange(6.0).reshape(2, 3), np.array([1.0, -2.0]), np.array([0.5, -1.0, 2.0])


class Layer(NamedTuple):
    weight: np.ndarray
    bias: np.ndarray


def dense(p, x):
    weight, bias = (p["weight"], p["bias"]) if isinstance(p, dict) else p
    return mg.tanh(mg.linalg.matmul(weight, x) / 4 + bias)


def expected():
    """d Σ tanh(W x / 4 + b) by W and by b, by hand."""
    slope = 1 - np.tanh(W @ X / 4 + B) ** 2
    return slope[:, None] * X / 4, slope


@pytest.mark.parametrize("tree", [{"weight": W, "bias": B}, [W, B], (W, B), Layer(W, B)])
def test_value_and_grad_of_a_tree_has_its_form(tree):
    y, g = mg.value_and_grad(lambda p: dense(p, Tensor(X)).sum())(tree)
    assert type(g) is type(tree) and np.isclose(y.item(), np.tanh(W @ X / 4 + B).sum())
    for found, right in zip(g.values() if isinstance(g, dict) else g, expected()):
        np.testing.assert_allclose(found.numpy(), right, rtol=1e-12)


def test_value_and_grad_by_several_inputs_and_twice():
    def f(a, b):
        return (a * a * b).sum()

    y, (ga, gb) = mg.value_and_grad(f, (0, 1))(X, X)
    np.testing.assert_allclose(ga.numpy(), 2 * X * X)
    np.testing.assert_allclose(gb.numpy(), X * X)
    _, second = mg.value_and_grad(lambda a: mg.value_and_grad(f)(a, X)[1].sum())(X)
    np.testing.assert_allclose(second.numpy(), 2 * X)
    with pytest.raises(ValueError, match="value_and_grad: f must give one number, this one gives shape"):
        mg.value_and_grad(lambda a: a)(X)


def test_vjp_and_jvp_of_trees_agree():
    def f(p):
        h = dense(p, Tensor(X))
        return {"h": h, "norm": (h * h).sum(), "constant": mg.ones(2)}

    p, t = {"weight": W, "bias": B}, {"weight": np.cos(W), "bias": np.sin(B)}
    v = {"h": np.array([1.0, 2.0]), "norm": np.array(0.5), "constant": np.ones(2)}
    y, pull = mg.vjp(f, p)
    (back,) = pull(v)
    again, forth = mg.jvp(f, [p], [t])
    assert set(y) == set(again) == set(forth) == set(v)
    left = sum((back[key].numpy() * t[key]).sum() for key in p)
    right = sum((forth[key].numpy() * v[key]).sum() for key in v)
    assert np.isclose(left, right, rtol=1e-12) and not forth["constant"].numpy().any()


def test_a_jacobian_of_trees_is_a_tree_of_trees():
    def f(p, x):
        return {"y": dense(p, x), "s": x.sum()}

    J = mg.jacobian(f)({"weight": W, "bias": B}, X)
    assert J["y"]["weight"].shape == (2, 2, 3) and J["s"]["bias"].shape == (2,)
    plain = mg.jacobian(lambda w: dense((w, Tensor(B)), Tensor(X)))(W)
    np.testing.assert_allclose(J["y"]["weight"].numpy(), plain.numpy())
    assert not J["s"]["weight"].numpy().any()
    np.testing.assert_allclose(mg.jacobian(f, 1)({"weight": W, "bias": B}, X)["s"].numpy(), 1)


def test_a_hessian_of_a_tree_has_a_block_for_each_pair():
    H = mg.hessian(lambda p: (p["a"] * p["a"] * p["b"]).sum())({"a": X, "b": np.array([3.0, 4.0, 5.0])})
    np.testing.assert_allclose(H["a"]["a"].numpy(), np.diag([6.0, 8.0, 10.0]))
    np.testing.assert_allclose(H["a"]["b"].numpy(), np.diag(2 * X))
    np.testing.assert_allclose(H["b"]["b"].numpy(), 0)


def test_a_list_of_numbers_is_an_array():
    y, pull = mg.vjp(lambda x: x * x, [1.0, 2.0])
    assert y.shape == (2,) and pull([1.0, 1.0])[0].tolist() == [2, 4]


def test_grad_of_a_tree():
    xs = {"a": Tensor(X, True), "b": [Tensor(B, True)]}
    g = mg.grad((xs["a"] ** 2).sum() + xs["b"][0].sum(), xs)
    np.testing.assert_allclose(g["a"].numpy(), 2 * X)
    np.testing.assert_allclose(g["b"][0].numpy(), 1)
    a, b = mg.grad(xs["a"].sum() * xs["b"][0].sum(), (xs["a"], xs["b"][0]))
    np.testing.assert_allclose(a.numpy(), B.sum())
    np.testing.assert_allclose(b.numpy(), X.sum())
    with pytest.raises(TypeError, match="value_and_grad"):
        mg.grad(lambda x: x)


def test_vmap_is_the_loop():
    f = mg.vmap(lambda p, x: {"y": dense(p, x)}, in_axes=(None, 1), out_axes=1)
    xs = Tensor(np.stack([X, 2 * X], 1), True)
    y = f((Tensor(W), Tensor(B)), xs)["y"]
    np.testing.assert_allclose(y.numpy(), np.tanh(W @ xs.numpy() / 4 + B[:, None]), rtol=1e-12)
    mg.gradcheck(lambda xs: f((Tensor(W), Tensor(B)), xs)["y"], xs.numpy(), order=2)
    np.testing.assert_allclose(mg.vmap(lambda a, b: a @ b)(mg.ones((4, 3)), mg.ones((4, 3))).numpy(), 3)
    with pytest.raises(ValueError, match="one length"):
        mg.vmap(lambda a, b: a * b)(mg.ones(2), mg.ones(3))
    with pytest.raises(ValueError, match="in_axes"):
        mg.vmap(lambda a: a, in_axes=(0, 1))(mg.ones(2))


def test_the_tangents_of_jvp_keep_their_gradient():
    v = Tensor([1.0, 2.0], requires_grad=True)
    moved = mg.jvp(lambda x: x**3, [np.array([2.0, 3.0], np.float32)], [v * 2])[1]  # 3 x² · 2 v
    np.testing.assert_allclose(mg.grad(moved.sum(), v, retain_graph=True), [24, 54], rtol=1e-6)
    (moved * moved).sum().backward()
    np.testing.assert_allclose(v.grad, [2 * 24**2 * 1, 2 * 54**2 * 2], rtol=1e-6)


def test_random_numbers_like_a_recorded_tensor():
    y = Tensor([[1.0, 2.0]], requires_grad=True) * 2
    for make in (mg.rand_like, mg.randn_like):
        assert (make(y, rng=0).shape, make(y, rng=0).dtype, make(y).requires_grad) == ((1, 2), np.float32, False)
