"""Normalisation over a batch, over groups of channels, and by the root mean square; LayerNorm is in layers.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from . import init
from .arguments import checked
from .module import Buffer, Module, Parameter


class BatchNorm(Module):
    """Give each channel zero mean and unit variance over the batch, then scale and shift it (Ioffe & Szegedy 2015).

    Args:
        num_features: C, the size of axis 1.
        eps: added to the variance.
        momentum: the share of the newest batch in the running statistics; None averages over all batches alike.
        affine, bias: whether there are a `weight` and, with it, a `bias`.
        track_running_stats: without them, evaluation normalises over the batch too.

    Training uses the statistics of the batch and updates the running ones; evaluation uses the running ones.  A frozen
    layer, whose weight does not require a gradient, always uses the running ones and never updates them: otherwise a
    frozen model would drift away from the statistics its weights were trained with.
    """

    rank: tuple[int, ...]

    @checked
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
    ):
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(init.ones_(init.empty(num_features))) if affine else None
        self.bias = Parameter(init.zeros_(init.empty(num_features))) if affine and bias else None
        self.running_mean = Buffer(np.zeros(num_features, np.float32)) if track_running_stats else None
        self.running_var = Buffer(np.ones(num_features, np.float32)) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.array(0, np.int64)) if track_running_stats else None

    @property
    def uses_batch(self) -> bool:
        """Whether the statistics of the batch are used, and not the running ones."""
        frozen = self.weight is not None and not self.weight.requires_grad
        return self.running_mean is None or (self.training and not frozen)

    def scale_and_shift(self) -> tuple[Any, Any]:
        """The vectors (scale, shift), each (C,), for which evaluation is x · scale + shift."""
        return F.batch_norm_scale_and_shift(self.running_mean, self.running_var, self.weight, self.bias, self.eps)

    def forward(self, x: Any) -> Any:
        if len(x.shape) not in self.rank or x.shape[1] != self.num_features:
            shapes = " or ".join(
                {2: "(N, C)", 3: "(N, C, L)", 4: "(N, C, H, W)", 5: "(N, C, D, H, W)"}[n] for n in self.rank
            )
            raise ValueError(
                f"{type(self).__name__} of {self.num_features} channels was given {tuple(x.shape)}: "
                f"it takes {shapes} with C = {self.num_features}"
            )
        momentum = self.momentum
        if self.uses_batch and self.num_batches_tracked is not None:
            self.num_batches_tracked.copy_(self.num_batches_tracked.data + 1)
            momentum = 1 / self.num_batches_tracked.item() if momentum is None else momentum
        return self.normalised(x, momentum)

    def normalised(self, x: Any, momentum: float | None) -> Any:
        """The output for an input of the right shape."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.uses_batch, momentum, self.eps
        )


class BatchNorm1d(BatchNorm):
    """BatchNorm of (N, C) or (N, C, L)."""

    rank = (2, 3)


class BatchNorm2d(BatchNorm):
    """BatchNorm of (N, C, H, W)."""

    rank = (4,)


class BatchNorm3d(BatchNorm):
    """BatchNorm of (N, C, D, H, W)."""

    rank = (5,)


class SyncBatchNorm(BatchNorm):
    """BatchNorm of (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W) by the statistics of the batches of all ranks.

    Every rank must call it as often as the others, in the forward and in the backward pass; the `Trainer` sees to that.
    With one rank, and outside training, it is BatchNorm.
    """

    rank = (2, 3, 4, 5)
    counts = True  # whether the batch of this rank is part of the statistics: see train/gradients.py

    @classmethod
    def convert_sync_batchnorm(cls, module: Module) -> Module:
        """The module with a SyncBatchNorm in place of each BatchNorm in it, which has the same parameters and buffers.

        The modules are replaced in place; if the module is itself a BatchNorm, another one is returned.
        """
        if isinstance(module, BatchNorm):
            converted = cls.__new__(cls)
            vars(converted).update(vars(module))
            return converted
        new: dict[int, Module] = {}  # a module that has two places stays one
        for path, child in list(module.named_modules()):
            if isinstance(child, BatchNorm):
                module.replace(path, new.setdefault(id(child), cls.convert_sync_batchnorm(child)))
        return module

    def normalised(self, x: Any, momentum: float | None) -> Any:
        from ..distributed import world

        if not self.uses_batch or world().size == 1:
            return super().normalised(x, momentum)
        statistics = self.running_mean, self.running_var
        return F.norms.sync_batch_norm(x, *statistics, self.weight, self.bias, momentum or 0.0, self.eps, self.counts)


class InstanceNorm(Module):
    """Give each channel of each example zero mean and unit variance, then scale and shift it (Ulyanov et al. 2016).

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the share of the newest batch in the running statistics.
        affine, bias: whether there are a `weight` and, with it, a `bias`.
        track_running_stats: keep running means of the statistics, which evaluation then uses for all examples.
    """

    axes: int

    @checked
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
    ):
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(init.ones_(init.empty(num_features))) if affine else None
        self.bias = Parameter(init.zeros_(init.empty(num_features))) if affine and bias else None
        self.running_mean = Buffer(np.zeros(num_features, np.float32)) if track_running_stats else None
        self.running_var = Buffer(np.ones(num_features, np.float32)) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.array(0, np.int64)) if track_running_stats else None

    def forward(self, x: Any) -> Any:
        sizes = ("L", "H, W", "D, H, W")[self.axes - 1]
        if len(x.shape) not in (self.axes + 1, self.axes + 2) or x.shape[-self.axes - 1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__} of {self.num_features} channels was given {tuple(x.shape)}: it takes "
                f"(N, {self.num_features}, {sizes}) or ({self.num_features}, {sizes})"
            )
        batch = x if len(x.shape) == self.axes + 2 else ops.expand_dims(x, 0)
        uses_own = self.training or self.running_mean is None
        options = self.weight, self.bias, uses_own, self.momentum, self.eps
        y = F.instance_norm(batch, self.running_mean, self.running_var, *options)
        return y if batch is x else ops.squeeze(y, 0)


class InstanceNorm1d(InstanceNorm):
    """InstanceNorm of (N, C, L) or (C, L)."""

    axes = 1


class InstanceNorm2d(InstanceNorm):
    """InstanceNorm of (N, C, H, W) or (C, H, W)."""

    axes = 2


class InstanceNorm3d(InstanceNorm):
    """InstanceNorm of (N, C, D, H, W) or (C, D, H, W)."""

    axes = 3


class LocalResponseNorm(Module):
    """Divide by a power of the mean square of `size` neighbouring channels (Krizhevsky et al. 2012, sec. 3.3)."""

    @checked
    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Any) -> Any:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)


class GroupNorm(Module):
    """Normalise each group of channels of each example, then scale and shift each channel (Wu & He 2018)."""

    @checked
    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, bias: bool = True
    ):
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: {num_channels} channels cannot be shared out over {num_groups} groups: make it a multiple"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = Parameter(init.ones_(init.empty(num_channels))) if affine else None
        self.bias = Parameter(init.zeros_(init.empty(num_channels))) if affine and bias else None

    def forward(self, x: Any) -> Any:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """Divide each vector by its root mean square, then scale it (Zhang & Sennrich 2019).

    `normalized_shape` is the size of the last axis, or of the last few, which are then normalised together; `eps` None
    is the dtype's smallest step.
    """

    @checked
    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True
    ):
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.weight = Parameter(init.ones_(init.empty(*self.normalized_shape))) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)
