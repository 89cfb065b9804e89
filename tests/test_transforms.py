"""vjp, jvp, jacobian, hessian against what can be worked out by hand; checkpoint against not using it."""
import gc
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)
A, x = rng.standard_normal((3, 4)), rng.standard_normal(4)


def f(x):
    return mg.tanh(Tensor(A) @ x)


J = (1 - np.tanh(A @ x) ** 2)[:, None] * A


def test_jacobian_and_both_of_its_products():
    np.testing.assert_allclose(mg.jacobian(f)(x).numpy(), J, atol=1e-14)
    v, t = rng.standard_normal(3), rng.standard_normal(4)
    y, pull = mg.vjp(f, x)
    np.testing.assert_allclose(pull(v)[0].numpy(), v @ J, atol=1e-14)
    np.testing.assert_allclose(pull(2 * v)[0].numpy(), 2 * v @ J, atol=1e-14)
    y, moved = mg.jvp(f, [x], [t])
    np.testing.assert_allclose(y.numpy(), np.tanh(A @ x))
    np.testing.assert_allclose(moved.numpy(), J @ t, atol=1e-14)


def test_of_several_inputs():
    def product(a, b):
        return a * b
    a, b = rng.standard_normal((2, 3))
    np.testing.assert_allclose(mg.jacobian(product, 1)(a, b).numpy(), np.diag(a))
    np.testing.assert_allclose(mg.jvp(product, [a, b], [b, a])[1].numpy(), b * b + a * a)
    with pytest.raises(ValueError, match="primals have shapes"):
        mg.jvp(product, [a, b], [a])


def test_hessian():
    np.testing.assert_allclose(mg.hessian(lambda x: (x**3).sum())(x).numpy(), np.diag(6 * x), atol=1e-14)
    np.testing.assert_allclose(mg.hessian(lambda x: x @ Tensor(A.T @ A) @ x)(x).numpy(), 2 * A.T @ A, atol=1e-14)
    np.testing.assert_array_equal(mg.hessian(lambda x: mg.sum(x))(x).numpy(), np.zeros((4, 4)))
    with pytest.raises(ValueError, match="one number"):
        mg.hessian(f)(x)


def net():
    return nn.Sequential(nn.Linear(4, 6, rng=0), nn.Tanh(), nn.Dropout(0.5, rng=1), nn.Linear(6, 2, rng=2)).to("float64")


def gradients(run):
    model, x = net(), Tensor(np.arange(12.0).reshape(3, 4) / 10, requires_grad=True)
    (run(model, x * 2) ** 2).sum().backward()
    return [x.grad.numpy(), *(p.grad.numpy() for p in model.parameters())]


def test_a_checkpoint_changes_no_gradient_and_draws_the_same_dropout():
    for a, b in zip(gradients(lambda model, x: model(x)), gradients(mg.checkpoint), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_counts_a_batch_once():
    x, norms = rng.standard_normal((4, 3)), [nn.BatchNorm1d(3, momentum=momentum) for momentum in (0.1, 0.1, None, None)]
    for norm, run in zip(norms, 2 * [nn.Module.__call__, mg.checkpoint]):
        for k in (1, 2):
            (run(norm, k * x) ** 2).sum().backward()
    for plain, checkpointed in (norms[:2], norms[2:]):
        assert checkpointed.num_batches_tracked.item() == 2
        for name, t in plain.state_dict().items():
            np.testing.assert_array_equal(checkpointed.state_dict()[name].numpy(), t.numpy(), err_msg=name)


def test_what_gives_no_tensor_is_refused():
    with pytest.raises(TypeError, match="returned a float"):
        mg.vjp(lambda x: 3.0, x)
    with pytest.raises(TypeError, match="checkpoint: f must return one Tensor, this one returned a tuple"):
        mg.checkpoint(nn.RNN(3, 2), np.zeros((1, 1, 3), np.float32))
    with pytest.raises(TypeError, match=r"jvp\(f, \[x\], \[t\]\)"):
        mg.jvp(f, x, x)


def test_a_checkpoint_of_a_function_finds_the_weights_it_closes_over():
    for a, b in zip(gradients(lambda model, x: model(x)), gradients(lambda model, x: mg.checkpoint(lambda x: model(x), x)[:])):
        assert a.shape == b.shape               # a function that draws for itself draws anew
    w, x = Tensor(A, requires_grad=True), Tensor(rng.standard_normal(4), requires_grad=True)
    deep = mg.exp(w)                            # not a leaf
    mg.checkpoint(lambda x: mg.tanh(deep @ x) + w.sum(), x).sum().backward()
    found = w.grad.numpy(), x.grad.numpy()
    w.grad = x.grad = None
    (mg.tanh(mg.exp(w) @ x) + w.sum()).sum().backward()
    np.testing.assert_allclose(found[0], w.grad.numpy(), rtol=1e-14)
    np.testing.assert_allclose(found[1], x.grad.numpy(), rtol=1e-14)


def test_a_checkpoint_can_be_differentiated_twice():
    model = net().eval()
    mg.gradcheck(lambda x: mg.checkpoint(model, x * 2), rng.standard_normal((2, 4)), order=2)


def test_a_checkpoint_keeps_nothing_of_what_lies_between():
    between = []

    def f(x):
        h = mg.exp(x)
        between.append(weakref.ref(h.data))
        return mg.tanh(h)
    gc.disable()
    try:
        y = mg.checkpoint(f, Tensor(x, requires_grad=True))
        assert between[0]() is None
    finally:
        gc.enable()
    y.sum().backward()
    assert len(between) == 2                    # it was computed again


def test_a_checkpoint_notices_a_weight_that_changed():
    w = Tensor([2.0], requires_grad=True)
    y = mg.checkpoint(lambda x: x * w * w, Tensor([3.0]))
    w.copy_([5.0])
    with pytest.raises(RuntimeError, match="written into after"):
        y.backward()
