"""Weights with masks, under torch's names (torch.nn.utils.prune): what is pruned stays zero, whatever trains the rest.

    nn.utils.prune.l1_unstructured(layer, "weight", amount=0.5)

`layer.weight` is now computed: `layer.weight_orig`, the parameter that is trained, where `layer.weight_mask` is True,
and 0 elsewhere.  `remove` makes it a plain parameter again, zeros included.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from numbers import Integral
from typing import Any

import numpy as np

from ... import ops
from ...errors import is_number
from ...tensor import Tensor
from .. import init
from ..module import Buffer, Module, Parameter


class BasePruningMethod:
    """A way to choose what is pruned.  A subclass defines `compute_mask`, and `apply` prunes with it.

    Amounts are as in torch: a whole number of entries, or a fraction of those that are not pruned yet.
    """

    def compute_mask(self, t: np.ndarray, default_mask: np.ndarray) -> np.ndarray:
        """The new mask, booleans of the shape of `t`, which holds the weights or scores of their importance.

        What `default_mask` has pruned already stays pruned.
        """
        raise NotImplementedError(f"{type(self).__name__} has no compute_mask")

    @classmethod
    def apply(cls, module: Module, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any) -> Module:
        """Prune the parameter `name` of a module with this method, made of the other arguments; returns the module."""
        method = cls(*args, **kwargs)
        mask, scores = mask_of(module, name), _scores(getattr(module, name), importance_scores)
        set_mask(module, name, method.compute_mask(scores, mask))
        return module


class Identity(BasePruningMethod):
    """Prunes nothing, but prepares the parameter for masks."""

    def compute_mask(self, t: np.ndarray, default_mask: np.ndarray) -> np.ndarray:
        return default_mask


class L1Unstructured(BasePruningMethod):
    """Prunes the entries of the smallest magnitude (Han et al. 2015)."""

    def __init__(self, amount: float):
        self.amount = checked_amount(amount)

    def compute_mask(self, t: np.ndarray, default_mask: np.ndarray) -> np.ndarray:
        return without_smallest(np.abs(t), default_mask, count_of(self.amount, int(default_mask.sum())))


class RandomUnstructured(BasePruningMethod):
    """Prunes entries at random; `rng` is a generator or a seed."""

    def __init__(self, amount: float, *, rng: init.Rng = None):
        self.amount, self.rng = checked_amount(amount), init.generator(rng)

    def compute_mask(self, t: np.ndarray, default_mask: np.ndarray) -> np.ndarray:
        chances = self.rng.random(t.shape)  # type: ignore[union-attr]
        return without_smallest(chances, default_mask, count_of(self.amount, int(default_mask.sum())))


class LnStructured(BasePruningMethod):
    """Prunes whole slices along the axis `dim`, those of the smallest norm of order `n`."""

    def __init__(self, amount: float, n: float, dim: int = -1):
        self.amount, self.n, self.dim = checked_amount(amount), n, dim

    def compute_mask(self, t: np.ndarray, default_mask: np.ndarray) -> np.ndarray:
        rows = _rows(t, self.dim)
        return _without_rows(np.linalg.norm(rows, self.n, 1), default_mask, self.dim, self.amount)


class RandomStructured(BasePruningMethod):
    """Prunes whole slices along the axis `dim` at random."""

    def __init__(self, amount: float, dim: int = -1, *, rng: init.Rng = None):
        self.amount, self.dim, self.rng = checked_amount(amount), dim, init.generator(rng)

    def compute_mask(self, t: np.ndarray, default_mask: np.ndarray) -> np.ndarray:
        chances = self.rng.random(t.shape[self.dim])  # type: ignore[union-attr]
        return _without_rows(chances, default_mask, self.dim, self.amount)


class SemiStructured(BasePruningMethod):
    """Keeps the `n` largest of each `m` neighbours along the axis of the inputs.

    2:4 is the pattern that some GPUs multiply faster (Mishra et al. 2021).
    """

    def __init__(self, n: int = 2, m: int = 4):
        if not (isinstance(n, Integral) and isinstance(m, Integral) and 0 < n <= m):
            raise ValueError(f"a pattern {n}:{m} keeps {n} of each {m}: give whole numbers with 0 < n <= m")
        self.n, self.m = n, m

    def compute_mask(self, t: np.ndarray, default_mask: np.ndarray) -> np.ndarray:
        if t.ndim < 2 or t.shape[1] % self.m:
            raise ValueError(
                f"a weight of shape {t.shape} cannot be pruned {self.n}:{self.m}: its axis of inputs, the second, must "
                f"be a multiple of {self.m}"
            )
        scores, kept = (np.moveaxis(part, 1, -1) for part in (np.where(default_mask, np.abs(t), -1.0), default_mask))
        groups = scores.reshape(*scores.shape[:-1], -1, self.m)
        rank = np.argsort(np.argsort(-groups, -1, kind="stable"), -1, kind="stable")
        return np.moveaxis((rank < self.n).reshape(kept.shape) & kept, -1, 1)


class CustomFromMask(BasePruningMethod):
    """Prunes where a mask is 0 or False."""

    def __init__(self, mask: Any):
        self.mask = np.asarray(mask.numpy() if isinstance(mask, Tensor) else mask)

    def compute_mask(self, t: np.ndarray, default_mask: np.ndarray) -> np.ndarray:
        if self.mask.shape != t.shape:
            raise ValueError(
                f"the mask has shape {self.mask.shape}, but the parameter {t.shape}: give one entry for each weight, "
                "such as weight.numpy() != 0"
            )
        return default_mask & (self.mask != 0)


def identity(module: Module, name: str) -> Module:
    """Prepare the parameter `name` for masks without pruning anything; returns the module."""
    return Identity.apply(module, name)


def random_unstructured(module: Module, name: str, amount: float, *, rng: init.Rng = None) -> Module:
    """Prune that many entries, or that fraction of them, at random; returns the module."""
    return RandomUnstructured.apply(module, name, amount, rng=rng)


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: Any = None) -> Module:
    """Prune the entries of the smallest magnitude, or of the lowest `importance_scores`; returns the module."""
    return L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)


def random_structured(module: Module, name: str, amount: float, dim: int, *, rng: init.Rng = None) -> Module:
    """Prune whole slices along the axis `dim` at random; returns the module."""
    return RandomStructured.apply(module, name, amount, dim, rng=rng)


def ln_structured(
    module: Module, name: str, amount: float, n: float, dim: int, importance_scores: Any = None
) -> Module:
    """Prune whole slices along the axis `dim`, those of the smallest norm of order `n`; returns the module.

    The arrays keep their shapes: to have them smaller, see `prune_heads`, `prune_channels` and `prune_layers` of
    pretrained models.
    """
    return LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)


def semi_structured(module: Module, name: str, n: int = 2, m: int = 4) -> Module:
    """Keep the n largest of each m neighbours along the axis of the inputs, by default 2:4; returns the module."""
    return SemiStructured.apply(module, name, n, m)


def custom_from_mask(module: Module, name: str, mask: Any) -> Module:
    """Prune where `mask`, of the parameter's shape, is 0 or False; returns the module.

    Raises ValueError if it has another shape.
    """
    return CustomFromMask.apply(module, name, mask)


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: Mapping[tuple[Module, str], Any] | None = None,
    **kwargs: Any,
) -> None:
    """Prune several parameters as if they were one, such as the smallest tenth of all their entries.

    Args:
        parameters: pairs of a module and the name of its parameter.
        pruning_method: `L1Unstructured` or `RandomUnstructured`; `kwargs` are its arguments, such as amount=0.1.
        importance_scores: by those pairs, instead of the weights.
    """
    pairs = list(parameters)
    if not pairs:
        raise ValueError("there are no parameters to prune: give pairs such as (model.fc, 'weight')")
    given = importance_scores or {}
    masks = [mask_of(module, name) for module, name in pairs]
    scores = [_scores(getattr(module, name), given.get((module, name))) for module, name in pairs]
    new = pruning_method(**kwargs).compute_mask(
        np.concatenate([part.ravel() for part in scores]), np.concatenate([mask.ravel() for mask in masks])
    )
    ends = np.cumsum([mask.size for mask in masks])[:-1]
    for (module, name), mask, part in zip(pairs, masks, np.split(new, ends), strict=True):
        set_mask(module, name, part.reshape(mask.shape))


def is_pruned(module: Module, name: str | None = None) -> bool:
    """Whether this parameter of the module or, without a name, any in or below it has a mask."""
    if name is not None:
        return name in getattr(type(module), "masked", ())
    return any(getattr(type(m), "masked", ()) for m in module.modules())


def remove(module: Module, name: str) -> Module:
    """Make a pruned parameter plain again, with zeros that training may change; returns the module.

    Raises ValueError if it has no mask.
    """
    if not is_pruned(module, name):
        raise ValueError(f"{type(module).__name__}: {name!r} has no mask to remove; it is a plain parameter")
    entries, kind = vars(module), type(module)
    if kind is not _class_for(kind.unmasked, kind.masked):  # type: ignore[attr-defined]
        raise ValueError(f"{kind.__name__} became more than a layer with a mask: type model.unload() for its adapters")
    orig = entries.pop(f"{name}_orig")
    orig.copy_(np.where(_host(entries.pop(f"{name}_mask")), orig.numpy(), 0))
    module.__class__ = _class_for(kind.unmasked, kind.masked - {name})  # type: ignore[attr-defined]
    entries[name] = orig
    return module


def mask_of(module: Module, name: str) -> np.ndarray:
    """The mask of a parameter, True for what is kept; all True if it is not pruned.

    Raises ValueError if the module has no parameter of that name.
    """
    if is_pruned(module, name):
        return _host(vars(module)[f"{name}_mask"])
    if not isinstance(value := vars(module).get(name), Parameter):
        names = ", ".join(one for one, _ in module.named_parameters(recurse=False)) or "none"
        raise ValueError(f"{type(module).__name__} has no parameter {name!r} to prune: it has {names}")
    return np.ones(value.shape, bool)


def set_mask(module: Module, name: str, mask: np.ndarray) -> None:
    """Replace the mask of a parameter, which gets one if it has none."""
    entries = vars(module)
    if is_pruned(module, name):
        entries[f"{name}_mask"].copy_(mask)
        return
    kind, orig = type(module), entries.pop(name)
    module.__class__ = _class_for(getattr(kind, "unmasked", kind), getattr(kind, "masked", frozenset()) | {name})
    entries[f"{name}_orig"] = orig  # the same object, which an optimiser may hold already
    entries[f"{name}_mask"] = Buffer(mask, device=orig.device)


def without_masks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a model's `state_dict`, with each pruned weight under its own name, zeros included."""
    plain = {}
    for path, t in state.items():
        name = path.removesuffix("_orig")
        if name != path and f"{name}_mask" in state:
            plain[name] = _masked(t, state[f"{name}_mask"]).detach()
        elif not (path.endswith("_mask") and f"{path.removesuffix('_mask')}_orig" in state):
            plain[path] = t
    return plain


