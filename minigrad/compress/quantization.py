"""Quantisation of a model: at once, with scales of activations from a few batches, or with training.

model = quantize(model, "int8")                                         weights only
model = quantize(model, QuantizationConfig("int8", "static"), batches)  and what layers read

prepare_qat(model, "int4")                                              train as usual, with rounded weights,
quantize(model, "int4")                                                 and round them for good
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from .. import backend
from .. import functional as F
from ..execution import no_grad
from ..finetune import PeftModel
from ..functional.quantized import straight_through
from ..nn import Buffer, Embedding, Linear, Module
from ..nn.quantized import QuantizationConfig, QuantizedLinear, dequantize, quantizable
from ..nn.quantized import quantize as quantize_layers
from ..tensor import Tensor
from ..train.batches import called

__all__ = ["calibrate", "dequantize", "prepare_qat", "quantize"]


def quantize(
    model: Any, config: str | Mapping[str, Any] | QuantizationConfig = "int8", batches: Iterable[Any] | None = None
) -> Any:
    """Quantise the Linears and Embeddings of a model in place, but for the one that scores labels, and return it.

    Args:
        model: a model of minigrad.pretrained or any other Module, also one that `prepare_qat` has prepared.
        config: "int8", "int4", or a `QuantizationConfig`, which says more.
        batches: for static activations, what `calibrate` is given; it can be called later, too.

    Raises:
        ValueError: the configuration makes no sense for this model, the model is quantised already or has adapters, or
            there is not one batch.
    """
    config = QuantizationConfig.of(config)
    if batches is not None and config.activations != "static":
        raise ValueError("batches are for static activations: type QuantizationConfig(weights, activations='static')")
    if isinstance(model, PeftModel):
        raise ValueError(
            "this model has adapters: type model.merge_and_unload() or model.unload() first, or quantize a model and "
            "give that adapters"
        )
    for layer in {id(m): m for m in model.modules() if type(m) in QAT_LAYERS.values()}.values():
        layer.finish()
    quantize_layers(model, config)
    return model if batches is None else calibrate(model, batches)


def calibrate(model: Any, batches: Iterable[Any]) -> Any:
    """Find the scales of a model's static activations: the largest magnitude that each layer reads, over 127.

    Args:
        model: quantised, with activations="static".
        batches: what the model is called with: dicts of its arguments, tuples, or single inputs; a few hundred texts
            like those it is meant for.

    Returns:
        The model.

    Raises:
        ValueError: there is not one batch, a layer was never reached, or no layer has static activations.
    """
    layers = {
        path: m for path, m in model.named_modules() if isinstance(m, QuantizedLinear) and m.activations == "static"
    }
    if not layers:
        raise ValueError(
            "no layer of this model has static activations: type quantize(model, QuantizationConfig('int8', 'static'))"
        )
    tops: dict[int, float] = {}

    def watch(layer: Module, args: tuple) -> None:
        x = args[0].data if isinstance(args[0], Tensor) else np.asarray(args[0])
        tops[id(layer)] = max(tops.get(id(layer), 0.0), float(backend.of(x).xp.abs(x).max(initial=0)))

    handles = [layer.register_forward_pre_hook(watch) for layer in layers.values()]
    training, count = model.training, 0
    for layer in layers.values():
        layer.activations = None
    try:
        model.eval()
        with no_grad():
            for batch in batches:
                called(model, batch)
                count += 1
    finally:
        model.train(training)
        for layer in layers.values():
            layer.activations = "static"
        for handle in handles:
            handle.remove()
    if not count:
        raise ValueError("there is no batch to calibrate on: give a list of a few, such as [tokenizer(texts)]")
    for path, layer in layers.items():
        if not 0 < tops.get(id(layer), 0.0) < float("inf"):
            raise ValueError(
                f"{path} read {tops.get(id(layer), 'nothing')} in these batches, which gives no scale: give batches "
                "that reach every layer, or name it in modules_to_not_convert"
            )
    for layer in layers.values():
        xp = backend.of(layer.qweight.data).xp
        layer.input_scale = Buffer(xp.asarray(tops[id(layer)] / 127, dtype=np.float32))
    return model


class QATLayer(Module):
    """A layer that computes with its weight rounded, and trains it as if it were not (the straight-through estimator).

    The gradient of the rounded weight is taken for that of the weight (Jacob et al. 2018, section 3).
    """

    floating: ClassVar[type]  # the layer that it was
    weights: str
    activations: str | None
    weight: Any

    def rounded(self) -> Any:
        """The weight as the numbers of few bits would have it, with the gradient of the weight."""
        numbers, scales = F.quantize(self.weight.detach(), self.weights)
        return straight_through(self.weight, F.dequantize(numbers, scales, self.weight.shape[1]))

    def finish(self) -> None:
        """Be the layer again that it was, with the weights that it has now."""
        del self.weights, self.activations
        self.__class__ = self.floating


class QATLinear(QATLayer, Linear):
    """A Linear that is trained with a rounded weight; with `activations` what it reads is rounded, too."""

    floating = Linear
    bias: Any

    def forward(self, x: Any) -> Any:
        return F.linear(x if self.activations is None else F.fake_quantize(x), self.rounded(), self.bias)


class QATEmbedding(QATLayer, Embedding):
    """An Embedding that is trained with a rounded table."""

    floating = Embedding

    def forward(self, ids: Any) -> Any:
        return F.embedding(ids, self.rounded(), self.padding_idx)


QAT_LAYERS: dict[type, Any] = {layer.floating: layer for layer in (QATLinear, QATEmbedding)}


def prepare_qat(model: Any, config: str | Mapping[str, Any] | QuantizationConfig = "int8") -> Any:
    """Let a model be trained with its weights rounded in every step, in place; then `quantize` it; returns the model.

    The names of all weights stay, so that it is trained and saved as any model is.  Activations that are to be rounded
    have a scale for each vector in training, also where they will be static.

    Raises:
        ValueError: as for `quantize`.
    """
    config = QuantizationConfig.of(config)
    if isinstance(model, PeftModel):
        raise ValueError("this model has adapters, and only they are trained: type model.merge_and_unload() first")
    layers = quantizable(model, config)
    for layer in layers:
        layer.weights, layer.activations = config.weights, config.activations
        layer.__class__ = QAT_LAYERS[type(layer)]
    return model
