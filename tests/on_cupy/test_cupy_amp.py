"""Mixed precision on CuPy: the losses NumPy gives, and one wait a step where float16 must ask whether a step can be
taken.
"""

import numpy as np
import pytest
from test_cupy_training import GPT, IDS, STEPS, adamw, cnn, mlp, rng

import minigrad as mg
from minigrad import functional as F
from minigrad import optim
from minigrad.tensor import Tensor

RUNS = {
    "MLP": (mlp, rng.standard_normal((12, 5), "f4"), np.arange(12) % 3),
    "CNN": (cnn, rng.standard_normal((4, 1, 8, 8), "f4"), np.arange(4) % 3),
    "GPT": (GPT, IDS[:, :-1], IDS[:, 1:]),
}


def train(run, dtype, device, downloads=lambda: 0):
    make, x, labels = run
    model = make(np.random.default_rng(0)).to(device)
    optimizer, scaler = adamw(model.parameters()), mg.GradScaler(2.0**12, enabled=dtype == "float16")
    x, labels = Tensor(x, device=device), Tensor(labels, device=device)
    losses, copies = [], []
    downloads()
    for _ in range(STEPS):
        with mg.autocast(dtype):
            loss = F.cross_entropy(model(x), labels)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        optim.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        optimizer.zero_grad()
        scaler.update()
        copies.append(downloads())
        losses.append(loss.item())
        downloads()
    assert all(p.dtype == np.float32 for p in model.parameters()) and scaler.skipped == 0
    return losses, copies


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", RUNS)
def test_a_run(name, dtype, downloads):
    (ours, copies), (numpys, _) = train(RUNS[name], dtype, "cuda", downloads), train(RUNS[name], dtype, "cpu")
    np.testing.assert_allclose(ours, numpys, rtol=0.02)
    assert copies == [dtype == "float16"] * STEPS
