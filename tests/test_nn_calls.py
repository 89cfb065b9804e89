"""Hooks: when they are called, with what, and what they may change, beside torch."""

import copy

import numpy as np
import pytest

from minigrad import nn, ops
from minigrad.tensor import Tensor

X = np.random.default_rng(0).standard_normal((2, 3))


class Mixed(nn.Module):
    """Two inputs, two results."""

    def forward(self, a, b, *, scale=1.0):
        return a * b * scale, a + b


def test_forward_hooks_see_and_change_what_goes_in_and_out():
    layer, seen = nn.Linear(3, 2, rng=0).double(), []
    before = layer.register_forward_pre_hook(lambda m, args: seen.append((m, args)))
    after = layer.register_forward_hook(lambda m, args, out: seen.append((m, args, out)))
    x = Tensor(X)
    y = layer(x)
    assert seen == [(layer, (x,)), (layer, (x,), y)]
    before.remove()
    after.remove()
    assert layer.hooks is None
    with layer.register_forward_pre_hook(lambda m, args: args[0] * 2):
        with layer.register_forward_hook(lambda m, args, out: out + 1):
            np.testing.assert_allclose(layer(x).numpy(), layer.forward(x * 2).numpy() + 1)
    np.testing.assert_allclose(layer(x).numpy(), y.numpy())


def test_keyword_arguments_and_order():
    mixed, seen = Mixed(), []
    mixed.register_forward_pre_hook(lambda m, args, kwargs: (args, {"scale": 3.0}), with_kwargs=True)
    mixed.register_forward_hook(lambda m, args, kwargs, out: seen.append(kwargs), with_kwargs=True)
    mixed.register_forward_hook(lambda m, args, out: seen.append("first"), prepend=True)
    assert mixed(Tensor(X), Tensor(X), scale=2.0)[0].tolist() == (X * X * 3).tolist()
    assert seen == ["first", {"scale": 3.0}]
    with pytest.raises(TypeError, match="a hook is a function"):
        mixed.register_forward_hook(3)


def test_a_hook_that_removes_itself_leaves_the_others():
    layer, seen = nn.ReLU(), []
    once = layer.register_forward_hook(lambda m, args, out: (seen.append("once"), once.remove()) and None)
    layer.register_forward_hook(lambda m, args, out: seen.append("always"))
    layer(Tensor(X))
    layer(Tensor(X))
    assert seen == ["once", "always", "always"]


def test_a_hooked_layer_is_never_passed_by():
    """Layers that are computed in one go with what follows them are called, if somebody listens."""
    layer, seen = nn.TransformerEncoderLayer(4, 2, 8, activation="gelu", rng=0), []
    layer.linear1.register_forward_hook(lambda m, args, out: seen.append(out.shape))
    layer(Tensor(np.zeros((3, 1, 4), np.float32)))
    assert seen == [(3, 1, 8)]


def backward_of(room, tensor, listen):
    """The gradients of two inputs, and what the hooks saw."""
    a, b = tensor(X), tensor(X + 1)
    mixed, seen = room(), []
    listen(mixed, seen)
    y, z = mixed(a, b, scale=2.0)
    (y * y + 3 * z).sum().backward()
    return [a.grad, b.grad, *seen]


@pytest.mark.parametrize("change", [False, True])
def test_backward_hooks_are_torchs(change):
    torch = pytest.importorskip("torch")

    class Theirs(torch.nn.Module):
        forward = Mixed.forward

    def listen(mixed, seen):
        def backward(module, grad_input, grad_output):
            seen.extend([*grad_input, *grad_output])
            return tuple(2 * g for g in grad_input) if change else None

        def before(module, grad_output):
            return tuple(g + 1 for g in grad_output) if change else None

        mixed.register_full_backward_hook(backward)
        mixed.register_full_backward_pre_hook(before)

    ours = backward_of(Mixed, lambda x: Tensor(x, requires_grad=True), listen)
    expected = backward_of(Theirs, lambda x: torch.tensor(x, requires_grad=True), listen)
    assert len(ours) == 6
    for mine, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy())


def test_a_backward_hook_of_inputs_without_gradients_still_sees_the_outputs():
    layer, seen = nn.Linear(3, 2, rng=0).double(), []
    layer.register_full_backward_hook(
        lambda m, grad_input, grad_output: seen.append((grad_input, grad_output[0].shape))
    )
    ops.sum(layer(Tensor(X))).backward()
    assert seen == [((None,), (2, 2))] and layer.weight.grad is not None
    layer.register_full_backward_hook(lambda m, grad_input, grad_output: (None, None, None))
    with pytest.raises(ValueError, match="was given 1 gradients and returned 3"):
        ops.sum(layer(Tensor(X))).backward()


def test_copies_have_hooks_of_their_own():
    layer, seen = nn.ReLU(), []
    handle = layer.register_forward_hook(lambda m, args, out: seen.append(1))
    other = copy.deepcopy(layer)
    handle.remove()
    layer(Tensor(X))
    assert seen == []
    other(Tensor(X))
    assert seen == [1]