@cache
def _class_for(kind: type, names: frozenset[str]) -> type:
    """The class of modules of a kind whose parameters of these names are computed from a mask."""
    if not names:
        return kind
    computed: dict[str, Any] = {name: _computed(name) for name in names}
    return type(
        f"Pruned{kind.__name__}",
        (kind,),
        {"__module__": kind.__module__, "unmasked": kind, "masked": names, **computed},
    )


def _computed(name: str) -> property:
    def refuse(module: Module, value: Any) -> None:
        raise TypeError(
            f"{type(module).__name__}.{name} is pruned, and computed from {name}_orig: type "
            f"nn.utils.prune.remove(module, {name!r}) before setting it"
        )

    return property(lambda module: _masked(vars(module)[f"{name}_orig"], vars(module)[f"{name}_mask"]), refuse)


def _masked(orig: Tensor, mask: Tensor) -> Tensor:
    return ops.where(mask, orig, 0)


def _host(mask: Tensor) -> np.ndarray:
    return mask.numpy() != 0


def _scores(weight: Tensor, given: Any) -> np.ndarray:
    """The weights, or the scores that are given instead, on the host."""
    array = weight.detach().numpy()
    if given is None:
        return array
    found = np.asarray(given.numpy() if isinstance(given, Tensor) else given)
    if found.shape != array.shape:
        raise ValueError(f"importance_scores have shape {found.shape}; expected that of the parameter, {array.shape}")
    return found


