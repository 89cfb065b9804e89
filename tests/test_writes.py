"""Writes: one version per memory, whoever writes into it and by whatever name."""

import mmap

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim, writes
from minigrad.tensor import Tensor, grad

REFUSED = "written into after the forward pass"


def leaf(shape=(4, 3), dtype=np.float32, seed=0):
    return Tensor(np.random.default_rng(seed).uniform(0.5, 1.5, shape).astype(dtype), requires_grad=True)


# Every way to have a name for a part of w's memory; each is used in a product, which keeps it.
NAMES = {
    "itself": lambda w: w,
    "index": lambda w: w[1],
    "slice": lambda w: w[1:, ::2],
    "iteration": lambda w: list(w)[2],
    "T": lambda w: w.T,
    "mT": lambda w: w.mT,
    "reshape": lambda w: w.reshape(12),
    "flatten": lambda w: w.flatten(),
    "swapaxes": lambda w: w.swapaxes(0, 1),
    "split": lambda w: mg.split(w, 2)[0],
    "flip": lambda w: mg.flip(w, 0),
    "squeeze": lambda w: mg.squeeze(w.reshape(4, 1, 3)),
    "expand_dims": lambda w: mg.expand_dims(w, 0),
    "broadcast": lambda w: mg.broadcast_to(w, (2, 4, 3)),
    "detach": lambda w: w.detach(),
    "Tensor": lambda w: Tensor(w),
    "array": lambda w: Tensor(w.data),
    "part of the array": lambda w: Tensor(w.data[1:]),
    "numpy": lambda w: Tensor(w.numpy()),
    "einsum": lambda w: mg.einsum("ij->ji", w),
    "DLPack": lambda w: mg.from_dlpack(w),
    "DLPack of a part": lambda w: mg.from_dlpack(w.data[1:]),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_view_that_was_kept_shares_the_version_of_its_base(name):
    w = leaf()
    part = NAMES[name](w)
    x = Tensor(np.ones(part.shape, np.float32), requires_grad=True)
    for write in (lambda: w.copy_(0.0), lambda: _step(w), lambda: _subtract(w)):
        loss = (x * part).sum()
        write()
        with pytest.raises(RuntimeError, match=REFUSED):
            loss.backward()
    assert grad((x * part).sum(), x).shape == x.shape  # what is computed after the write is as good as ever


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"broadcast"}))
def test_a_base_that_was_kept_shares_the_version_of_its_views(name):
    w = leaf()
    x = Tensor(np.ones(w.shape, np.float32), requires_grad=True)
    loss = (x * w).sum()
    NAMES[name](w).detach().copy_(0.0)
    with pytest.raises(RuntimeError, match=REFUSED):
        loss.backward()


def _step(w):
    w.grad = mg.ones_like(w)
    optim.SGD([w], 0.1).step()
    w.grad = None


def _subtract(w):
    with mg.no_grad():
        w -= 0.1


@pytest.mark.parametrize(
    "use",
    [
        mg.exp,
        mg.tanh,
        mg.sigmoid,
        mg.sqrt,
        mg.softmax,
        mg.relu,
        F.gelu,
        lambda x: x * x,
        lambda x: F.layer_norm(x, (4, 3)),
        lambda x: x.T @ x,
        lambda x: mg.max(x, 0),
        lambda x: 1 / x,
    ],
)
def test_an_output_or_an_input_that_is_no_leaf_is_kept_too(use):
    x = leaf()
    for which in (0, 1):
        h = x * 2
        y = use(h)
        loss = y.sum()
        kept = [array for node in _steps(y.node) for array in writes.kept_arrays(node.saved)]
        (h, y)[which].detach().copy_(0.0)
        if any(np.shares_memory(array, (h, y)[which].data) for array in kept):
            with pytest.raises(RuntimeError, match=REFUSED):
                loss.backward()
        else:
            loss.backward()


