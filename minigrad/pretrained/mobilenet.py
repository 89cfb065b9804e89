"""MobileNetV2 (Sandler et al. 2018), with torchvision's attribute names, `features.3.conv.1.0`; reads both layouts.

The two publish different models: Hugging Face's pads as TensorFlow does and normalises with eps 1e-3.  Its directories
say so in config.json; of torchvision's file `MobileNetV2Config.torchvision` knows it:

    MobileNetV2ForImageClassification.from_pretrained("mobilenet_v2-b0353104.pth",
    config=MobileNetV2Config.torchvision())
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from ..nn import AdaptiveAvgPool2d, BatchNorm2d, Dropout, Module, Sequential
from . import seen
from .checkpoint.layout import Layout
from .config import Config
from .convnet import COUNTS, ConvNet, conv_norm, convolution
from .heads import classification_loss
from .image import pixels
from .layers import linear
from .outputs import BaseOutput, ClassifierOutput
from .values import shown

# of the blocks, one after the other
CHANNELS = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)


@dataclass
class MobileNetV2Config(Config):
    """MobileNetV2's sizes and switches, under their names in config.json, with Hugging Face's defaults."""

    model_type = "mobilenet_v2"
    num_channels: int = 3
    depth_multiplier: float = 1.0
    depth_divisible_by: int = 8
    min_depth: int = 8
    expand_ratio: float = 6.0
    output_stride: int = 32  # how much smaller the features are than the picture; beyond it, dilation
    finegrained_output: bool = True
    tf_padding: bool = True
    classifier_dropout_prob: float = 0.8
    layer_norm_eps: float = 1e-3  # that of the batch normalisations
    batch_norm_momentum: float = 0.997  # not an entry of theirs: they always use this
    is_torchvision: bool = False  # nor is this: widths, and which blocks add their input, as torchvision has them

    def __post_init__(self):
        super().__post_init__()
        for name, only in (("first_layer_is_expansion", True), ("hidden_act", "relu6")):
            if self.rest.get(name, only) != only:
                raise ValueError(
                    f"{name} {shown(self.rest[name])} is not supported: this MobileNetV2 knows {only!r} alone"
                )

    @classmethod
    def torchvision(cls, num_labels: int = 1000, **changes: Any) -> MobileNetV2Config:
        """The settings of torchvision's mobilenet_v2, which calls depth_multiplier width_mult."""
        return cls(
            **{
                "num_labels": num_labels,
                "tf_padding": False,
                "classifier_dropout_prob": 0.2,
                "layer_norm_eps": 1e-5,
                "batch_norm_momentum": 0.1,
                "is_torchvision": True,
                "min_depth": changes.get("depth_divisible_by", cls.depth_divisible_by),
            }
            | changes
        )

    def width(self, channels: float) -> int:
        """The multiple of depth_divisible_by nearest to so many channels, but not less than nine tenths of them."""
        divisor = self.depth_divisible_by
        near = max(self.min_depth, int(channels + divisor / 2) // divisor * divisor)
        return near + divisor if near < 0.9 * channels else near

    def scaled(self, channels: float, factor: float | None = None) -> int:
        """Channels times `factor`, by default depth_multiplier, which Hugging Face first rounds to a whole number."""
        channels = channels * (self.depth_multiplier if factor is None else factor)
        return self.width(channels if self.is_torchvision else round(channels))

    def widened(self, channels: int) -> int:
        """The channels inside a block that is given so many."""
        wide = round(channels * self.expand_ratio)
        return wide if self.is_torchvision else self.width(wide)

    @property
    def last_width(self) -> int:
        """The channels of the features."""
        if self.is_torchvision:
            return self.scaled(1280, max(1.0, self.depth_multiplier))
        return 1280 if self.finegrained_output and self.depth_multiplier < 1 else self.scaled(1280)


def norm(c: MobileNetV2Config, channels: int) -> BatchNorm2d:
    return BatchNorm2d(channels, c.layer_norm_eps, c.batch_norm_momentum)


class ConvNorm(Sequential):
    """Convolution and normalisation, then ReLU6."""

    def __init__(
        self,
        c: MobileNetV2Config,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ):
        conv, pads_after = convolution(inputs, outputs, kernel, stride, dilation, groups), c.tf_padding and stride > 1
        if pads_after:
            conv.padding = 0
        super().__init__(conv, norm(c, outputs))
        self.pads_after = pads_after

    def forward(self, x):
        if self.pads_after:  # TensorFlow pads an even size at its end alone; at stride 1 nothing differs
            x = ops.pad(x, ((0, 0), (0, 0), *((n % 2, 1) for n in x.shape[2:])))
        return F.relu6(conv_norm(x, *self))


class InvertedResidual(Module):
    """Widen by 1 × 1, look around by 3 × 3 in each channel alone, narrow by 1 × 1; added to the input, if that fits."""

    def __init__(self, c: MobileNetV2Config, inputs: int, outputs: int, stride: int, dilation: int, widen: bool):
        wide = c.widened(inputs) if widen else inputs
        self.conv = Sequential(
            *([ConvNorm(c, inputs, wide, 1)] if widen else []),
            ConvNorm(c, wide, wide, 3, stride, dilation, groups=wide),
            convolution(wide, outputs, 1),
            norm(c, outputs),
        )
        self.adds = (widen or c.is_torchvision) and stride == 1 and inputs == outputs

    def forward(self, x):
        *parts, last, last_norm = self.conv
        y = x
        for part in parts:
            y = part(y)
        y = conv_norm(y, last, last_norm)
        return x + y if self.adds else y


def _layout() -> Layout:
    """Hugging Face's names -> torchvision's: where each convolution with its normalisation is called what."""
    places = {
        "conv_stem.first_conv": ("features.0.0", "features.0.1"),
        "conv_1x1": ("features.18.0", "features.18.1"),
        "conv_stem.conv_3x3": ("features.1.conv.0.0", "features.1.conv.0.1"),
        "conv_stem.reduce_1x1": ("features.1.conv.1", "features.1.conv.2"),
    }
    for i in range(len(CHANNELS) - 1):
        block = f"features.{i + 2}.conv"
        places |= {
            f"layer.{i}.expand_1x1": (f"{block}.0.0", f"{block}.0.1"),
            f"layer.{i}.conv_3x3": (f"{block}.1.0", f"{block}.1.1"),
            f"layer.{i}.reduce_1x1": (f"{block}.2", f"{block}.3"),
        }
    rename = {
        f"mobilenet_v2.{theirs}.{kind}.**": f"{ours}.**"
        for theirs, pair in places.items()
        for kind, ours in zip(("convolution", "normalization"), pair, strict=True)
    }
    return Layout(
        rename | {f"classifier.{end}": f"classifier.1.{end}" for end in ("weight", "bias")},
        {f"{part}.**": f"mobilenet_v2.{part}.**" for part in ("conv_stem", "layer", "conv_1x1")},
        base="features",
        optional=COUNTS,
    )


class MobileNetV2Model(ConvNet):
    """Pictures to features: (N, channels, H, W) to (N, 1280, H / 32, W / 32), and their mean over the places."""

    config_class, layout = MobileNetV2Config, _layout()

    def build(self, c: MobileNetV2Config, rng: np.random.Generator) -> None:
        inputs, reduction, dilation = c.scaled(32), 2, 1
        modules: list[Module] = [ConvNorm(c, c.num_channels, inputs, 3, 2)]
        for i, (channels, stride) in enumerate(zip(CHANNELS, STRIDES, strict=True)):
            here = dilation
            if reduction == c.output_stride:  # small enough: look further around instead, from the next block on
                stride, dilation = 1, dilation * stride
            reduction *= stride
            modules.append(InvertedResidual(c, inputs, c.scaled(channels), stride, here, widen=i > 0))
            inputs = c.scaled(channels)
        self.hidden_size = c.last_width
        self.features = Sequential(*modules, ConvNorm(c, inputs, self.hidden_size, 1))
        self.avgpool = AdaptiveAvgPool2d(1)

    def forward(self, pixel_values: Any) -> BaseOutput:
        """`last_hidden_state` (N, hidden, H / 32, W / 32) and `pooler_output` (N, hidden) of (N, channels, H, W)."""
        x = pixels(pixel_values, self.config.num_channels, like=self.parameters()[0])
        for i, block in enumerate(self.features):
            x = block(x)
            if 1 < i < len(self.features) - 1:  # the blocks that widen; what comes before is the stem
                seen.state(x)
        return BaseOutput(x, ops.flatten(self.avgpool(x), 1))


class MobileNetV2ForImageClassification(MobileNetV2Model):
    """MobileNetV2 with a linear layer, `classifier.1`, that scores `config.num_labels` classes."""

    heads, label_layer = ("classifier.1.**",), "classifier.1"

    def build(self, c: MobileNetV2Config, rng: np.random.Generator) -> None:
        super().build(c, rng)
        self.classifier = Sequential(
            Dropout(c.classifier_dropout_prob, rng=rng), linear(self.hidden_size, c.label_count)
        )

    def forward(self, pixel_values: Any, labels: Any = None) -> ClassifierOutput:
        """Scores of pictures (N, channels, H, W), and the loss if there are labels (N,)."""
        logits = self.classifier(super().forward(pixel_values).pooler_output)
        return ClassifierOutput(classification_loss(logits, labels, self.config), logits)
