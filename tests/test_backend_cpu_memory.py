"""Two ways for images to lie in memory, which nobody notices but the clock."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.backend.cpu import cores, memory

rng = np.random.default_rng(0)


@given(array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5))
def test_there_and_back(shape):
    x = rng.standard_normal(shape)
    assert memory.by_pixel(x).shape == (*shape[1:], shape[0])
    np.testing.assert_array_equal(memory.by_sample(memory.by_pixel(x)), x)
    for beside in (False, True):
        y = memory.new(shape, x.dtype, beside)
        y[...] = x
        assert y.shape == shape and (memory.by_pixel(y) if beside else y).flags.c_contiguous
        planes, other = memory.planes(y, x)
        assert planes.flags.c_contiguous and np.shares_memory(planes, y) and planes.shape[1] == shape[1]
        np.testing.assert_array_equal(memory.from_planes(planes, y), x)
        np.testing.assert_array_equal(other, planes)
        assert np.shares_memory(memory.from_planes(planes, y), y)


def test_many_samples_beside_each_other():
    x = memory.new((16, 3, 4, 5), np.float32, beside=True)
    assert memory.beside(x) and memory.lies_by_pixel(x)
    assert memory.beside(x[:, :, ::2, 1:]) and not memory.lies_by_pixel(x[:, :, ::2, 1:])
    assert (
        not memory.beside(x[:15]) and not memory.beside(np.ascontiguousarray(x)) and not memory.lies_by_pixel(x.copy())
    )


@pytest.mark.parametrize("shape", [(64, 40), (3, 700), (700, 3), (17, 4, 5, 6), (40, 3, 2)])
@pytest.mark.parametrize(
    "turn",
    [
        memory.by_sample,
        memory.by_pixel,
        lambda x: x,
        np.transpose,
        lambda x: x[::-1],
        lambda x: x[..., ::2],
        lambda x: x[:, 1:],
        lambda x: x.swapaxes(0, 1)[::2],
    ],
)
def test_in_order(shape, turn, monkeypatch):
    monkeypatch.setattr(cores, "MIN_SHARED", 16)
    monkeypatch.setattr(cores, "MAX_PIECE", 50)
    x = turn(rng.standard_normal(shape))
    y = memory.in_order(x)
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(y, x)


def test_who_reads_the_memory_gets_the_usual_order():
    """safetensors, for one, writes an array's memory as it comes."""
    y = nn.Conv2d(3, 16, 3)(mg.Tensor(rng.standard_normal((20, 3, 8, 8), np.float32)))
    assert memory.beside(y.data) and y.numpy().flags.c_contiguous and np.asarray(y.detach()).flags.c_contiguous
    np.testing.assert_array_equal(y.numpy(), y.data)
    x = mg.Tensor(rng.standard_normal((20, 3, 8)))
    assert x.numpy() is x.data and np.shares_memory(x.T.numpy(), x.data)


class Net(nn.Module):
    """All that keeps to the order in which a convolution of pictures lays its result."""

    def __init__(self, norm):
        super().__init__()
        self.stem, self.wide = (
            nn.Conv2d(3, 16, 3, padding=1, rng=0),
            nn.Conv2d(16, 24, 3, stride=2, padding=1, groups=2, rng=1),
        )
        self.deep = nn.Conv2d(24, 24, 3, padding=1, groups=24, rng=2)
        self.last = nn.Conv2d(24, 16, (3, 2), dilation=(2, 1), rng=3)
        self.norm, self.up, self.head = (
            norm(24),
            nn.ConvTranspose2d(16, 16, 2, stride=2, rng=4),
            nn.Linear(16 * 2 * 4, 5, rng=5),
        )

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        x = F.gelu(self.norm(self.wide(x)))
        x = F.relu6(self.deep(x)) * 2 + x
        x = F.avg_pool2d(F.max_pool2d(self.up(self.last(x)), 2), 2, 1, 1)
        return self.head(F.dropout(x, 0.0)[:, :, :3, 1:].reshape(len(x), -1))


@pytest.mark.parametrize(
    "norm", [lambda c: nn.BatchNorm2d(c).eval(), lambda c: nn.GroupNorm(3, c), lambda c: nn.ReLU()]
)
@pytest.mark.parametrize("shared", [cores.MIN_SHARED, 1 << 8])
def test_samples_together_are_samples_alone(norm, shared, monkeypatch):
    """20 samples lie beside each other, 10 do not: the same results and gradients, of first and second order."""
    monkeypatch.setattr(cores, "MIN_SHARED", shared)
    net, x = Net(norm), mg.Tensor(rng.standard_normal((20, 3, 20, 18), np.float32), requires_grad=True)
    assert memory.beside(net.stem(x).data) and not memory.beside(net.stem(x[:10]).data)
    parameters = [x, *net.parameters()]

    def both(batches):
        y = mg.concatenate([net(batch) for batch in batches])
        first = mg.grad((y * y).sum(), parameters, create_graph=True)
        again = mg.grad((first[0] * first[0]).sum(), parameters[1:4])
        return y, *first, *again

    for a, b in zip(both([x]), both([x[:10], x[10:]]), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=2e-4 * max(1, np.abs(b.numpy()).max()))
