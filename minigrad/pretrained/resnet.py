"""ResNet (He et al. 2015), with torchvision's attribute names, `conv1`, `layer1.0.conv2`, `fc`; reads both layouts.

A Hugging Face directory, or torchvision's file, whose sizes `ResNetConfig.torchvision` knows:

    ResNetForImageClassification.from_pretrained("resnet-50")
    ResNetForImageClassification.from_pretrained("resnet50-0676ba61.pth", config=ResNetConfig.torchvision("resnet50"))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from ..nn import AdaptiveAvgPool2d, BatchNorm2d, MaxPool2d, Module, Sequential
from . import seen
from .checkpoint.layout import Layout
from .config import Config
from .convnet import COUNTS, ConvNet, conv_norm, convolution
from .heads import classification_loss
from .image import pixels
from .layers import activation, linear
from .outputs import BaseOutput, ClassifierOutput
from .values import shown

BASIC, WIDE = [64, 128, 256, 512], [256, 512, 1024, 2048]
TORCHVISION = {
    "resnet18": ("basic", BASIC, [2, 2, 2, 2]),
    "resnet34": ("basic", BASIC, [3, 4, 6, 3]),
    "resnet50": ("bottleneck", WIDE, [3, 4, 6, 3]),
    "resnet101": ("bottleneck", WIDE, [3, 4, 23, 3]),
    "resnet152": ("bottleneck", WIDE, [3, 8, 36, 3]),
}


@dataclass
class ResNetConfig(Config):
    """ResNet's sizes, under their names in config.json; the defaults are ResNet-50's."""

    model_type = "resnet"
    num_channels: int = 3
    embedding_size: int = 64
    hidden_sizes: list[int] = field(default_factory=WIDE.copy)
    depths: list[int] = field(default_factory=lambda: [3, 4, 6, 3])
    layer_type: str = "bottleneck"
    hidden_act: str = "relu"
    downsample_in_first_stage: bool = False
    downsample_in_bottleneck: bool = False  # stride in the first 1 × 1 convolution, as in the paper

    def __post_init__(self):
        super().__post_init__()
        if not len(self.hidden_sizes) == len(self.depths) == 4:
            raise ValueError(
                f"hidden_sizes {shown(self.hidden_sizes)} and depths {shown(self.depths)} must be four "
                "numbers each, one a stage"
            )
        if self.layer_type not in ("basic", "bottleneck"):
            raise ValueError(f"layer_type {self.layer_type!r} is not known: it is 'basic' or 'bottleneck'")
        activation(self.hidden_act)

    @classmethod
    def torchvision(cls, name: str = "resnet50", num_labels: int = 1000) -> ResNetConfig:
        """The sizes of one of torchvision's models: resnet18, 34, 50, 101 or 152."""
        if name not in TORCHVISION:
            raise ValueError(f"torchvision's {name!r} is not known: it is one of {', '.join(TORCHVISION)}")
        layer_type, hidden_sizes, depths = TORCHVISION[name]
        return cls(num_labels=num_labels, layer_type=layer_type, hidden_sizes=[*hidden_sizes], depths=[*depths])


