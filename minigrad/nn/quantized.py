"""Linear layers and embeddings whose weights are whole numbers of 8 or 4 bits with scales, and what makes them.

`layer.weight` is still there, as the floats that the numbers stand for, computed whenever it is read; what is stored
and saved are `qweight` and `weight_scale`.  The numbers are not trained; biases and everything else can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from .. import backend, ops
from .. import functional as F
from ..backend.shared.quantized import GROUP
from ..functional.quantized import check_kind
from ..patterns import check_matched, matches
from ..tensor import Tensor
from .embeddings import Embedding
from .layers import Linear
from .module import Buffer, Module, Parameter
from .utils.prune import is_pruned

ACTIVATIONS = None, "dynamic", "static"


@dataclass
class QuantizationConfig:
    """How a model is quantised; `quantization_config` in its config.json.

    Args:
        weights: "int8", with a scale for each output, or "int4", with one for each 64 weights of an output.
        activations: what Linears read is rounded to 8 bits, too: "dynamic", with a scale for each vector, or "static",
            with one for each layer, which `calibrate` finds; None leaves it as it is.
        modules_to_not_convert: patterns of the paths of layers that keep their floats, such as "transformer.h.0.**".
    """

    quant_method: ClassVar[str] = "minigrad"

    weights: str = "int8"
    activations: str | None = None
    modules_to_not_convert: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        check_kind(self.weights)
        if self.activations not in ACTIVATIONS:
            raise ValueError(f'activations is {self.activations!r}: expected "dynamic", "static" or None')
        if isinstance(self.modules_to_not_convert, str) or not all(
            isinstance(one, str) for one in self.modules_to_not_convert
        ):
            raise ValueError(
                f"modules_to_not_convert is {self.modules_to_not_convert!r:.80}: expected a list of patterns, such as "
                "['transformer.h.0.**']"
            )
        self.modules_to_not_convert = tuple(self.modules_to_not_convert)

    @classmethod
    def of(cls, given: str | Mapping[str, Any] | QuantizationConfig) -> QuantizationConfig:
        """A configuration from one, from the word "int8" or "int4", or from the entries of a config.json.

        Raises:
            ValueError: it is none of these, or an entry has another value than those above.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, str):
            return cls(given)
        if not isinstance(given, Mapping):
            raise ValueError(f'quantize is {given!r:.80}: expected "int8", "int4" or a QuantizationConfig')
        entries = {name: value for name, value in given.items() if name not in ("quant_method", "group_size")}
        if unknown := entries.keys() - asdict(cls()).keys():
            raise ValueError(f"a quantization_config has no entry {', '.join(map(repr, sorted(unknown)))}: remove it")
        if given.get("group_size", GROUP) != GROUP:
            raise ValueError(f"group_size is {given['group_size']!r:.40}: minigrad reads groups of {GROUP}")
        return cls(**entries)

    def to_dict(self) -> dict[str, Any]:
        """The entries of `quantization_config` in config.json."""
        entries = {"quant_method": self.quant_method, **asdict(self)}
        entries["modules_to_not_convert"] = list(self.modules_to_not_convert)
        return entries | ({"group_size": GROUP} if self.weights == "int4" else {})


class Quantized(Module):
    """What both layers share: the numbers `qweight`, their `weight_scale`, and the floats that these stand for."""

    floating: ClassVar[type]  # the layer that it is made of
    qweight: Buffer
    weight_scale: Buffer

    @classmethod
    def of(cls, layer: Any, weights: str = "int8", numbers: tuple[Buffer, Buffer] | None = None) -> Any:
        """The layer itself, whose weight is quantised from now on; its hooks and its other attributes stay.

        Args:
            layer: a layer of the class `floating`.
            weights: "int8" or "int4".
            numbers: `qweight` and `weight_scale`, if they are known, as those of another layer with the same weight.
        """
        layer.qweight, layer.weight_scale = rounded(layer.weight, weights) if numbers is None else numbers
        del layer.weight
        layer.__class__ = cls
        return layer

    def dequantize(self) -> Any:
        """The layer itself, as one of the class `floating` again, with floats for its weight."""
        weight = Parameter(self.weight.data.copy())
        del self.qweight, self.weight_scale
        for name in ("activations", "input_scale"):
            vars(self).pop(name, None)
        self.__class__ = self.floating
        layer: Any = self
        layer.weight = weight
        return layer

    @property
    def features(self) -> int:
        """How many numbers a row has."""
        raise NotImplementedError(f"{type(self).__name__} has no features")

    @property
    def weight(self) -> Tensor:
        """The floats that the numbers stand for; they cannot be written into, since they are not what is kept."""
        floats = F.dequantize(self.qweight.data, self.weight_scale.data, self.features)
        return Tensor(backend.of(floats).xp.broadcast_to(floats, floats.shape))

    @weight.setter
    def weight(self, value: Any) -> None:
        raise TypeError(
            f"the weight of a {type(self).__name__} cannot be set: type layer.dequantize() first, then "
            "layer.weight.copy_(value)"
        )

    def describe(self) -> str:
        kind = "int8" if self.qweight.dtype == np.int8 else "int4"
        return f"{super().describe()}, weights={kind}"


