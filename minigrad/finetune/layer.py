"""The base of layers with adapters: a layer of a model changes its class in place, and its weights keep their names."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np

from .. import backend
from ..nn import Dropout, Module, Parameter, init
from ..nn.quantized import Quantized
from ..nn.tree import walk
from ..tensor import Tensor


@cache
def joined(first: type, second: type) -> type:
    """A subclass of both classes: `first`, which adds adapters, and `second`, the class that a module had before."""
    if issubclass(first, second):
        return first
    name = second.__name__ if first.__name__.endswith(second.__name__) else first.__name__ + second.__name__

    def reduced(self: Any) -> tuple:
        """Copies and pickles refer to both classes, since this one cannot be imported."""
        return _instance, (first, second), self.__getstate__()

    return type(name, (first, second), {"__doc__": first.__doc__, "__reduce__": reduced})


def _instance(first: type, second: type) -> Any:
    return object.__new__(joined(first, second))


class Mark:
    """The state of a weight, to determine later whether it was replaced or written to, also in copies and pickles.

    With is_unchanged=False the weight counts as written to from the start.
    """

    def __init__(self, t: Tensor, is_unchanged: bool = True):
        self.t, self.array, self.version = t, t.data, t.version if is_unchanged else -1

    def is_of(self, t: Tensor) -> bool:
        """Whether t is this weight, and was not written to since."""
        return self.t is t and self.array is t.data and self.version == t.version

    def __reduce__(self) -> tuple:
        return Mark, (self.t, self.is_of(self.t))


class AdapterLayer(Module):
    """A layer with named adapters in addition to its own weights; a subclass for each method defines their computation.

    `parts` names the attributes that hold the adapters' weights and numbers, each a dictionary from the name of an
    adapter, so that the paths in the state dict are those of `peft`: "query.lora_A.default.weight".
    """

    parts: ClassVar[tuple[str, ...]] = ()
    plain: type  # the class of the layer before it had adapters
    active: tuple[str, ...] = ()  # the active adapters, in the order in which they are applied
    merged: tuple[str, ...] = ()  # the adapters that are merged into the weights
    before_merge: Unmerged | None = None  # the parameters before merging

    @classmethod
    def of(cls, layer: Any) -> Any:
        """The layer itself, converted into one with adapters."""
        if not isinstance(layer, AdapterLayer):
            plain = type(layer)
            layer.__class__ = joined(cls, plain)
            layer.plain = plain
            for part in cls.parts:
                setattr(layer, part, {})
        return layer

    def unload(self) -> None:
        """Convert it back into a plain layer, with the weights that it has now."""
        plain = self.plain
        for name in (*self.parts, "plain", "active", "merged", "before_merge"):
            vars(self).pop(name, None)
        self.__class__ = plain

    @property
    def names(self) -> list[str]:
        """The names of the layer's adapters."""
        return list(dict.fromkeys(name for part in self.parts for name in vars(self)[part]))

    def own_modules(self) -> list[Module]:
        """The modules of which the layer's adapters consist."""
        return [m for part in self.parts for _, m in walk(vars(self)[part]) if isinstance(m, Module)]

    def has(self, name: str) -> bool:
        """Whether the layer has an adapter of this name."""
        return any(name in vars(self)[part] for part in self.parts)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The weights of an adapter by their names in a file, relative to the layer's: "lora_A.weight"."""
        return {
            f"{part}.{path}" if path else part: t
            for part in self.parts
            for path, t in walk(vars(self)[part].get(name))
            if isinstance(t, Tensor)
        }

    def delete(self, name: str) -> None:
        """Remove an adapter."""
        for part in self.parts:
            vars(self)[part].pop(name, None)
        self.active = tuple(one for one in self.active if one != name)

    @property
    def acting(self) -> tuple[str, ...]:
        """The adapters that `forward` computes: the active ones, or none while adapters are merged."""
        return () if self.merged else tuple(name for name in self.active if self.has(name))

    def with_adapter(self, name: str, weight: Any, bias: Any) -> tuple[Any, Any]:
        """The given weight and bias (arrays or None) with the adapter merged into them."""
        raise NotImplementedError(f"{type(self).__name__} cannot be merged")

    def merge(self, names: tuple[str, ...]) -> None:
        """Merge adapters into the weights, and keep the previous ones for `unmerge`.

        The sum is computed in float32 or float64 and rounded to the dtype of the weights.  Raises ValueError, and
        changes nothing, if the weights are quantised or a merged weight is not finite.
        """
        here = tuple(name for name in names if self.has(name))
        if not here:
            return
        layer: Any = self
        if isinstance(self, Quantized):
            raise ValueError(
                f"{', '.join(here)} cannot be merged into quantised weights, which would round it away: type "
                "dequantize(model), of minigrad.compress, and then the same again; or keep it beside them"
            )
        old: tuple[Any, Any] = layer.weight, getattr(layer, "bias", None)
        weight, bias = self.with_adapters(here, old)
        xp = backend.of(weight).xp
        if not all(array is None or bool(xp.isfinite(array).all()) for array in (weight, bias)):
            raise ValueError(f"the weights merged with {', '.join(here)} are not finite: nothing was merged")
        if bias is not None and old[1] is None:
            raise ValueError("an adapter has a bias, but the layer has none: it cannot be merged")
        self.before_merge, self.merged = Unmerged(*old), here
        for part, array, p in zip(("weight", "bias"), (weight, bias), old):
            if array is not None:  # a new Parameter, so that a layer tied to this one keeps its weight
                new = Parameter(xp.ascontiguousarray(array.astype(p.dtype, copy=False)), p.requires_grad)
                setattr(layer, part, new)
                self.before_merge.merged[part] = Mark(new)

    def with_adapters(self, names: tuple[str, ...], parameters: tuple[Any, Any]) -> tuple[Any, Any]:
        """The arrays of weight and bias with these adapters merged, in float32 or float64."""
        weight, bias = (None if p is None else at_least_single(p.data) for p in parameters)
        for name in names:
            weight, bias = self.with_adapter(name, weight, bias)
        return weight, bias

    def dequantize(self) -> Any:
        """Convert the weight of a quantised layer to floats, and keep its adapters."""
        adapted, self.__class__ = type(self), self.plain
        layer: Any = self
        self.plain = type(layer.dequantize())
        layer.__class__ = joined(adapted.__bases__[0], self.plain)
        return layer

    def unmerge(self) -> None:
        """Restore the weights from before `merge`, bit for bit, and apply to them what was written since."""
        if (before := self.before_merge) is not None:
            old, now = (before.weight, before.bias), {part: getattr(self, part) for part in before.merged}
            if not all(before.merged[part].is_of(p) for part, p in now.items()):
                merged: dict[str, Any] = dict(zip(("weight", "bias"), self.with_adapters(self.merged, old)))
                for part, p in now.items():
                    change = at_least_single(p.data) - at_least_single(merged[part].astype(p.dtype, copy=False))
                    kept = getattr(before, part)
                    kept.copy_(at_least_single(kept.data) + change)
            for part, p in now.items():
                kept = getattr(before, part)
                kept.requires_grad = p.requires_grad
                setattr(self, part, kept)
        self.before_merge, self.merged = None, ()


class Unmerged:
    """The parameters of a layer before merging; not a Module, so that they are not in the state dict."""

    def __init__(self, weight: Parameter, bias: Parameter | None):
        self.weight, self.bias = weight, bias
        self.merged: dict[str, Mark] = {}  # a mark of each merged parameter


def at_least_single(array: Any) -> Any:
    """The array in float32; a float64 array stays as it is."""
    return array.astype(np.float32) if array.dtype.itemsize < 4 else array


def like(layer: Any, array: Any) -> Parameter:
    """An array as a Parameter on a layer's device and in its dtype, or in float32 for 16-bit layers, as in `peft`."""
    dtype = np.float32 if layer.weight.dtype.itemsize < 4 else layer.weight.dtype
    return Parameter(Tensor(array, dtype=dtype, device=layer.weight.device).data)


def dropout(layer: Any, p: float, rng: Any) -> Dropout:
    """The Dropout of an adapter, in training mode if its layer is."""
    made = Dropout(p, rng=None if rng is init.LATER else rng)
    made.training = layer.training
    return made
