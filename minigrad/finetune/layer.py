"""The base of layers with adapters: a layer of the model becomes one in place, and its weights keep their names."""

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
    """A class that is both: `first`, which adds something, and `second`, which a module was until now."""
    if issubclass(first, second):
        return first
    name = second.__name__ if first.__name__.endswith(second.__name__) else first.__name__ + second.__name__

    def reduced(self: Any) -> tuple:
        """Copies and pickles name both classes, since nobody can import this one."""
        return _instance, (first, second), self.__getstate__()

    return type(name, (first, second), {"__doc__": first.__doc__, "__reduce__": reduced})


def _instance(first: type, second: type) -> Any:
    return object.__new__(joined(first, second))


class Mark:
    """A weight as it is now, to tell later whether it was written into; copies and pickles of the weight tell the same.

    Without `is_kept` it counts as written into.
    """

    def __init__(self, t: Tensor, is_kept: bool = True):
        self.t, self.array, self.version = t, t.data, t.version if is_kept else -1

    def is_of(self, t: Tensor) -> bool:
        """Whether this is the weight, with the numbers that it had."""
        return self.t is t and self.array is t.data and self.version == t.version

    def __reduce__(self) -> tuple:
        return Mark, (self.t, self.is_of(self.t))


class AdapterLayer(Module):
    """A layer with adapters, by name, beside its own weights; a method says what they compute.

    `parts` names the attributes that hold an adapter's weights and numbers, each a dictionary by the name of the
    adapter, so that a path in the state dict is `peft`'s: "query.lora_A.default.weight".
    """

    parts: ClassVar[tuple[str, ...]] = ()
    plain: type  # the class of the layer before it had adapters
    active: tuple[str, ...] = ()  # the adapters that act, in this order
    merged: tuple[str, ...] = ()  # those that are in the weights now
    before_merge: Unmerged | None = None  # the parameters without them

    @classmethod
    def of(cls, layer: Any) -> Any:
        """The layer itself, which is one with adapters from now on."""
        if not isinstance(layer, AdapterLayer):
            plain = type(layer)
            layer.__class__ = joined(cls, plain)
            layer.plain = plain
            for part in cls.parts:
                setattr(layer, part, {})
        return layer

    def unload(self) -> None:
        """Make it the layer that it was, with the weights that it has."""
        plain = self.plain
        for name in (*self.parts, "plain", "active", "merged", "before_merge"):
            vars(self).pop(name, None)
        self.__class__ = plain

    @property
    def names(self) -> list[str]:
        """The adapters here."""
        return list(dict.fromkeys(name for part in self.parts for name in vars(self)[part]))

    def own_modules(self) -> list[Module]:
        """The modules that the adapters here are made of."""
        return [m for part in self.parts for _, m in walk(vars(self)[part]) if isinstance(m, Module)]

    def has(self, name: str) -> bool:
        """Whether there is an adapter of this name here."""
        return any(name in vars(self)[part] for part in self.parts)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The weights of an adapter by their names in a file, after that of the layer: "lora_A.weight"."""
        return {
            f"{part}.{path}" if path else part: t
            for part in self.parts
            for path, t in walk(vars(self)[part].get(name))
            if isinstance(t, Tensor)
        }

    def delete(self, name: str) -> None:
        """Forget an adapter."""
        for part in self.parts:
            vars(self)[part].pop(name, None)
        self.active = tuple(one for one in self.active if one != name)

    @property
    def acting(self) -> tuple[str, ...]:
        """The adapters that are computed beside the layer: none while some are merged."""
        return () if self.merged else tuple(name for name in self.active if self.has(name))

    def with_adapter(self, name: str, weight: Any, bias: Any) -> tuple[Any, Any]:
        """Weight and bias of a layer that computes what this one does with the adapter; arrays or None."""
        raise NotImplementedError(f"{type(self).__name__} cannot be merged")

    def merge(self, names: tuple[str, ...]) -> None:
        """Put adapters into the weights, which are kept for `unmerge`; computed in float32 or better, then rounded.

        Raises ValueError if the weights are quantised, or one is then not finite; nothing is changed.
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
            raise ValueError("an adapter has a bias and the layer has none: it cannot be merged")
        self.before_merge, self.merged = Unmerged(*old), here
        for part, array, p in zip(("weight", "bias"), (weight, bias), old):
            if array is not None:  # a new Parameter, so that another layer that has the same weight keeps it
                new = Parameter(xp.ascontiguousarray(array.astype(p.dtype, copy=False)), p.requires_grad)
                setattr(layer, part, new)
                self.before_merge.merged[part] = Mark(new)

    def with_adapters(self, names: tuple[str, ...], parameters: tuple[Any, Any]) -> tuple[Any, Any]:
        """The arrays of weight and bias with these adapters, in float32 or better."""
        weight, bias = (None if p is None else at_least_single(p.data) for p in parameters)
        for name in names:
            weight, bias = self.with_adapter(name, weight, bias)
        return weight, bias

    def dequantize(self) -> Any:
        """Of a quantised layer: give it floats for its weight, and keep the adapters."""
        adapted, self.__class__ = type(self), self.plain
        layer: Any = self
        self.plain = type(layer.dequantize())
        layer.__class__ = joined(adapted.__bases__[0], self.plain)
        return layer

    def unmerge(self) -> None:
        """Take the weights that were there before `merge`, bit for bit, with what was written into them since."""
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
    """The parameters of a layer without what is merged; no part of the tree of modules."""

    def __init__(self, weight: Parameter, bias: Parameter | None):
        self.weight, self.bias = weight, bias
        self.merged: dict[str, Mark] = {}  # the merged ones


def at_least_single(array: Any) -> Any:
    """An array in float32, or in float64 if it is that."""
    return array.astype(np.float32) if array.dtype.itemsize < 4 else array


def like(layer: Any, array: Any) -> Parameter:
    """New numbers as a Parameter on the device of a layer, of its dtype but float32 for 16 bits, as `peft` has it."""
    dtype = np.float32 if layer.weight.dtype.itemsize < 4 else layer.weight.dtype
    return Parameter(Tensor(array, dtype=dtype, device=layer.weight.device).data)


def dropout(layer: Any, p: float, rng: Any) -> Dropout:
    """The dropout of an adapter of a layer, in training if the layer is."""
    made = Dropout(p, rng=None if rng is init.LATER else rng)
    made.training = layer.training
    return made
