"""Sums over ranks have gradients, and a SyncBatchNorm of several ranks is the BatchNorm of all their batches."""

import numpy as np
import pytest
from mpi import needs_mpi, program

import minigrad as mg
from minigrad import nn
from minigrad.distributed import all_reduce

SYNC = """
import numpy as np
import minigrad as mg
from minigrad import nn
from minigrad.distributed import all_reduce, world

w = world()
rng = np.random.default_rng(0)
for shape, dtype, mean, tolerance in (
    ((9, 3, 4, 4), "float64", 5, 1e-12), ((9, 3), "float64", 0, 1e-12), ((9, 3, 5), "float32", 1000, 1e-4)
):
    x, g = rng.standard_normal((2, *shape)).astype(dtype)
    x, parts = x + np.asarray(mean, dtype), np.array_split(np.arange(len(x)), w.size)
    norms = [kind(3, momentum=0.2) for kind in (
        nn.SyncBatchNorm, {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)])]
    for norm in norms:
        norm.to(dtype)
        norm.weight.copy_(np.array([2.0, -1.0, 0.5]))
    mine, whole = mg.Tensor(x[parts[w.rank]], requires_grad=True), mg.Tensor(x, requires_grad=True)
    found, expected = norms[0](mine), norms[1](whole)
    first = (found * g[parts[w.rank]]).sum()
    other = (expected * g).sum()
    (gx,), (ex,) = mg.grad(first, [mine], create_graph=True), mg.grad(other, [whole], create_graph=True)
    np.testing.assert_allclose(found.numpy(), expected.numpy()[parts[w.rank]], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(gx.numpy(), ex.numpy()[parts[w.rank]], rtol=tolerance, atol=tolerance)
    (gx * gx).sum().backward()
    (ex * ex).sum().backward()
    loose = {"rtol": 1e3 * tolerance, "atol": 1e3 * tolerance}
    np.testing.assert_allclose(mine.grad.numpy(), whole.grad.numpy()[parts[w.rank]], **loose)
    total = w.all_reduce(norms[0].weight.grad.numpy().copy())
    np.testing.assert_allclose(total, norms[1].weight.grad.numpy(), **loose)
    for name, t in norms[1].state_dict().items():
        np.testing.assert_allclose(norms[0].state_dict()[name].numpy(), t.numpy(), rtol=10 * tolerance, err_msg=name)

norm, alone = nn.SyncBatchNorm(3).double(), nn.BatchNorm1d(3).double()
norm.counts = w.rank < w.size - 1  # the last rank takes part without being counted
x = rng.standard_normal((w.size, 4, 3))
y = norm(x[w.rank])
expected = alone(x[:-1].reshape(-1, 3))
if norm.counts:
    np.testing.assert_allclose(y.numpy(), expected.numpy().reshape(-1, 4, 3)[w.rank], rtol=1e-12)
np.testing.assert_allclose(norm.running_var.numpy(), alone.running_var.numpy(), rtol=1e-12)
halves = nn.SyncBatchNorm(3)(mg.Tensor(x[w.rank].astype("float16")))
assert halves.dtype == np.float16
np.testing.assert_allclose(norm.eval()(x[w.rank]).numpy(), alone.eval()(x[w.rank]).numpy(), rtol=1e-12)
print("rank", w.rank, "is done")
"""


def test_of_one_process_a_sum_is_what_it_gives():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    (all_reduce(x) * 3).sum().backward()
    assert x.grad.numpy().tolist() == [3, 3]


def test_of_one_process_it_is_batch_norm():
    x = np.random.default_rng(0).standard_normal((5, 3, 2, 2))
    sync, plain = nn.SyncBatchNorm(3), nn.BatchNorm2d(3)
    np.testing.assert_array_equal(sync(x).numpy(), plain(x).numpy())
    np.testing.assert_array_equal(sync.running_var.numpy(), plain.running_var.numpy())
    with pytest.raises(ValueError, match="SyncBatchNorm of 3 channels was given"):
        sync(np.ones((2, 4)))


def test_conversion_keeps_parameters_buffers_names_and_sharing():
    shared = nn.BatchNorm1d(4, momentum=None, affine=False)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, eps=0.1), nn.Sequential(shared, nn.ReLU()), shared)
    before, names = model.state_dict(), list(model.state_dict())
    model[1].eval()
    assert nn.SyncBatchNorm.convert_sync_batchnorm(model) is model
    assert list(model.state_dict()) == names and all(model.state_dict()[name] is before[name] for name in names)
    assert [type(m).__name__ for m in model.modules()].count("SyncBatchNorm") == 3
    assert model[3] is model[2][0] and model[3].momentum is None
    assert model[1].eps == 0.1 and not model[1].training and model[2][0].training
    alone = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm3d(2))
    assert isinstance(alone, nn.SyncBatchNorm) and alone(np.ones((2, 2, 1, 1, 1))).shape == (2, 2, 1, 1, 1)
    layer = nn.Linear(2, 2)
    assert nn.SyncBatchNorm.convert_sync_batchnorm(layer) is layer


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
def test_ranks_normalise_together(n):
    done = program(n, SYNC)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is done") == n
