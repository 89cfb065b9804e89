"""Windows as columns, channels as pixels, and back, beside torch; and what they refuse."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)
WINDOWS = [
    {"kernel_size": 2},
    {"kernel_size": (3, 2), "dilation": (1, 2), "padding": (1, 0), "stride": (2, 1)},
    {"kernel_size": (2, 3), "padding": 1, "stride": 3},
]


def assert_torchs(name, x, *arguments, **options):
    torch = pytest.importorskip("torch")
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = getattr(F, name)(ours, *arguments, **options)
    expected = getattr(torch.nn.functional, name)(theirs, *arguments, **options)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-13)
    weights = np.cos(np.arange(y.size)).reshape(y.shape)
    (y * weights).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-12)
    return expected.detach().numpy()


@pytest.mark.parametrize("options", WINDOWS)
def test_unfold_and_fold(options):
    x = rng.standard_normal((2, 3, 6, 5))
    columns = assert_torchs("unfold", x, **options)
    assert_torchs("unfold", x[0], **options)
    assert_torchs("fold", columns, (6, 5), **options)
    assert_torchs("fold", columns[0], (6, 5), **options)


def test_shuffles():
    assert_torchs("pixel_shuffle", rng.standard_normal((2, 12, 3, 4)), 2)
    assert_torchs("pixel_shuffle", rng.standard_normal((9, 1, 2)), 3)
    assert_torchs("pixel_unshuffle", rng.standard_normal((2, 3, 4, 6)), 2)
    assert_torchs("channel_shuffle", rng.standard_normal((2, 6, 3, 4)), 3)
    x = rng.standard_normal((2, 3, 4, 6))
    np.testing.assert_array_equal(F.pixel_shuffle(F.pixel_unshuffle(Tensor(x), 2), 2).numpy(), x)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x: F.unfold(x[0, 0], 2), r"unfold takes \(N, C, H, W\) or \(C, H, W\)"),
        (lambda x: F.unfold(x, 9), "unfold: a kernel"),
        (lambda x: F.fold(x[0], (4, 4), 2), r"fold: x is \(N, C · 4, 9\) for an image of \(4, 4\)"),
        (lambda x: F.pixel_shuffle(x, 2), r"pixel_shuffle: x is \(…, C · 4, H, W\)"),
        (lambda x: F.pixel_unshuffle(x, 5), "pixel_unshuffle: x is"),
        (lambda x: F.channel_shuffle(x, 2), "channel_shuffle: x is"),
        (lambda x: F.pixel_shuffle(x, 0), "upscale_factor=0 is too small"),
    ],
)
def test_what_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call(Tensor(np.ones((1, 3, 4, 4))))
