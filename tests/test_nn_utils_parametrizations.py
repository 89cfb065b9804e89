"""Weight and spectral norm beside torch: the names in the state dict, outputs, gradients, and the power method."""

import numpy as np
import pytest

from minigrad import nn
from minigrad.tensor import Tensor

torch = pytest.importorskip("torch")

WEIGHT = [
    ("Linear", (4, 3), (2, 4), {}),
    ("Linear", (4, 3), (2, 4), {"dim": 1}),
    ("Linear", (4, 3), (2, 4), {"dim": None}),
    ("Linear", (4, 3), (2, 4), {"dim": -1}),
    ("Conv2d", (2, 3, 2), (2, 2, 4, 4), {}),
    ("ConvTranspose1d", (2, 3, 2), (2, 2, 5), {"dim": 1}),
]
SPECTRAL = [
    ("Linear", (4, 3), (2, 4), {}),
    ("Conv2d", (2, 3, 2), (2, 2, 4, 4), {"n_power_iterations": 3}),
    ("ConvTranspose2d", (2, 3, 2), (2, 2, 4, 4), {}),
    ("LayerNorm", (4,), (2, 4), {}),
]


@pytest.mark.parametrize(
    ("wrap", "kind", "arguments", "shape", "options"),
    [("weight_norm", *case) for case in WEIGHT] + [("spectral_norm", *case) for case in SPECTRAL],
)
def test_it_is_torchs(wrap, kind, arguments, shape, options):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(*arguments).double()
    theirs = getattr(torch.nn.utils.parametrizations, wrap)(theirs, **options)
    ours = getattr(nn.utils.parametrizations, wrap)(getattr(nn, kind)(*arguments).to("float64"), **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal(shape)
    for training in (True, False):
        a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, expected = ours.train(training)(a), theirs.train(training)(b)
        np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12)
        ours.zero_grad()
        theirs.zero_grad()
        (y * y).sum().backward()
        (expected * expected).sum().backward()
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-8, atol=1e-12)
        gradients = {name: p.grad for name, p in theirs.named_parameters()}
        for name, p in ours.named_parameters():
            np.testing.assert_allclose(p.grad.numpy(), gradients[name].numpy(), rtol=1e-8, atol=1e-12)
        for name, b in ours.named_buffers():
            np.testing.assert_allclose(b.numpy(), theirs.state_dict()[name].numpy(), rtol=1e-8)


def test_the_spectral_norm_of_the_weight_is_one():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4, rng=0), n_power_iterations=50, rng=1)
    assert np.linalg.norm(layer.weight.numpy(), 2) == pytest.approx(1, abs=1e-5)


def test_what_is_refused():
    with pytest.raises(ValueError, match="n_power_iterations"):
        nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(ValueError, match="axis 5"):
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 2), dim=5)
    with pytest.raises(ValueError, match="has no parameter 'kernel'"):
        nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2), "kernel")
