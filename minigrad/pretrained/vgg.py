"""VGG (Simonyan & Zisserman 2014), with torchvision's attribute names: `features.0`, `classifier.6`.

VGGForImageClassification.from_pretrained("vgg16-397923af.pth", config=VGGConfig.torchvision("vgg16"))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import ops
from ..nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, MaxPool2d, ReLU, Sequential, init
from .checkpoint.layout import Layout
from .config import Config
from .convnet import COUNTS, ConvNet
from .heads import classification_loss
from .image import pixels
from .layers import linear
from .outputs import BaseOutput, ClassifierOutput
from .values import shown

TORCHVISION = {"vgg11": [1, 1, 2, 2, 2], "vgg13": [2, 2, 2, 2, 2], "vgg16": [2, 2, 3, 3, 3], "vgg19": [2, 2, 4, 4, 4]}


@dataclass
class VGGConfig(Config):
    """VGG's sizes, VGG16's by default; the names are ours, for transformers has no VGG."""

    model_type = "vgg"
    num_channels: int = 3
    hidden_sizes: list[int] = field(default_factory=lambda: [64, 128, 256, 512, 512])
    depths: list[int] = field(default_factory=lambda: [2, 2, 3, 3, 3])  # convolutions in each block
    batch_norm: bool = False
    pooled_size: int = 7  # height and width of the classifier's input
    intermediate_size: int = 4096
    classifier_dropout: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        if len(self.hidden_sizes) != len(self.depths):
            raise ValueError(
                f"hidden_sizes {shown(self.hidden_sizes)} and depths {shown(self.depths)} must be as "
                "many, one for each block"
            )

    @classmethod
    def torchvision(cls, name: str = "vgg16", num_labels: int = 1000) -> VGGConfig:
        """The sizes of one of torchvision's models: vgg11, 13, 16 or 19, each also with `_bn` behind its name."""
        if name.removesuffix("_bn") not in TORCHVISION:
            raise ValueError(
                f"torchvision's {name!r} is not known: it is one of {', '.join(TORCHVISION)}, or of these with _bn"
            )
        return cls(
            num_labels=num_labels, depths=[*TORCHVISION[name.removesuffix("_bn")]], batch_norm=name.endswith("_bn")
        )


class VGGModel(ConvNet):
    """Pictures to features: (N, channels, H, W) to (N, 512, H / 32, W / 32), by blocks of 3 × 3 convolutions."""

    config_class, layout = VGGConfig, Layout(base="features", optional=COUNTS)

    def build(self, c: VGGConfig, rng: np.random.Generator) -> None:
        modules, inputs = [], c.num_channels
        for outputs, depth in zip(c.hidden_sizes, c.depths, strict=True):
            for _ in range(depth):
                modules.append(Conv2d(inputs, outputs, 3, padding=1, rng=init.LATER))
                modules += [BatchNorm2d(outputs), ReLU()] if c.batch_norm else [ReLU()]
                inputs = outputs
            modules.append(MaxPool2d(2))
        self.features = Sequential(*modules)

    def forward(self, pixel_values: Any) -> BaseOutput:
        """`last_hidden_state` (N, 512, H / 32, W / 32) of pictures (N, channels, H, W)."""
        return BaseOutput(self.features(pixels(pixel_values, self.config.num_channels, like=self.parameters()[0])))


class VGGForImageClassification(VGGModel):
    """VGG with its three linear layers, the last of which scores `config.num_labels` classes."""

    heads, label_layer = ("classifier.6.**",), "classifier.6"

    def build(self, c: VGGConfig, rng: np.random.Generator) -> None:
        super().build(c, rng)
        self.avgpool = AdaptiveAvgPool2d(c.pooled_size)
        self.classifier = Sequential(
            linear(c.hidden_sizes[-1] * c.pooled_size**2, c.intermediate_size),
            ReLU(),
            Dropout(c.classifier_dropout, rng=rng),
            linear(c.intermediate_size, c.intermediate_size),
            ReLU(),
            Dropout(c.classifier_dropout, rng=rng),
            linear(c.intermediate_size, c.label_count),
        )

    def forward(self, pixel_values: Any, labels: Any = None) -> ClassifierOutput:
        """Scores of pictures (N, channels, H, W), and the loss if there are labels (N,)."""
        logits = self.classifier(ops.flatten(self.avgpool(super().forward(pixel_values).last_hidden_state), 1))
        return ClassifierOutput(classification_loss(logits, labels, self.config), logits)
