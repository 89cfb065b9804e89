"""ViT, the Vision Transformer (Dosovitskiy et al. 2020): a picture cut into patches that are read like words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..nn import Conv2d, Dropout, Group, LayerNorm, Module, Parameter, PixelShuffle, Sequential, init
from ..nn.attention import merge_heads, split_heads
from ..nn.layers import activated
from . import seen
from .blocks import Blocks
from .checkpoint.layout import Layout
from .config import Config
from .heads import classification_loss
from .image import pixels
from .inputs import as_given
from .layers import activation, linear
from .model import PretrainedModel
from .outputs import BaseOutput, ClassifierOutput, MaskedImageModelingOutput
from .values import shown


@dataclass
class ViTConfig(Config):
    """ViT's sizes, under their names in config.json."""

    model_type = "vit"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    image_size: int | list[int] = 224
    patch_size: int | list[int] = 16
    num_channels: int = 3
    qkv_bias: bool = True
    encoder_stride: int = 16
    pooler_output_size: int | None = None
    pooler_act: str = "tanh"

    def __post_init__(self):
        super().__post_init__()
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        for name in ("image_size", "patch_size"):
            if isinstance(getattr(self, name), (list, tuple)) and len(getattr(self, name)) != 2:
                raise ValueError(
                    f"{name} is {shown(getattr(self, name))} in the configuration; expected a number, "
                    "or height and width"
                )
        if any(size < patch for size, patch in zip(self.picture, self.patch, strict=True)):
            raise ValueError(
                f"image_size {self.image_size} is less than patch_size {self.patch_size}: there would be no patch"
            )
        activation(self.hidden_act)
        activation(self.pooler_act, "pooler_act")

    @property
    def picture(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return _pair(self.image_size)

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch."""
        return _pair(self.patch_size)


def _pair(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class Embeddings(Module):
    """Patches as vectors, a class token before them, and learned positions; a mask token in place of some patches."""

    def __init__(self, c: ViTConfig, rng: np.random.Generator, use_mask_token: bool):
        (H, W), (h, w) = c.picture, c.patch
        self.cls_token = Parameter(init.empty(1, 1, c.hidden_size))
        self.mask_token = Parameter(init.empty(1, 1, c.hidden_size)) if use_mask_token else None
        self.position_embeddings = Parameter(init.empty(1, (H // h) * (W // w) + 1, c.hidden_size))
        self.patch_embeddings = Group(
            projection=Conv2d(c.num_channels, c.hidden_size, c.patch, c.patch, rng=init.LATER)
        )
        self.dropout = Dropout(c.hidden_dropout_prob, rng=rng)

    def forward(self, pictures, masked=None):  # (N, channels, H, W) to (N, 1 + patches, D), row by row
        patches = ops.swapaxes(ops.flatten(self.patch_embeddings.projection(pictures), 2), 1, 2)
        patches = patches if masked is None else ops.where(masked[..., None], self.mask_token, patches)
        first = ops.broadcast_to(self.cls_token, (len(patches), *self.cls_token.shape[1:]))
        return self.dropout(ops.concatenate([first, patches], 1) + self.position_embeddings)


class SelfAttention(Module):
    """Multi-head self-attention over all patches, before its output projection."""

    def __init__(self, c: ViTConfig, rng: np.random.Generator):
        self.heads, self.p, self.rng = c.num_attention_heads, c.attention_probs_dropout_prob, rng
        self.query, self.key, self.value = (linear(c.hidden_size, c.hidden_size, c.qkv_bias) for _ in range(3))

    def forward(self, x):
        q, k, v = (split_heads(part(x), self.heads) for part in (self.query, self.key, self.value))
        return merge_heads(seen.attention(q, k, v, None, self.p if self.training else 0.0, rng=self.rng))


class Layer(Module):
    """Attention, then a two-layer network, each behind a LayerNorm and added to what it read."""

    def __init__(self, c: ViTConfig, rng: np.random.Generator):
        self.attention = Group(
            attention=SelfAttention(c, rng), output=Group(dense=linear(c.hidden_size, c.hidden_size))
        )
        self.intermediate, self.output = (
            Group(dense=linear(*sizes))
            for sizes in ((c.hidden_size, c.intermediate_size), (c.intermediate_size, c.hidden_size))
        )
        self.layernorm_before, self.layernorm_after = (LayerNorm(c.hidden_size, c.layer_norm_eps) for _ in range(2))
        self.dropout, self.activation = Dropout(c.hidden_dropout_prob, rng=rng), activation(c.hidden_act)

    def forward(self, x):
        x = x + self.dropout(self.attention.output.dense(self.attention.attention(self.layernorm_before(x))))
        return x + self.dropout(
            self.output.dense(activated(self.intermediate.dense, self.activation, self.layernorm_after(x)))
        )


class ViTModel(PretrainedModel):
    """The encoder: pictures in, a vector for each patch out, before them one for the whole, also "pooled"."""

    config_class, layout, heads = ViTConfig, Layout(drop=("**.mask_token",), base="vit"), ("pooler.**",)
    blocks = Blocks(
        "encoder.layer",
        depth="num_hidden_layers",
        width="intermediate_size",
        expand=("intermediate.dense",),
        contract="output.dense",
        attention="attention.attention",
        project=("attention.attention.query", "attention.attention.key", "attention.attention.value"),
        merge="attention.output.dense",
    )

    def __init__(
        self,
        config: ViTConfig,
        rng: init.Rng = None,
        drawn: bool = True,
        add_pooling_layer: bool = True,
        use_mask_token: bool = False,
    ):
        self.add_pooling_layer, self.use_mask_token = add_pooling_layer, use_mask_token
        super().__init__(config, rng, drawn)

    def build(self, c: ViTConfig, rng: np.random.Generator) -> None:
        self.embeddings = Embeddings(c, rng, self.use_mask_token)
        self.encoder = Group(layer=[Layer(c, rng) for _ in range(c.num_hidden_layers)])
        self.layernorm = LayerNorm(c.hidden_size, c.layer_norm_eps)
        pooled = c.pooler_output_size or c.hidden_size
        self.pooler = Group(dense=linear(c.hidden_size, pooled)) if self.add_pooling_layer else None

    def forward(self, pixel_values: Any, bool_masked_pos: Any = None) -> BaseOutput:
        """`last_hidden_state` (N, 1 + patches, hidden) and `pooler_output` (N, hidden) of (N, channels, H, W).

        A model with a mask token reads it in place of the patches where `bool_masked_pos` (N, patches) is true.
        """
        x = pixels(pixel_values, self.config.num_channels, self.config.picture, like=self.embeddings.cls_token)
        masked = None if bool_masked_pos is None else _masked(bool_masked_pos, len(x), self.config)
        if masked is not None and not self.use_mask_token:
            raise ValueError(
                "bool_masked_pos is for a model with a mask token: type ViTModel(config, use_mask_token=True)"
            )
        x = seen.state(self.embeddings(x, masked))
        for layer in self.encoder.layer:
            x = seen.state(layer(x))
        x = self.layernorm(x)
        return BaseOutput(x, activation(self.config.pooler_act)(self.pooler.dense(x[:, 0])) if self.pooler else None)


class ViTForImageClassification(PretrainedModel):
    """ViT with a linear layer on the first vector that scores `config.num_labels` classes."""

    config_class, layout, heads, label_layer = ViTConfig, ViTModel.layout, ("classifier.**",), "classifier"

    def build(self, c: ViTConfig, rng: np.random.Generator) -> None:
        self.vit = ViTModel(c, rng, drawn=False, add_pooling_layer=False)
        self.classifier = linear(c.hidden_size, c.label_count)

    def forward(self, pixel_values: Any, labels: Any = None) -> ClassifierOutput:
        """Scores of pictures (N, channels, H, W), and the loss if there are labels (N,)."""
        logits = self.classifier(self.vit(pixel_values).last_hidden_state[:, 0])
        return ClassifierOutput(classification_loss(logits, labels, self.config), logits)


class ViTForMaskedImageModeling(PretrainedModel):
    """ViT that paints the patches it is not shown (SimMIM, Xie et al. 2022), to be pretrained on pictures alone."""

    config_class, layout, heads = ViTConfig, Layout(base="vit"), ("decoder.**", "vit.embeddings.mask_token")

    def build(self, c: ViTConfig, rng: np.random.Generator) -> None:
        if c.patch != (c.encoder_stride, c.encoder_stride):
            raise ValueError(
                f"patch_size is {c.patch_size} and encoder_stride {c.encoder_stride}; expected the same, for each "
                "vector is painted as one patch"
            )
        self.vit = ViTModel(c, rng, drawn=False, add_pooling_layer=False, use_mask_token=True)
        painted = Conv2d(c.hidden_size, c.encoder_stride**2 * c.num_channels, 1, rng=init.LATER)
        self.decoder = Sequential(painted, PixelShuffle(c.encoder_stride))

    def forward(self, pixel_values: Any, bool_masked_pos: Any = None) -> MaskedImageModelingOutput:
        """Paint pictures (N, channels, H, W).

        Args:
            bool_masked_pos: (N, patches), row by row, true for the patches that are not shown; the loss is the mean
                absolute error of their pixels.
        """
        c = self.config
        (H, W), (h, w) = c.picture, c.patch
        x = self.vit(pixel_values, bool_masked_pos).last_hidden_state[:, 1:]  # (N, patches, D)
        y = self.decoder(ops.reshape(ops.swapaxes(x, 1, 2), (len(x), c.hidden_size, H // h, W // w)))
        if bool_masked_pos is None:
            return MaskedImageModelingOutput(None, y)
        masked = _masked(bool_masked_pos, len(x), c).reshape(-1, 1, H // h, W // w)
        hidden = masked.repeat(h, 2).repeat(w, 3)
        target = pixels(pixel_values, c.num_channels, c.picture, like=y)[:, :, : y.shape[2], : y.shape[3]]
        loss = ops.sum(ops.where(hidden, ops.abs(y - target), 0)) / (hidden.sum() * c.num_channels + 1e-5)
        return MaskedImageModelingOutput(loss, y)


def _masked(given: Any, many: int, c: ViTConfig) -> Any:
    """Which patches are not shown, as booleans (N, patches)."""
    masked, shape = as_given(given), (many, (c.picture[0] // c.patch[0]) * (c.picture[1] // c.patch[1]))
    if masked.shape != shape:
        raise ValueError(f"bool_masked_pos has shape {masked.shape}; expected {shape}, an entry for each patch")
    return masked.astype(bool)
