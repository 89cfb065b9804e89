"""Convolution and pooling against torch.nn: weights that load both ways, outputs, all gradients, in float64."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from compare import same_layer  # noqa: E402

from minigrad import nn  # noqa: E402

few = settings(max_examples=60)
dimensions, flags, sizes = st.integers(1, 2), st.booleans(), st.integers(1, 3)


@st.composite
def images(draw, many, channels):
    """A batch of 0 to 2, or one sample without a batch axis; sometimes not contiguous."""
    shape = (channels, *(draw(st.integers(4, 9)) for _ in range(many)))
    shape = draw(st.sampled_from([(0, *shape), (1, *shape), (2, *shape), shape]))
    values = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).standard_normal((*shape, 2))
    return values[..., 0] if draw(flags) else np.ascontiguousarray(values[..., 0])


def numbers(draw, many, low, high):
    """One number, or one for each axis."""
    number = st.integers(low, high)
    return draw(number | st.tuples(*[number] * many))


def both(name, many, *arguments, **options):
    return (getattr(n, f"{name}{many}d")(*arguments, **options) for n in (nn, torch.nn))


@few
@pytest.mark.filterwarnings("ignore:Using padding='same'")
@given(st.data(), dimensions, sizes, sizes, sizes, flags)
def test_convolution(data, many, inputs, outputs, groups, bias):
    kernel, stride, dilation = (numbers(data.draw, many, 1, top) for top in (3, 3, 2))
    padding = data.draw(st.sampled_from(["same", "valid", None]))
    padding = numbers(data.draw, many, 0, 3) if padding is None else padding
    stride = 1 if padding == "same" else stride
    x = data.draw(images(many, inputs * groups))
    spans = np.broadcast_to(dilation, many) * (np.broadcast_to(kernel, many) - 1) + 1
    assume(
        isinstance(padding, str)
        and padding == "same"
        or all(x.shape[-many:] + 2 * np.broadcast_to(0 if padding == "valid" else padding, many) >= spans)
    )
    same_layer(
        *both("Conv", many, inputs * groups, outputs * groups, kernel, stride, padding, dilation, groups, bias), x
    )


@few
@given(st.data(), dimensions, sizes, sizes, sizes, flags)
def test_transposed_convolution(data, many, inputs, outputs, groups, bias):
    kernel, stride, dilation = (numbers(data.draw, many, 1, top) for top in (3, 3, 2))
    more = tuple(data.draw(st.integers(0, int(s) - 1)) for s in np.broadcast_to(stride, many))
    same_layer(
        *both(
            "ConvTranspose",
            many,
            inputs * groups,
            outputs * groups,
            kernel,
            stride,
            data.draw(st.integers(0, 1)),
            more,
            groups,
            bias,
            dilation,
        ),
        data.draw(images(many, inputs * groups)),
    )


@few
@given(st.data(), dimensions, flags)
def test_max_pool(data, many, ceil):
    kernel, stride = (numbers(data.draw, many, 1, 3) for _ in range(2))
    padding, dilation = (
        data.draw(st.integers(0, int(np.min(kernel)) // 2)),
        1 if np.max(kernel) > 2 else data.draw(sizes),
    )
    # some tie
    same_layer(
        *both("MaxPool", many, kernel, data.draw(st.sampled_from([None, stride])), padding, dilation, ceil_mode=ceil),
        np.round(data.draw(images(many, 2)), 1),
    )


@few
@given(st.data(), dimensions, flags, flags)
def test_average_pool(data, many, ceil, count_include_pad):
    kernel, stride = (numbers(data.draw, many, 1, 4) for _ in range(2))
    padding = data.draw(st.integers(0, int(np.min(kernel)) // 2))
    options = {"divisor_override": data.draw(st.none() | sizes)} if many == 2 else {}
    same_layer(
        *both("AvgPool", many, kernel, stride, padding, ceil, count_include_pad, **options), data.draw(images(many, 2))
    )


@few
@given(st.data(), dimensions, st.sampled_from(["AdaptiveAvgPool", "AdaptiveMaxPool"]))
def test_adaptive_pool(data, many, name):
    size = st.integers(1, 12)
    size = data.draw(size | st.tuples(*[size | st.none() if many == 2 else size] * many))
    same_layer(*both(name, many, size), np.round(data.draw(images(many, 2)), 1))
