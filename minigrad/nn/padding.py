"""Padding as modules: signals, images and volumes with more entries around them; see `F.pad`.

`padding` is one number for all sides, or (left, right), then (top, bottom), then (front, back); negative ones cut off.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..ops.window import Sizes
from .arguments import checked
from .module import Module


class _Pad(Module):
    """The base of the padding layers."""

    axes: int
    mode: str
    value: float | None = None

    @checked
    def __init__(self, padding: Sizes):
        self.padding = (padding,) * (2 * self.axes) if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != 2 * self.axes:
            raise ValueError(
                f"{type(self).__name__}: padding={padding!r} is to be one whole number, or {2 * self.axes} of them"
            )

    def forward(self, x: Any) -> Any:
        if len(x.shape) not in (self.axes + 1, self.axes + 2):
            axes = ("L", "H, W", "D, H, W")[self.axes - 1]
            raise ValueError(f"{type(self).__name__} takes (N, C, {axes}) or (C, {axes}), but x is {tuple(x.shape)}")
        return F.pad(x, self.padding, self.mode, self.value)


class ZeroPad1d(_Pad):
    """Zeros around a signal, (N, C, L)."""

    axes, mode = 1, "constant"


class ZeroPad2d(ZeroPad1d):
    """Zeros around images, (N, C, H, W)."""

    axes = 2


class ZeroPad3d(ZeroPad1d):
    """Zeros around volumes, (N, C, D, H, W)."""

    axes = 3


class ConstantPad1d(_Pad):
    """The number `value` around a signal, (N, C, L)."""

    axes, mode = 1, "constant"

    @checked
    def __init__(self, padding: Sizes, value: float):
        super().__init__(padding)
        self.value = value


class ConstantPad2d(ConstantPad1d):
    """The number `value` around images, (N, C, H, W)."""

    axes = 2


class ConstantPad3d(ConstantPad1d):
    """The number `value` around volumes, (N, C, D, H, W)."""

    axes = 3


class ReflectionPad1d(_Pad):
    """The input mirrored at its edges around a signal, (N, C, L)."""

    axes, mode = 1, "reflect"


class ReflectionPad2d(ReflectionPad1d):
    """The input mirrored at its edges around images, (N, C, H, W)."""

    axes = 2


class ReflectionPad3d(ReflectionPad1d):
    """The input mirrored at its edges around volumes, (N, C, D, H, W)."""

    axes = 3


class ReplicationPad1d(_Pad):
    """The entries at its edges around a signal, (N, C, L)."""

    axes, mode = 1, "replicate"


class ReplicationPad2d(ReplicationPad1d):
    """The entries at its edges around images, (N, C, H, W)."""

    axes = 2


class ReplicationPad3d(ReplicationPad1d):
    """The entries at its edges around volumes, (N, C, D, H, W)."""

    axes = 3


class CircularPad1d(_Pad):
    """Its other end around a signal, (N, C, L)."""

    axes, mode = 1, "circular"


class CircularPad2d(CircularPad1d):
    """Its other end around images, (N, C, H, W)."""

    axes = 2


class CircularPad3d(CircularPad1d):
    """Its other end around volumes, (N, C, D, H, W)."""

    axes = 3
