"""Pooling layers: every window of a signal or an image is replaced by its largest entry or its mean.

Names, arguments and defaults are torch's; `minigrad.functional` documents the arguments.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..ops.window import Sizes
from .arguments import checked
from .module import Module


class MaxPool1d(Module):
    """The largest entry of every window: (N, C, L) to (N, C, L')."""

    @checked
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        *,
        ceil_mode: bool = False,
    ):
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.dilation, self.ceil_mode = dilation, ceil_mode

    def forward(self, x: Any) -> Any:
        return F.max_pool1d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class MaxPool2d(MaxPool1d):
    """The largest entry of every window: (N, C, H, W) to (N, C, H', W')."""

    def forward(self, x: Any) -> Any:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class AvgPool1d(Module):
    """The mean of every window: (N, C, L) to (N, C, L')."""

    @checked
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Any) -> Any:
        return F.avg_pool1d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(AvgPool1d):
    """The mean of every window: (N, C, H, W) to (N, C, H', W').  `divisor_override` replaces the number divided by."""

    @checked
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def forward(self, x: Any) -> Any:
        return F.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AdaptiveAvgPool1d(Module):
    """The mean of each of `output_size` near equal parts: (N, C, L) to (N, C, output_size)."""

    @checked
    def __init__(self, output_size: int | tuple[int | None, ...] | None):
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool1d(x, self.output_size)


class AdaptiveAvgPool2d(AdaptiveAvgPool1d):
    """The mean of each part of an image, (N, C, H, W) to (N, C, *output_size); 1 pools globally, None keeps a size."""

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveMaxPool1d(AdaptiveAvgPool1d):
    """The largest entry of each of `output_size` near equal parts: (N, C, L) to (N, C, output_size)."""

    def forward(self, x: Any) -> Any:
        return F.adaptive_max_pool1d(x, self.output_size)


class AdaptiveMaxPool2d(AdaptiveAvgPool1d):
    """The largest entry of each of the parts of an image, (N, C, H, W) to (N, C, *output_size); None keeps a size."""

    def forward(self, x: Any) -> Any:
        return F.adaptive_max_pool2d(x, self.output_size)


class MaxPool3d(MaxPool1d):
    """The largest entry of every window: (N, C, D, H, W) to (N, C, D', H', W')."""

    def forward(self, x: Any) -> Any:
        return F.max_pool3d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class AvgPool3d(AvgPool2d):
    """The mean of every window: (N, C, D, H, W) to (N, C, D', H', W')."""

    def forward(self, x: Any) -> Any:
        options = self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override
        return F.avg_pool3d(x, self.kernel_size, self.stride, *options)


class AdaptiveAvgPool3d(AdaptiveAvgPool1d):
    """The mean of each part of a volume: (N, C, D, H, W) to (N, C, *output_size); None keeps a size."""

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool3d(x, self.output_size)


class AdaptiveMaxPool3d(AdaptiveAvgPool1d):
    """The largest entry of each part of a volume: (N, C, D, H, W) to (N, C, *output_size); None keeps a size."""

    def forward(self, x: Any) -> Any:
        return F.adaptive_max_pool3d(x, self.output_size)


class LPPool1d(Module):
    """(Σ xᵖ)^(1/p) over every window, with p = `norm_type`: (N, C, L) to (N, C, L')."""

    @checked
    def __init__(self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False):
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, x: Any) -> Any:
        return F.lp_pool1d(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(LPPool1d):
    """(Σ xᵖ)^(1/p) over every window: (N, C, H, W) to (N, C, H', W')."""

    def forward(self, x: Any) -> Any:
        return F.lp_pool2d(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool3d(LPPool1d):
    """(Σ xᵖ)^(1/p) over every window: (N, C, D, H, W) to (N, C, D', H', W')."""

    def forward(self, x: Any) -> Any:
        return F.lp_pool3d(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)
