"""Activations beside torch where they bend, where nothing is a number and where nothing is finite; and what they
refuse.
"""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad.tensor import Tensor

CALLS = {  # and where it bends
    "celu": (dict(alpha=1.5), 0.0),
    "elu": (dict(alpha=1.5), 0.0),
    "gelu": ({}, 0.0),
    "hardshrink": (dict(lambd=0.25), 0.25),
    "hardsigmoid": ({}, 3.0),
    "hardswish": ({}, 3.0),
    "hardtanh": (dict(min_val=-2.0, max_val=0.5), 0.5),
    "leaky_relu": (dict(negative_slope=0.1), 0.0),
    "logsigmoid": ({}, 0.0),
    "mish": ({}, 0.0),
    "relu": ({}, 0.0),
    "relu6": ({}, 6.0),
    "selu": ({}, 0.0),
    "silu": ({}, 0.0),
    "softplus": ({}, 20.0),
    "softshrink": (dict(lambd=0.25), 0.25),
    "softsign": ({}, 0.0),
    "tanhshrink": ({}, 0.0),
    "threshold": (dict(threshold=0.5, value=2.0), 0.5),
}


@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients_are_torchs_at_the_bends_and_at_the_ends(name):
    torch = pytest.importorskip("torch")
    options, bend = CALLS[name]
    steps = [np.nextafter(s, s + d) for s in (-bend, bend) for d in (-1, 1)] if bend else []
    x = np.array([0.0, -0.0, bend, -bend, *steps, -700.0, 700.0, 1e-300, np.nan])
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = getattr(F, name)(ours, **options), getattr(torch.nn.functional, name)(theirs, **options)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-7)
    y.sum().backward()
    expected.sum().backward()
    finite = ~np.isnan(x)
    np.testing.assert_allclose(ours.grad.numpy()[finite], theirs.grad.numpy()[finite], rtol=1e-7, atol=1e-300)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x: F.elu(x, "1"), "elu: alpha is a number, not '1'"),
        (lambda x: F.celu(x, 0), "celu: alpha is 0"),
        (lambda x: F.hardtanh(x, 2, 1), "hardtanh: min_val=2 is above max_val=1"),
        (lambda x: F.softshrink(x, -1), "softshrink: lambd=-1"),
        (lambda x: F.threshold(x, None, 1), "threshold: threshold is a number, not None"),
        (lambda x: F.glu(x), r"glu: axis 1 of shape \(2, 3\) cannot be halved"),
        (lambda x: F.glu(x, 5), "glu: axis 5"),
        (lambda x: F.prelu(x, np.ones(2)), r"prelu: a weight of shape \(1,\) or \(3,\)"),
    ],
)
def test_what_they_refuse(call, told):
    with pytest.raises((TypeError, ValueError), match=told):
        call(Tensor(np.ones((2, 3))))


def test_lists_are_numbers_too_and_integers_become_floating_where_they_must():
    assert F.elu([1, 2]).tolist() == [1, 2] and F.elu(Tensor([1, 2])).dtype == np.float32
    assert F.hardtanh(Tensor([-5, 1, 7]), -2, 6).tolist() == [-2, 1, 6]
    assert F.hardtanh(Tensor([1, 2]), 0, 1).dtype == np.int64
