"""Every layer and every optimiser does on CuPy what it does on NumPy: results, gradients, buffers, weights after some
steps.
"""

import inspect

import numpy as np
import pytest
from every_layer import INSIDE_OTHERS, LAYERS, OPTIMIZERS, R, run, tensors, weights_after

from minigrad import nn, optim
from minigrad.tensor import Tensor


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name):
    make, *inputs = LAYERS[name]
    for ours, numpys in zip(run(make, inputs, "cuda"), run(make, inputs, "cpu"), strict=True):
        np.testing.assert_allclose(ours, numpys, rtol=1e-4, atol=1e-5)


RECURRENT = {
    "LSTM": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True, rng=0),
    "GRU": lambda: nn.GRU(3, 4, bidirectional=True, rng=0),
    "RNN": lambda: nn.RNN(3, 4, rng=0),
    "RNN, relu": lambda: nn.RNN(3, 4, nonlinearity="relu", bias=False, rng=0),
}


def read(layer, x, lengths):
    """Forward and backward."""
    y, state = layer(x, lengths=lengths)
    (sum((s * s).sum() for s in tensors(state)) + (y * y).sum()).backward()


@pytest.mark.parametrize("where", [None, "cpu", "cuda"])
@pytest.mark.parametrize("make", RECURRENT.values(), ids=RECURRENT)
def test_what_a_recurrent_layer_copies(make, where, uploads, downloads):
    """Nothing to the device but the lengths, once, if they lie on the host; and nothing back."""
    layer, x = make().to("cuda"), Tensor(R(5, 2, 3), True, "f4", "cuda")
    lengths = where and Tensor(np.array([5, 3]), device=where)
    uploads(), downloads()
    read(layer, x, lengths)
    assert (uploads(), downloads()) == (where == "cpu", 0)


@pytest.mark.parametrize("where", [None, "cuda"])
@pytest.mark.parametrize("dtype", ["f4", "f2", "bfloat16"])
@pytest.mark.parametrize("make", RECURRENT.values(), ids=RECURRENT)
def test_a_recurrent_layer_can_be_recorded(make, dtype, where, capturing):
    """As a CUDA graph; a second time, since the first compiles."""
    layer, x = make().to(dtype).to("cuda"), Tensor(R(5, 2, 3), True, dtype, "cuda")
    lengths = where and Tensor(np.array([5, 3]), device=where)
    for second in (False, True):
        capturing(second)
        read(layer, x, lengths)


def test_lengths_on_the_device():
    """Padding is the same as for lengths from the host, and what is out of range is said when the host next waits."""
    layer, x = nn.GRU(3, 4, rng=0).to("cuda"), Tensor(R(5, 2, 3), dtype="f4", device="cuda")
    (ours, last), (theirs, their_last) = (layer(x, lengths=Tensor([5, 3], device=device)) for device in ("cuda", "cpu"))
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    np.testing.assert_array_equal(last.numpy(), their_last.numpy())
    layer(x, lengths=Tensor([6, 3], device="cuda"))
    with pytest.raises(ValueError, match=r"GRU: lengths must be 2 whole numbers from 0 to 5, .* these are \[6, 3\]"):
        last.numpy()


def test_masks_on_the_device_stay_there(downloads):
    layer, x = nn.MultiheadAttention(8, 2, rng=0).to("cuda"), Tensor(R(5, 2, 8), dtype="f4", device="cuda")
    padding, forbidden, added = np.arange(5) >= [[3], [5]], ~np.tri(5, dtype=bool), R(5, 5)
    for masks in (
        {"key_padding_mask": padding},
        {"attn_mask": forbidden},
        {"attn_mask": added},
        {"key_padding_mask": padding, "attn_mask": forbidden},
        {"key_padding_mask": padding, "attn_mask": added},
    ):
        there = {name: Tensor(mask, device="cuda") for name, mask in masks.items()}
        downloads()
        y, _ = layer(x, x, x, need_weights=False, **there)
        assert downloads() == 0
        np.testing.assert_array_equal(y.numpy(), layer(x, x, x, need_weights=False, **masks)[0].numpy())


def test_every_layer_is_here():
    assert {
        name for name, kind in vars(nn).items() if inspect.isclass(kind) and issubclass(kind, nn.Module)
    } - LAYERS.keys() - INSIDE_OTHERS == set()


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=lambda x: getattr(x, "__name__", ""))
def test_an_optimiser(kind, options):
    for ours, numpys in zip(weights_after(kind, options, "cuda"), weights_after(kind, options, "cpu"), strict=True):
        np.testing.assert_allclose(ours, numpys, rtol=1e-5, atol=1e-6)


def test_averages_of_weights():
    found = []
    for device in ("cuda", "cpu"):
        layer = nn.Linear(3, 5, rng=0).to(device)
        average = optim.EMA(layer.parameters(), 0.9)
        for _ in range(3):
            average.update()
            layer.weight.copy_(layer.weight.data * 2)
        with average.applied():
            found.append(layer.weight.numpy())
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_every_optimiser_is_here():
    assert {kind for kind in vars(optim).values() if inspect.isclass(kind) and issubclass(kind, optim.Optimizer)} == {
        kind for kind, _ in OPTIMIZERS
    } | {optim.Optimizer}