class Block(Module):
    """Two convolutions 3 × 3, or 1 × 1, 3 × 3 and 1 × 1 with fewer channels between; the input is added."""

    def __init__(self, c: ResNetConfig, inputs: int, outputs: int, stride: int):
        if c.layer_type == "basic":
            shapes = [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
        else:
            first, second = (stride, 1) if c.downsample_in_bottleneck else (1, stride)
            shapes = [
                (inputs, outputs // 4, 1, first),
                (outputs // 4, outputs // 4, 3, second),
                (outputs // 4, outputs, 1, 1),
            ]
        self.depth, self.activation = len(shapes), activation(c.hidden_act)
        for i, shape in enumerate(shapes, 1):
            setattr(self, f"conv{i}", convolution(*shape))
            setattr(self, f"bn{i}", BatchNorm2d(shape[1]))
        same = stride == 1 and inputs == outputs
        self.downsample = None if same else Sequential(convolution(inputs, outputs, 1, stride), BatchNorm2d(outputs))

    def forward(self, x):
        *first, last = [(getattr(self, f"conv{i}"), getattr(self, f"bn{i}")) for i in range(1, self.depth + 1)]
        y = x
        for conv, norm in first:
            y = conv_norm(y, conv, norm, is_relu=True)  # hidden_act is for the stem and the sum only
        is_relu, more = self.activation is F.relu, x if self.downsample is None else conv_norm(x, *self.downsample)
        y = conv_norm(y, *last, more, is_relu)
        return y if is_relu else self.activation(y)


def _layout(**more: Any) -> Layout:
    """Hugging Face's names -> torchvision's."""
    names = {"embedder.embedder.convolution": "conv1", "embedder.embedder.normalization": "bn1"}
    for stage in range(4):
        theirs, ours = f"encoder.stages.{stage}.layers.*", f"layer{stage + 1}.*"
        places = {"shortcut": ("downsample.0", "downsample.1")} | {
            f"layer.{i}": (f"conv{i + 1}", f"bn{i + 1}") for i in range(3)
        }
        for place, (conv, norm) in places.items():
            names |= {
                f"{theirs}.{place}.convolution": f"{ours}.{conv}",
                f"{theirs}.{place}.normalization": f"{ours}.{norm}",
            }
    rename = {f"resnet.{theirs}.**": f"{ours}.**" for theirs, ours in names.items()}
    return Layout(
        rename | {"classifier.1.**": "fc.**"},
        {f"{part}.**": f"resnet.{part}.**" for part in ("embedder", "encoder")},
        optional=COUNTS,
        **more,
    )


class ResNetModel(ConvNet):
    """Pictures to features: (N, channels, H, W) to (N, hidden, H / 32, W / 32), and their mean over the places."""

    config_class, layout = ResNetConfig, _layout(drop=("classifier.**", "fc.**"))
    layer1: Sequential
    layer2: Sequential
    layer3: Sequential
    layer4: Sequential

    def build(self, c: ResNetConfig, rng: np.random.Generator) -> None:
        self.conv1, self.bn1 = convolution(c.num_channels, c.embedding_size, 7, 2), BatchNorm2d(c.embedding_size)
        self.activation, self.maxpool = activation(c.hidden_act), MaxPool2d(3, 2, 1)
        inputs = c.embedding_size
        for stage, (outputs, depth) in enumerate(zip(c.hidden_sizes, c.depths, strict=True)):
            stride = 2 if stage or c.downsample_in_first_stage else 1
            blocks = [Block(c, outputs if i else inputs, outputs, 1 if i else stride) for i in range(depth)]
            setattr(self, f"layer{stage + 1}", Sequential(*blocks))
            inputs = outputs
        self.avgpool = AdaptiveAvgPool2d(1)

    def forward(self, pixel_values: Any) -> BaseOutput:
        """`last_hidden_state` (N, hidden, H / 32, W / 32), `pooler_output` (N, hidden, 1, 1) of (N, channels, H, W)."""
        x = pixels(pixel_values, self.config.num_channels, like=self.conv1.weight)
        x = seen.state(self.maxpool(self.activation(conv_norm(x, self.conv1, self.bn1))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = seen.state(stage(x))
        return BaseOutput(x, self.avgpool(x))


class ResNetForImageClassification(ResNetModel):
    """ResNet with a linear layer, `fc`, that scores `config.num_labels` classes."""

    layout, heads, label_layer = _layout(), ("fc.**",), "fc"

    def build(self, c: ResNetConfig, rng: np.random.Generator) -> None:
        super().build(c, rng)
        self.fc = linear(c.hidden_sizes[-1], c.label_count)

    def forward(self, pixel_values: Any, labels: Any = None) -> ClassifierOutput:
        """Scores of pictures (N, channels, H, W), and the loss if there are labels (N,)."""
        logits = self.fc(ops.flatten(super().forward(pixel_values).pooler_output, 1))
        return ClassifierOutput(classification_loss(logits, labels, self.config), logits)
