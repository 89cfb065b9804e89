"""ReLU on a CPU, in pieces: what the op means."""

import numpy as np
import pytest

from minigrad import backend
from minigrad import functional as F
from minigrad.backend.cpu import activations, cores
from minigrad.tensor import Tensor, grad

rng = np.random.default_rng(0)


@pytest.mark.parametrize("piece", [12, 1 << 17])
@pytest.mark.parametrize("op", [F.relu, F.relu6])
def test_relu(op, piece, monkeypatch):
    monkeypatch.setattr(cores, "MAX_PIECE", piece)
    monkeypatch.setattr(cores, "MIN_SHARED", piece)
    x, found = Tensor(np.round(rng.standard_normal((7, 9)) * 8), requires_grad=True), []  # zeros and sixes among them
    for table in (activations.table, {}):
        for name in activations.table:
            monkeypatch.delitem(backend.host.kernels, name, raising=False)
        for name, kernel in table.items():
            monkeypatch.setitem(backend.host.kernels, name, kernel)
        y = op(x)
        found.append((y.numpy(), grad(y, [x], Tensor(np.cos(np.arange(63.0)).reshape(7, 9)))[0].numpy()))
    for ours, meant in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, meant)
