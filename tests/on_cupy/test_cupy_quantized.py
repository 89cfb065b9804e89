"""Products with quantised weights on CuPy, of a few rows by a kernel of their own, and of many."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad.backend.cuda import quantized
from minigrad.nn.quantized import quantize
from minigrad.pretrained import GPT2Config, GPT2LMHeadModel
from minigrad.tensor import Tensor, grad

rng = np.random.default_rng(0)


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize(("rows", "n", "features"), [(1, 9, 70), (16, 5, 64), (17, 40, 129)])
def test_a_product_and_its_gradients_are_those_of_numpy(kind, rows, n, features):
    assert quantized.MAX_FEW == 16
    numbers, scales = F.quantize(rng.standard_normal((n, features)).astype("f4"), kind)
    x, g = rng.standard_normal((rows, features)).astype("f4"), rng.standard_normal((rows, n)).astype("f4")
    results = []
    for device in ("cpu", "cuda"):
        leaves = [Tensor(a, True, device=device) for a in (x, scales, np.ones(n, "f4"))]
        y = F.quantized_linear(leaves[0], Tensor(numbers, device=device), *leaves[1:])
        results.append([y, *grad(y, leaves, Tensor(g, device=device))])
    for one, two in zip(*results):
        np.testing.assert_allclose(two.numpy(), one.numpy(), rtol=1e-4, atol=1e-4)


def test_a_quantised_model_writes_the_same_on_both():
    sizes = {"vocab_size": 50, "n_embd": 64, "n_layer": 1, "n_head": 2, "n_positions": 16}
    model = quantize(GPT2LMHeadModel(GPT2Config(**sizes), rng=0).eval(), "int4")
    ids = np.array([[3, 5, 7]])
    found = model.generate(ids, max_new_tokens=5, eos_token_id=[])
    model.to("cuda")
    assert model.transformer.wte.qweight.dtype == np.uint8
    np.testing.assert_array_equal(model.generate(ids, max_new_tokens=5, eos_token_id=[]), found)