class QuantizedLinear(Quantized, Linear):
    """A Linear with a quantised weight, made by `QuantizedLinear.of(layer)` or by `quantize(model)`.

    With `activations` what it reads is rounded, too: "dynamic" or, by the number `input_scale`, "static".
    """

    floating = Linear
    activations: str | None = None
    input_scale: Buffer | None = None

    @property
    def features(self) -> int:
        return self.in_features

    def forward(self, x: Any) -> Any:
        if self.activations is not None:
            x = F.fake_quantize(x, self.known_scale() if self.activations == "static" else None)
        return F.quantized_linear(x, self.qweight, self.weight_scale, self.bias)

    def known_scale(self) -> Buffer:
        """The scale of what it reads.

        Raises:
            ValueError: `calibrate` has not found it yet.
        """
        if self.input_scale is None:
            raise ValueError("the scales of static activations are not known yet: type calibrate(model, batches)")
        return self.input_scale


class QuantizedEmbedding(Quantized, Embedding):
    """An Embedding with a quantised table, made by `QuantizedEmbedding.of(layer)` or by `quantize(model)`."""

    floating = Embedding

    @property
    def features(self) -> int:
        return self.embedding_dim

    def forward(self, ids: Any) -> Any:
        numbers = F.embedding(ids, self.qweight)
        scales = F.embedding(ids, ops.reshape(self.weight_scale, (self.num_embeddings, -1)))
        scales = scales if self.weight_scale.ndim > 1 else ops.squeeze(scales, -1)
        return F.dequantize(numbers, scales, self.features)


LAYERS: dict[type, Any] = {layer.floating: layer for layer in (QuantizedLinear, QuantizedEmbedding)}


def rounded(weight: Tensor, weights: str) -> tuple[Buffer, Buffer]:
    """The numbers and scales of a weight, as buffers."""
    numbers, scales = F.quantize(weight, weights)
    return Buffer(numbers), Buffer(scales)


def empty(weight: Tensor, weights: str) -> tuple[Buffer, Buffer]:
    """Buffers for the numbers and scales of a weight, to be loaded."""
    (rows, features), groups = weight.shape, -(-weight.shape[1] // GROUP)
    xp = backend.of(weight.data).xp
    if weights == "int8":
        return Buffer(xp.empty((rows, features), np.int8)), Buffer(xp.empty(rows, np.float32))
    return Buffer(xp.empty((rows, groups * GROUP // 2), np.uint8)), Buffer(xp.empty((rows, groups), np.float32))


def layers_of(model: Module) -> list[Any]:
    """The Linears and Embeddings of a model, each once."""
    return list({id(m): m for m in model.modules() if type(m) in LAYERS}.values())


def quantizable(model: Module, config: QuantizationConfig) -> list[Any]:
    """The layers to quantise: all Linears and Embeddings but those that the configuration names, and the last one.

    The last one is a classifier's, which scores labels.  Layers with one weight are quantised together or not at all.

    Raises:
        ValueError: a pattern of modules_to_not_convert matches no layer, there is nothing to quantise, or some is
            quantised already, or has a mask.
    """
    found = {path: layer for path, layer in model.named_modules() if type(layer) in LAYERS}
    if is_pruned(model):
        raise ValueError(
            f"weights of this {type(model).__name__} have masks: type minigrad.compress.Pruning(model).remove(model) "
            "first, which leaves the zeros"
        )
    if any(isinstance(m, Quantized) for m in model.modules()):
        raise ValueError(f"this {type(model).__name__} is quantised already: type dequantize(model) first")
    if config.modules_to_not_convert:
        check_matched(config.modules_to_not_convert, found, f"Linear or Embedding of {type(model).__name__}")
    head = getattr(model, "label_layer", "")
    kept = {id(m.weight) for path, m in found.items() if path == head or matches(config.modules_to_not_convert, path)}
    layers = [m for m in layers_of(model) if id(m.weight) not in kept]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no Linear and no Embedding to quantise")
    return layers


def convert(layers: Iterable[Any], config: QuantizationConfig, made: Any = rounded) -> list[Any]:
    """Quantise layers, and return them; those with one weight have one again.

    Args:
        made: makes the numbers and scales of a weight: `rounded`, or `empty`, to be loaded.
    """
    known: dict[int, tuple[Any, tuple[Buffer, Buffer]]] = {}
    layers = list(layers)
    for layer in layers:
        weight = layer.weight
        if id(weight) not in known:
            known[id(weight)] = weight, made(weight, config.weights)
        LAYERS[type(layer)].of(layer, config.weights, known[id(weight)][1])
        if isinstance(layer, QuantizedLinear):
            layer.activations = config.activations
            if config.activations == "static" and made is empty:
                layer.input_scale = Buffer(np.empty((), np.float32))
    return layers


def quantize(model: Any, config: str | Mapping[str, Any] | QuantizationConfig = "int8") -> Any:
    """Quantise the Linears and Embeddings of a model in place, and return it.

    Args:
        config: "int8", "int4" or a `QuantizationConfig`.

    Raises:
        ValueError: the configuration makes no sense for this model, or the model is quantised already.
    """
    config = QuantizationConfig.of(config)
    convert(quantizable(model, config), config)
    model.quantization = config
    return model


def dequantize(model: Any) -> Any:
    """Give a quantised model floats for its weights again, in place, to be trained or merged; returns it."""
    known: dict[int, Any] = {}
    for layer in {id(m): m for m in model.modules() if isinstance(m, Quantized)}.values():
        numbers = layer.qweight
        layer.dequantize()
        layer.weight = known.setdefault(id(numbers), (numbers, layer.weight))[1]
    model.quantization = None
    return model
