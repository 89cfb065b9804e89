"""Pooling layers: each calls its function with its arguments, and none has anything to save."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad import nn

image = np.random.default_rng(0).standard_normal((2, 3, 9, 7))


@pytest.mark.parametrize(
    ("layer", "function", "arguments"),
    [
        (nn.MaxPool1d(3, 2, 1, 1, ceil_mode=True), F.max_pool1d, (3, 2, 1, 1, True)),
        (nn.MaxPool2d((3, 2), 2, 1, (1, 2), ceil_mode=True), F.max_pool2d, ((3, 2), 2, 1, (1, 2), True)),
        (nn.AvgPool1d(3, 2, 1, True, False), F.avg_pool1d, (3, 2, 1, True, False)),
        (nn.AvgPool2d((3, 2), 2, 1, True, True, 5), F.avg_pool2d, ((3, 2), 2, 1, True, True, 5)),
        (nn.AdaptiveAvgPool1d(4), F.adaptive_avg_pool1d, (4,)),
        (nn.AdaptiveAvgPool2d((4, None)), F.adaptive_avg_pool2d, ((4, None),)),
        (nn.AdaptiveMaxPool1d(4), F.adaptive_max_pool1d, (4,)),
        (nn.AdaptiveMaxPool2d((4, None)), F.adaptive_max_pool2d, ((4, None),)),
    ],
)
def test_a_layer_is_its_function(layer, function, arguments):
    x = image if function.__name__.endswith("2d") else image[..., 0]
    np.testing.assert_array_equal(layer(x), function(x, *arguments))
    assert layer.state_dict() == {}


def test_the_stride_is_the_kernel_unless_given():
    assert nn.MaxPool2d((3, 2))(image).shape == nn.AvgPool2d((3, 2))(image).shape == (2, 3, 3, 3)
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"
