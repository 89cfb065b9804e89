"""What the convolutional families share: a convolution with its normalisation, and initial values.

Their attributes have torchvision's names, so `state_dict()` is what torchvision saves and loads; their directories are
in the Hugging Face layout, if there is one, and each family's `layout` maps one to the other.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..nn import BatchNorm2d, Conv2d, init
from ..ops.window import conv2d_norm
from .model import PretrainedModel

COUNTS = ("**.num_batches_tracked",)  # which files from before 2018 lack


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1) -> Conv2d:
    """A convolution without a bias that keeps the size but for its stride; its numbers come later."""
    return Conv2d(inputs, outputs, kernel, stride, kernel // 2 * dilation, dilation, groups, bias=False, rng=init.LATER)


def conv_norm(x: Any, conv: Conv2d, norm: BatchNorm2d, more: Any = None, is_relu: bool = False) -> Any:
    """norm(conv(x)) + more, and relu of it if `is_relu`; `more` may be None.

    Where the statistics are the remembered ones, normalising is a multiplication and an addition for each channel, and
    can be done to what comes out of the convolution before it is laid down.
    """
    if norm.uses_batch or conv.bias is not None or not (conv.is_plain and norm.is_plain):
        y = norm(conv(x)) if more is None else norm(conv(x)) + more
        return F.relu(y) if is_relu else y
    options = conv.stride, conv.padding, conv.dilation, conv.groups
    return conv2d_norm(x, conv.weight, *norm.scale_and_shift(), more, is_relu, *options)


class ConvNet(PretrainedModel):
    """A pretrained model made of convolutions."""

    def draw(self, names: list[str], rng: init.Rng) -> None:
        """Draw convolutions by fan-out (He et al. 2015) and linear layers by fan-in; scales start at 1, biases at 0."""
        own = self.state_dict()
        for name in names:
            if own[name].ndim == 4:
                init.kaiming_normal_(own[name], mode="fan_out", nonlinearity="relu", rng=rng)
            elif own[name].ndim == 2:
                init.kaiming_uniform_(own[name], a=5**0.5, rng=rng)
            else:
                init.constant_(own[name], 1 if name.endswith(("weight", "running_var")) else 0)