def _steps(node):
    return [node, *(step for parent in node.parents for step in _steps(parent))]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Linear(8, 8, rng=0),
        lambda: nn.MultiheadAttention(8, 2, rng=0),
        lambda: nn.LSTM(8, 8, rng=0),
        lambda: nn.LayerNorm(8),
        lambda: nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, rng=0),
    ],
    ids=["linear", "attention", "lstm", "norm", "transformer"],
)
def test_a_layer_whose_weights_step_in_between_is_refused(layer):
    layer = layer()
    x = mg.ones((2, 3, 8), requires_grad=True)
    y = layer(x, x, x) if isinstance(layer, nn.MultiheadAttention) else layer(x)
    y = y[0] if isinstance(y, tuple) else y
    for p in layer.parameters():
        p.grad = mg.ones_like(p)
    optim.AdamW(layer.parameters()).step()
    with pytest.raises(RuntimeError, match=REFUSED):
        (y * y).sum().backward()


def test_gradients_are_memory_like_any_other():
    x = leaf()
    (x * 2).sum().backward()
    loss = (x.grad * x).sum()
    (x * 3).sum().backward()  # adds to x.grad in place
    with pytest.raises(RuntimeError, match=REFUSED):
        loss.backward()
    for write in (lambda: optim.clip_grad_norm_([x], 0.1), lambda: optim.clip_grad_value_([x], 0.1)):
        loss = (x.grad * x).sum()
        write()
        with pytest.raises(RuntimeError, match=REFUSED):
            loss.backward()


def test_averages_are_memory_too():
    x = leaf()
    ema = optim.EMA([x], 0.5)
    ema.update()
    with ema.applied():
        loss = (x * x).sum()
    x.copy_(0.0)
    ema.update()
    with pytest.raises(RuntimeError, match=REFUSED):
        loss.backward()


def test_what_shares_no_memory_is_no_alarm():
    flat = np.ones(10, np.float32)  # two parameters in one array
    a, b = Tensor(flat[:5], requires_grad=True), Tensor(flat[5:], requires_grad=True)
    loss = (a * a).sum()
    b.copy_(3.0)
    loss.backward()
    assert a.grad.tolist() == [2] * 5
    file = mmap.mmap(-1, 4096)  # two weights of one file
    a, b = (Tensor(np.frombuffer(file, np.float32, 8, at), requires_grad=True) for at in (0, 32))
    again = Tensor(np.frombuffer(file, np.float32, 8, 0))
    loss = (a * a).sum()
    b.copy_(3.0)
    loss.backward(retain_graph=True)
    again.copy_(1.0)
    with pytest.raises(RuntimeError, match=REFUSED):
        loss.backward()


def test_training_as_usual_is_no_alarm():
    """Running statistics, two optimisers in turns, accumulated gradients, retained graphs, a second forward after a
    step.
    """
    net = nn.Sequential(
        nn.Linear(4, 4, rng=0), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5, rng=1), nn.Linear(4, 1, rng=2)
    )
    other = nn.Sequential(nn.Linear(4, 4, rng=3), nn.BatchNorm1d(4))
    optimizers = [optim.AdamW(m.parameters()) for m in (net, other)]
    x = mg.Tensor(np.random.default_rng(0).standard_normal((8, 4)).astype("f4"))
    for _ in range(3):
        fake = other(x)
        loss = net(fake.detach()).sum() + net(x).sum()  # the second pass writes the statistics of the first
        loss.backward()
        optimizers[0].step()
        (net(fake) ** 2).sum().backward(retain_graph=True)  # fake is older than the step, but keeps nothing of net's
        optimizers[1].step()
        for optimizer in optimizers:
            optimizer.zero_grad()
    first, second = net(x), net(2 * x)
    (first.sum() + second.sum()).backward()
    net.eval()
    y = net(other(x)).sum()
    other.train()(x)  # writes statistics, of which y kept nothing
    y.backward()


def test_a_weight_that_no_rule_keeps_may_change():
    x, w = leaf(), leaf()
    for loss in ((x + w).sum(), (x - 2 * w).sum(), (mg.exp(w) + x).sum()):
        w.copy_(2.0)
        loss.backward()


def test_the_notes_of_what_was_written_go_with_the_arrays():
    before = len(writes._written)
    for _ in range(100):
        leaf().copy_(1.0)
    assert len(writes._written) <= before + 1
    w = leaf((1000,))
    for i in range(1000):
        Tensor(w.data[i : i + 1]).copy_(0.0)
    assert len(writes._written[id(w.data)].parts) <= writes.MAX_PARTS
    assert w.version == 1000
