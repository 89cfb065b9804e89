"""F.pad beside torch over drawn widths, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import functional as F
from minigrad.tensor import Tensor


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_it_is_torchs(data):
    torch = pytest.importorskip("torch")
    mode = data.draw(st.sampled_from(["constant", "reflect", "replicate", "circular"]))
    axes = data.draw(st.integers(1, 3))
    shape = (2, 1, *data.draw(st.lists(st.integers(2, 4), min_size=axes, max_size=axes)))
    widths = [data.draw(st.integers(-1, n - 1)) for n in shape[:1:-1] for _ in range(2)]
    if any(n + widths[2 * i] + widths[2 * i + 1] < 1 for i, n in enumerate(shape[:1:-1])):
        return
    x = np.random.default_rng(0).standard_normal(shape)
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    value = {"value": 1.5} if mode == "constant" else {}
    try:
        expected = torch.nn.functional.pad(theirs, widths, mode, **value)
    except RuntimeError:
        return
    y = F.pad(ours, widths, mode, **value)
    np.testing.assert_array_equal(y.numpy(), expected.detach().numpy())
    weights = np.cos(np.arange(y.size)).reshape(y.shape)
    (y * weights).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    # An entry may be the sum of several weights that nearly cancel, so the error is compared with theirs.
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x: F.pad(x, (1, 2, 3)), r"pad: \(1, 2, 3\) is to be pairs"),
        (lambda x: F.pad(x, (1, 1) * 3), "for at most the 2 axes"),
        (lambda x: F.pad(x, 1), "pad: 1 is to be pairs"),
        (lambda x: F.pad(x, (1, 1), "edge"), "mode='edge' is not known: type one of 'constant', 'reflect'"),
        (lambda x: F.pad(x, (1, 1), "reflect", 2.0), 'value=2.0 is for mode="constant"'),
        (lambda x: F.pad(x, (3, 0), "reflect"), "3 is too much for axis 1 .* give at most 2"),
        (lambda x: F.pad(x, (0, 4), "circular"), "give at most 3"),
        (lambda x: F.pad(x, (-2, -2)), "takes more away"),
        (lambda x: F.pad(Tensor([1, 2]), (1, 1), value=0.5), "value=0.5 is to be a number that int64 can hold"),
    ],
)
def test_what_it_refuses(call, told):
    with pytest.raises((ValueError, TypeError), match=told):
        call(Tensor(np.ones((2, 3))))
