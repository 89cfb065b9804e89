"""Convolution layers, which slide filters over signals and images, and their transposes.

Names, arguments, defaults and weight layouts are torch's; `rng` says where the first weights are drawn from.
"""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from ..functional.padding import MODES
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
        padding_mode: "zeros", or what of the input stands there: "reflect", "replicate" or "circular", as in `F.pad`.

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
        padding_mode: str = "zeros",
        *,
        rng: init.Rng = None,
    ):
        if padding_mode not in ("zeros", *MODES[1:]):
            known = ", ".join(map(repr, ("zeros", *MODES[1:])))
            raise ValueError(f"{type(self).__name__}: padding_mode={padding_mode!r} is not known: type one of {known}")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.padding_mode = padding_mode
        self._draw(in_channels, out_channels, kernel_size, groups, bias, rng)

    def forward(self, x: Any) -> Any:
        convolve, padding = (F.conv1d, F.conv2d, F.conv3d)[self.axes - 1], self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self._sides(), self.padding_mode), 0
        return convolve(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _sides(self) -> list[int]:
        """The padding as F.pad takes it: before and after, the last axis first."""
        name, many = type(self).__name__, self.axes
        if self.padding == "same":
            if max(each(name, "stride", self.stride, many, 1)) > 1:
                raise ValueError(f'{name}: padding="same" keeps a size only at stride 1: give the padding in numbers')
            reach = [d * (k - 1) for d, k in zip(each(name, "dilation", self.dilation, many, 1), self.weight.shape[2:])]
            return [side for n in reversed(reach) for side in (n // 2, n - n // 2)]
        padding = each(name, "padding", 0 if self.padding == "valid" else self.padding, many, 0)
        return [side for n in reversed(padding) for side in (n, n)]


class Conv2d(Conv1d):
    """Slide filters over images: (N, in_channels, H, W) to (N, out_channels, H', W'); arguments of `Conv1d`."""

    axes = 2


class Conv3d(Conv1d):
    """Slide filters through volumes: (N, in_channels, D, H, W) to (N, out_channels, D', H', W'); see `Conv1d`."""

    axes = 3


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
        convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.axes - 1]
        return convolve(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class ConvTranspose2d(ConvTranspose1d):
    """The transpose of a `Conv2d`: (N, in_channels, H, W) to (N, out_channels, H', W'); see `ConvTranspose1d`."""

    axes = 2


class ConvTranspose3d(ConvTranspose1d):
    """The transpose of a `Conv3d`: (N, in_channels, D, H, W) to (N, out_channels, D', H', W')."""

    axes = 3
