"""Weights as whole numbers of 8 and 4 bits: how near they are, and what does not belong together."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)


def test_int8_is_within_half_a_step_of_each_weight():
    weight = rng.standard_normal((5, 300)).astype("f4") * np.array([[1e-20], [1], [1e20], [0], [3]], "f4")
    numbers, scales = F.quantize(weight)
    assert numbers.dtype == np.int8 and numbers.shape == (5, 300) and scales.shape == (5,)
    steps = abs(weight).max(1) / 127
    assert (abs(F.dequantize(numbers, scales) - weight) <= steps[:, None] * 0.5001).all()
    assert (numbers[3] == 0).all() and scales[3] == 1


@pytest.mark.parametrize("features", [1, 32, 63, 64, 65, 200])
def test_int4_is_near_each_weight_whatever_the_width(features):
    weight = rng.standard_normal((6, features)).astype("f4")
    weight[0] = 0
    numbers, scales = F.quantize(weight, "int4")
    groups = -(-features // 64)
    assert numbers.dtype == np.uint8 and numbers.shape == (6, 32 * groups) and scales.shape == (6, groups)
    found = F.dequantize(numbers, scales, features)
    assert found.shape == weight.shape and found.dtype == np.float32 and (found[0] == 0).all()
    for g in range(groups):
        part = slice(64 * g, min(features, 64 * g + 64))
        error, top = abs(found - weight)[:, part], abs(weight[:, part]).max(1)
        assert (error.max(1) <= 0.3 * top).all() and (np.sqrt((error**2).mean(1)) <= 0.06 * top).all()


def test_int4_has_no_larger_error_than_rounding_to_the_scale_of_the_largest():
    weight = rng.standard_normal((64, 256)).astype("f4")
    found = F.dequantize(*F.quantize(weight, "int4"), 256)
    groups = weight.reshape(64, 4, 64)
    scale = abs(groups).max(-1, keepdims=True) / 7
    plain = np.clip(np.rint(groups / scale), -8, 7) * scale
    assert ((found - weight) ** 2).sum() < 0.85 * ((plain.reshape(64, 256) - weight) ** 2).sum()


def test_int4_is_exact_for_weights_that_are_sixteen_levels():
    weight = rng.integers(-8, 8, (3, 128)).astype("f4") * np.float32(0.25)
    weight[:, ::64] = -2  # each group has the lowest level
    np.testing.assert_array_equal(F.dequantize(*F.quantize(weight, "int4"), 128), weight)


def test_a_product_is_that_with_the_weights_it_stands_for():
    x = rng.standard_normal((2, 3, 100)).astype("f4")
    for kind in ("int8", "int4"):
        numbers, scales = F.quantize(rng.standard_normal((7, 100)).astype("f4"), kind)
        weight = F.dequantize(numbers, scales, 100)
        y = F.quantized_linear(Tensor(x, True), numbers, scales, np.ones(7, "f4"))
        np.testing.assert_allclose(y.numpy(), x @ weight.T + 1, rtol=1e-4, atol=1e-5)
        assert F.quantized_linear(x.astype("f2"), numbers, scales.astype("f2")).dtype == np.float16
        assert F.quantized_linear(x.astype("f8"), numbers, scales).dtype == np.float64


def test_rounded_activations_pass_their_gradient():
    x = Tensor([[0.1, -3.0, 2.0], [0.0, 0.0, 0.0]], requires_grad=True, dtype="float32")
    y = F.fake_quantize(x)
    np.testing.assert_allclose(y.numpy(), [[0.0945, -3.0, 2.0079], [0, 0, 0]], atol=1e-3)
    (y * Tensor([[1.0, 2.0, 3.0]])).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[1, 2, 3], [1, 2, 3]])
    x = Tensor([0.2, 5.0, -5.0], requires_grad=True, dtype="float32")
    y = F.fake_quantize(x, np.float32(2 / 127))
    np.testing.assert_allclose(y.numpy(), [0.2047, 2, -2], atol=1e-3)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 0, 0])  # beyond the last level nothing moves
    assert isinstance(F.fake_quantize(np.ones(3, "f4")), np.ndarray)


def test_what_does_not_belong_together_is_refused():
    numbers, scales = F.quantize(np.ones((3, 64), "f4"), "int4")
    for call in (
        lambda: F.quantize(np.ones(3, "f4")),
        lambda: F.quantize(np.ones((3, 4), int)),
        lambda: F.quantize(np.full((3, 4), np.nan, "f4")),
        lambda: F.quantize(np.ones((3, 4), "f4"), "int2"),
        lambda: F.dequantize(np.ones((3, 4), "f4"), scales),
        lambda: F.dequantize(numbers, scales[:2]),
        lambda: F.dequantize(numbers, scales, 65),
        lambda: F.dequantize(numbers, scales, 0),
        lambda: F.quantized_linear(np.ones((2, 65), "f4"), numbers, scales),
        lambda: F.quantized_linear(np.float32(1), numbers, scales),
        lambda: F.quantized_linear(np.ones((2, 64), "f4"), numbers, scales, np.ones(4, "f4")),
        lambda: F.quantized_linear(mg.ones(2, 3), *F.quantize(np.ones((3, 4), "f4"))),
    ):
        with pytest.raises(ValueError, match="quanti[sz]e"):
            call()
