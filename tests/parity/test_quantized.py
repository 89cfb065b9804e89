"""Numbers of 8 bits and rounded activations, as torch has them."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad.tensor import Tensor

torch = pytest.importorskip("torch")
rng = np.random.default_rng(0)


def test_numbers_of_8_bits_are_those_that_torch_rounds_to():
    weight = rng.standard_normal((7, 50)).astype("f4")
    numbers, scales = F.quantize(weight)
    zeros = torch.zeros(7, dtype=torch.int64)
    theirs = torch.quantize_per_channel(torch.from_numpy(weight), torch.from_numpy(scales), zeros, 0, torch.qint8)
    np.testing.assert_array_equal(numbers, theirs.int_repr().numpy())
    np.testing.assert_allclose(F.dequantize(numbers, scales), theirs.dequantize().numpy(), rtol=1e-6)


@pytest.mark.parametrize("scale", [0.01, 0.5])
def test_rounded_activations_and_their_gradient(scale):
    values, g = (rng.standard_normal((4, 6)).astype("f4") * 2 for _ in range(2))
    ours, theirs = Tensor(values, True), torch.tensor(values, requires_grad=True)
    y = F.fake_quantize(ours, np.float32(scale))
    z = torch.fake_quantize_per_tensor_affine(theirs, scale, 0, -127, 127)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-6)
    (y * Tensor(g)).sum().backward()
    (z * torch.from_numpy(g)).sum().backward()
    np.testing.assert_array_equal(ours.grad.numpy(), theirs.grad.numpy())