def checked_amount(amount: Any) -> float:
    """The amount, if it is a number of entries or a fraction.  Raises TypeError or ValueError otherwise."""
    wanted = "expected a fraction from 0.0 to 1.0, or a whole number of entries"
    if not is_number(amount):
        raise TypeError(f"amount is {amount!r}; {wanted}")
    if not 0 <= amount < math.inf or not isinstance(amount, Integral) and amount > 1:
        raise ValueError(f"amount is {amount!r}; {wanted}")
    return amount


def count_of(amount: float, size: int) -> int:
    """How many of `size` entries an amount means.  Raises ValueError for more than there are."""
    if not isinstance(amount, Integral):
        return round(amount * size)
    if amount > size:
        raise ValueError(f"amount is {amount}, but only {size} are left to prune: give fewer, or a fraction")
    return int(amount)


def without_smallest(scores: np.ndarray, mask: np.ndarray, count: int) -> np.ndarray:
    """The mask without the `count` entries of the lowest scores among those it keeps."""
    places = np.flatnonzero(mask)
    kept = scores.ravel()[places]
    new = mask.ravel().copy()
    if count:
        new[places[np.argpartition(kept, count - 1)[:count]]] = False
    return new.reshape(mask.shape)


def _rows(t: np.ndarray, dim: int) -> np.ndarray:
    """Slices along an axis as rows.  Raises ValueError for a vector, or for an axis that is not there."""
    if t.ndim < 2 or not -t.ndim <= dim < t.ndim:
        raise ValueError(
            f"a parameter of shape {t.shape} has no slices along dim {dim}; expected a matrix, or more axes"
        )
    return np.moveaxis(t, dim, 0).reshape(t.shape[dim], -1)


def _without_rows(scores: np.ndarray, mask: np.ndarray, dim: int, amount: float) -> np.ndarray:
    """The mask without whole slices along an axis, those of the lowest scores among the slices that it keeps."""
    kept: np.ndarray = np.any(_rows(mask, dim), axis=1)
    new = without_smallest(scores, kept, count_of(amount, int(kept.sum())))
    shape = [1] * mask.ndim
    shape[dim] = -1
    return mask & new.reshape(shape)
