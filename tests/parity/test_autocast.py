"""Mixed precision beside torch's: a block under autocast and a scaler are as close to torch's as 16 bits allow."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim

torch = pytest.importorskip("torch")


def test_a_block_in_bfloat16():
    rng = np.random.default_rng(0)
    ours = nn.Sequential(nn.Linear(64, 256, rng=0), nn.LayerNorm(256), nn.GELU(), nn.Linear(256, 8, rng=1))
    theirs = torch.nn.Sequential(
        torch.nn.Linear(64, 256), torch.nn.LayerNorm(256), torch.nn.GELU(), torch.nn.Linear(256, 8)
    )
    theirs.load_state_dict({name: torch.tensor(t.numpy()) for name, t in ours.state_dict().items()})
    x, labels = rng.standard_normal((32, 64)).astype("f4"), rng.integers(0, 8, 32)

    def of_torch(enabled):
        theirs.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            y = theirs(torch.tensor(x))
            torch.nn.functional.cross_entropy(y, torch.tensor(labels)).backward()
        return [y.detach().float().numpy(), *(p.grad.numpy() for p in theirs.parameters())]

    with mg.autocast("bfloat16"):
        y = ours(mg.Tensor(x))
        loss = F.cross_entropy(y, labels)
    loss.backward()
    found = [y.numpy().astype("f4"), *(p.grad.numpy() for p in ours.parameters())]
    expected, exact = of_torch(True), of_torch(False)
    assert str(y.dtype) == "bfloat16" and loss.dtype == np.float32
    for a, b, c in zip(found, expected, exact, strict=True):
        assert a.dtype == np.float32 and a.shape == b.shape
        noise, scale = np.linalg.norm(b - c), np.linalg.norm(c)
        assert 0 < noise < 0.02 * scale  # what bfloat16 costs torch
        assert np.linalg.norm(a - b) < 2 * noise  # two that are so far from the truth, each in its own direction
        assert np.linalg.norm(a - c) < 1.2 * noise


def test_a_scaler_goes_the_way_of_torchs():
    scalers = mg.GradScaler(64.0, growth_interval=2), torch.amp.GradScaler("cpu", 64.0, growth_interval=2)
    w, v = mg.tensor([1.0, 2.0], requires_grad=True), torch.tensor([1.0, 2.0], requires_grad=True)
    optimizers = optim.SGD([w], lr=0.1), torch.optim.SGD([v], lr=0.1)
    for factor in (1.0, 1.0, float("inf"), 1.0, float("nan"), 1.0, 1.0, 1.0):
        for scaler, p, optimizer in zip(scalers, (w, v), optimizers, strict=True):
            optimizer.zero_grad()
            scaler.scale((p * p * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        assert scalers[0].get_scale() == scalers[1].get_scale()
        np.testing.assert_allclose(w.numpy(), v.detach().numpy(), rtol=1e-6)
    ours, theirs = (scaler.state_dict() for scaler in scalers)
    assert ours == {**theirs, "skipped": 2}
    scalers[1].load_state_dict({**ours, "scale": 8.0})
    scalers[0].load_state_dict(scalers[1].state_dict())
    assert scalers[0].get_scale() == 8.0
