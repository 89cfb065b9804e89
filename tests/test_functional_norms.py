"""Instance and local response normalisation: running statistics and what is refused.  (Values: tests/parity.)"""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad import nn
from minigrad.tensor import Tensor

X = np.random.default_rng(0).standard_normal((2, 3, 5)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_running_statistics_are_those_of_torch_in_any_dtype(dtype):
    torch = pytest.importorskip("torch")
    ours, theirs = (room.InstanceNorm1d(3, affine=True, track_running_stats=True) for room in (nn, torch.nn))
    theirs(torch.tensor(X))
    ours.to(dtype)(Tensor(X.astype(dtype)))
    for name in ("running_mean", "running_var"):
        found = getattr(ours, name)
        assert found.dtype == dtype
        np.testing.assert_allclose(
            found.numpy(), getattr(theirs, name).numpy(), rtol=1e-5 if dtype == "float32" else 1e-2, atol=1e-3
        )
    ours.eval()
    before = ours.running_mean.numpy().copy()
    ours(Tensor(X.astype(dtype)))
    assert (ours.running_mean.numpy() == before).all()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x: F.instance_norm(x[:, :, :1]), "more than one value"),
        (lambda x: F.instance_norm(x, use_input_stats=False), "needs running_mean and running_var"),
        (lambda x: F.instance_norm(x, np.zeros(3)), "instance_norm: running_mean and running_var belong together"),
        (lambda x: F.batch_norm(x, np.zeros(3), training=True), "batch_norm: running_mean and running_var belong"),
        (lambda x: F.instance_norm(x, weight=np.ones(2)), "3 channels"),
        (lambda x: nn.InstanceNorm1d(4)(x), r"InstanceNorm1d of 4 channels was given \(2, 3, 5\)"),
        (lambda x: F.local_response_norm(x[0], 2), r"takes x \(N, C, L\)"),
        (lambda x: F.local_response_norm(x, 0), "size=0 is too small"),
    ],
)
def test_what_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call(Tensor(X))
