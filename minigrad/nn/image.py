"""Layers that rearrange and resample images; `minigrad.functional` says what each computes.

Names, arguments and defaults are torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import functional as F
from ..ops.window import Sizes
from .arguments import checked
from .module import Module


class Upsample(Module):
    """Signals, images or volumes at another size: (N, C, …) to (N, C, *size); see `F.interpolate`."""

    @checked
    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, x: Any) -> Any:
        options = self.mode, self.align_corners, self.recompute_scale_factor
        return F.interpolate(x, self.size, self.scale_factor, *options)


class UpsamplingNearest2d(Upsample):
    """Images at another size, each pixel repeated: (N, C, H, W) to (N, C, *size)."""

    @checked
    def __init__(self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None):
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """Images at another size, the corners kept in place: (N, C, H, W) to (N, C, *size)."""

    @checked
    def __init__(self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None):
        super().__init__(size, scale_factor, "bilinear", True)


class Unfold(Module):
    """What a kernel sees at each place, as a column: (N, C, H, W) to (N, C · kernel, places)."""

    @checked
    def __init__(self, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1):
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, x: Any) -> Any:
        return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Module):
    """The way back of `Unfold`: (N, C · kernel, places) to (N, C, *output_size); what meets at one entry adds up."""

    @checked
    def __init__(
        self, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
    ):
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, x: Any) -> Any:
        return F.fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)


class PixelShuffle(Module):
    """Channels as pixels: (…, C · r², H, W) to (…, C, H · r, W · r), with r = `upscale_factor`."""

    @checked
    def __init__(self, upscale_factor: int):
        self.upscale_factor = upscale_factor

    def forward(self, x: Any) -> Any:
        return F.pixel_shuffle(x, self.upscale_factor)


class PixelUnshuffle(Module):
    """Pixels as channels: (…, C, H · r, W · r) to (…, C · r², H, W), with r = `downscale_factor`."""

    @checked
    def __init__(self, downscale_factor: int):
        self.downscale_factor = downscale_factor

    def forward(self, x: Any) -> Any:
        return F.pixel_unshuffle(x, self.downscale_factor)


class ChannelShuffle(Module):
    """The channels of (N, C, …), in so many groups, dealt out: one of each group after the other."""

    @checked
    def __init__(self, groups: int):
        self.groups = groups

    def forward(self, x: Any) -> Any:
        return F.channel_shuffle(x, self.groups)
