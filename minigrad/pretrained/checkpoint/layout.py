"""The differences in name and orientation between a file's weights and our model's, which each family gives as data.

Modules have the names of their checkpoints, so most names need no rule.  The others are given as dotted patterns.
"""

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...patterns import match, matches


@dataclass(frozen=True)
class Layout:
    """The differences of one model family, as patterns of names in the file, or of our names where it says so."""

    rename: Mapping[str, str] = field(default_factory=dict)  # the file's -> ours, in this order; reversed when saving
    legacy: Mapping[str, str] = field(default_factory=dict)  # spellings of old files -> the file's; only for reading
    drop: tuple[str, ...] = ()  # stored, but not weights of our model: masks, position ids
    transpose: tuple[str, ...] = ()  # stored (in, out)
    base: str = ""  # the attribute in which a model with a head keeps its base model: "bert"
    optional: tuple[str, ...] = ()  # our names; they keep their initial values if an old file lacks them

    def __post_init__(self):
        for old, new in (*self.rename.items(), *self.legacy.items()):
            if re.findall(r"\*+", old) != re.findall(r"\*+", new):
                raise ValueError(f"{old!r} -> {new!r}: expected the same stars in the same order on both sides")

    def translate(self, names: Iterable[str], wanted: Container[str]) -> dict[str, str]:
        """{our name: the file's name} for every weight in the file; `wanted` are the names in our model.

        A base model's file fits a model with a head, and the other way round: `base` is added or removed if that makes
        a name fit.  Raises ValueError if two names in the file mean the same weight.
        """
        found = {}
        for stored in names:
            if matches(self.drop, stored):
                continue
            name = self._ours(stored)
            spellings = (name, name.removeprefix(f"{self.base}."), f"{self.base}.{name}")
            name = next((spelling for spelling in spellings if spelling in wanted), name)
            if name in found:
                raise ValueError(
                    f"the file has both {found[name]} and {stored}, which are the same weight, {name}: remove one"
                )
            found[name] = stored
        return found

    def spare(self, unplaced: Iterable[str], names: Iterable[str]) -> dict[str, str]:
        """{the file's name: why the model does not need it} for those of the `unplaced` that have a known reason."""
        inside = f"{self.base}."
        has_base, why = any(self._ours(stored).startswith(inside) for stored in names), {}
        for stored in unplaced:
            if matches(self.drop, stored):
                why[stored] = "not part of this model"
            elif "pooler" in stored.split("."):
                why[stored] = "this model has no pooler"
            elif has_base and not self._ours(stored).startswith(inside):
                why[stored] = "of another head"
        return why

    def _ours(self, stored):
        return rewritten(rewritten(stored, self.legacy.items()), self.rename.items())

    def transposed(self, stored: str) -> bool:
        """Whether the file has the weight `stored` as (in, out), while ours is (out, in)."""
        return matches(self.transpose, stored)

    def stored(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{our name: array} converted to the names and the orientation of the file."""
        back = [(new, old) for old, new in reversed([*self.rename.items()])]
        renamed = {rewritten(name, back): array for name, array in arrays.items()}
        return {name: array.T if self.transposed(name) else array for name, array in renamed.items()}


def rewritten(name: str, rules: Iterable[tuple[str, str]]) -> str:
    """`name` rewritten by each rule (pattern, pattern) that matches, in order; the text matched by stars is kept."""
    for old, new in rules:
        if found := match(old, name):
            stars = iter(found.groups())
            name = re.sub(r"\*+", lambda _, stars=stars: next(stars), new)
    return name
