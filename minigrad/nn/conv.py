"""Convolution layers, which slide filters over signals and images, and their transposes.

Names, arguments, defaults and weight layouts are torch's; `rng` says where the first weights are drawn from.
"""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from ..ops.window import Sizes, each
from . import init
from .arguments import checked
from .module import Module, Parameter


class _Filters(Module):
    """The base of the convolution layers: `weight` and `bias`, drawn uniformly from ±1/√fan-in."""

    axes: int
    transposed = False

    def _draw(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, groups: int, bias: bool, rng: init.Rng
    ) -> None:
        name, rng = type(self).__name__, init.generator(rng)
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        kernel = each(name, "kernel_size", kernel_size, self.axes, 1)
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        weight = init.empty(first, second // groups, *kernel)
        self.weight = Parameter(init.kaiming_uniform_(weight, a=math.sqrt(5), rng=rng))
        bound = init.over_root(init.fans(self.weight)[0])
        self.bias = Parameter(init.uniform_(init.empty(out_channels), -bound, bound, rng=rng)) if bias else None


class Conv1d(_Filters):
    """Slide filters along signals: (N, in_channels, L) to (N, out_channels, L'); the batch axis may be missing.

    Args:
        kernel_size, stride, dilation: how wide a filter is, how far it moves, and how far apart its entries lie; one
            number, or one for each axis.
        padding: zeros on both sides; "valid" is none, "same" (at stride 1) what keeps the size.
        groups: input and output channels are divided into this many groups; an output depends on its own group only.

    `weight` is (out_channels, in_channels / groups, *kernel_size).
    """

    axes = 1

    @checked
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: init.Rng = None,
    ):
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self._draw(in_channels, out_channels, kernel_size, groups, bias, rng)

    def forward(self, x: Any) -> Any:
        convolve = F.conv1d if self.axes == 1 else F.conv2d
        return convolve(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv2d(Conv1d):
    """Slide filters over images: (N, in_channels, H, W) to (N, out_channels, H', W'); arguments of `Conv1d`."""

    axes = 2


class ConvTranspose1d(_Filters):
    """The transpose of a `Conv1d`: (N, in_channels, L) to (N, out_channels, L'), the size that `Conv1d` maps to L.

    Args:
        kernel_size, stride, padding, groups, dilation: those of the `Conv1d` that this layer reverses.
        output_padding: added to the output's size, less than the stride: it chooses between the sizes that map to L.

    `weight` is (in_channels, out_channels / groups, *kernel_size).
    """

    axes = 1
    transposed = True

    @checked
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        *,
        rng: init.Rng = None,
    ):
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.output_padding = stride, padding, output_padding
        self.groups, self.dilation = groups, dilation
        self._draw(in_channels, out_channels, kernel_size, groups, bias, rng)

    def forward(self, x: Any) -> Any:
        convolve = F.conv_transpose1d if self.axes == 1 else F.conv_transpose2d
        return convolve(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class ConvTranspose2d(ConvTranspose1d):
    """The transpose of a `Conv2d`: (N, in_channels, H, W) to (N, out_channels, H', W'); see `ConvTranspose1d`."""

    axes = 2
