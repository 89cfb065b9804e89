"""The bilinear map beside torch, and what it refuses."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad.tensor import Tensor


def test_bilinear_is_torchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for lead in ((), (3,), (2, 3)):
        arrays = [rng.standard_normal((*lead, n)) for n in (4, 5)] + [
            rng.standard_normal((2, 4, 5)),
            rng.standard_normal(2),
        ]
        ours, theirs = [Tensor(a, True) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
        y, expected = F.bilinear(*ours), torch.nn.functional.bilinear(*theirs)
        np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12)
        (y * y).sum().backward()
        (expected * expected).sum().backward()
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-11)


def test_shapes_that_do_not_fit():
    a, b, w = np.ones((3, 4)), np.ones((3, 5)), np.ones((2, 4, 5))
    for given in ((b, a, w), (a[:2], b, w), (a, b, w[0])):
        with pytest.raises(ValueError, match="bilinear: "):
            F.bilinear(*map(Tensor, given))
    with pytest.raises(ValueError, match="the bias has shape"):
        F.bilinear(*map(Tensor, (a, b, w)), np.ones(3))
    assert F.bilinear(*map(Tensor, (a, b, w)), [1.0, 2.0]).tolist() == [[21, 22]] * 3
