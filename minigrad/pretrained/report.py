"""Which weight of a checkpoint goes where, decided before any is read, and told in a table that ends in a verdict."""
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..patterns import matches
from .layout import Layout

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class LoadReport:
    """What became of each weight of the model, by our name, and which of the file's found no place."""
    loaded: dict[str, str]                                                # our name -> the file's
    newly_initialised: list[str]                                          # not in the file
    unused: list[str]                                                     # only in the file
    wrong_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]       # the file's shape, ours: initialised anew, too

    @property
    def renamed(self) -> dict[str, str]:
        return {name: stored for name, stored in self.loaded.items() if name != stored}

    @property
    def verdict(self) -> str:
        new = [*self.newly_initialised, *self.wrong_shape]
        if not new:
            return f"all {len(self.loaded)} weights loaded"
        return (f"{len(self.loaded)} of {len(self.loaded) + len(new)} weights loaded; {_listed(new)} "
                f"{'is' if len(new) == 1 else 'are'} new: fine-tune before use")

    def __str__(self) -> str:
        rows = (("loaded", self.loaded, ()),
                ("renamed", self.renamed, [f"such as {stored} -> {name}" for name, stored in self.renamed.items()][:1]),
                ("newly initialised", self.newly_initialised, self.newly_initialised),
                ("unused", self.unused, self.unused),
                ("wrong shape", self.wrong_shape, _shapes(self.wrong_shape)))
        table = [f"{title:<17} {len(names):>5}  {_listed(shown)}".rstrip() for title, names, shown in rows if names]
        return "\n".join([*table, f"verdict: {self.verdict}"])


def fit(model_shapes: Shapes, file_shapes: Shapes, layout: Layout, heads: Iterable[str] = (),
        ignore_mismatched_sizes: bool = False, source: str = "the checkpoint") -> LoadReport:
    """Match the weights of a file to those of a model by name and shape.

    The shapes are {name: shape}; `heads` are patterns of our names that may be absent from the file.  Raises one
    ValueError that names everything else that is missing, and every wrong shape unless `ignore_mismatched_sizes`.
    """
    found = layout.translate(file_shapes, model_shapes)
    loaded, wrong, missing = {}, {}, []
    for name, shape in model_shapes.items():
        stored = found.pop(name, None)
        if stored is None:
            missing.append(name)
            continue
        theirs = file_shapes[stored][::-1] if layout.transposed(stored) else file_shapes[stored]
        if theirs == shape:
            loaded[name] = stored
        else:
            wrong[name] = theirs, shape
    unused = list(found.values())

    faults = []
    if lost := [name for name in missing if not matches(heads, name)]:
        instead = f" (it has {_listed(unused)} instead)" if unused else ""
        faults.append(f"it lacks {_listed(lost, len(lost))}{instead}: check that config.json and the model class are this file's")
    if wrong and not ignore_mismatched_sizes:
        faults.append(f"{_listed(_shapes(wrong), len(wrong))}: to begin these anew, pass ignore_mismatched_sizes=True")
    if faults:
        raise ValueError(f"{source} does not fit the model: {'; '.join(faults)}")
    return LoadReport(loaded, missing, unused, wrong)


def _shapes(wrong):
    return [f"{name} is {theirs} in the file, {ours} in the model" for name, (theirs, ours) in wrong.items()]


def _listed(names, limit=3):
    """Names with those that differ in one number made one, `layer.{0..5}.bias`, and all beyond `limit` counted."""
    numbers = {}
    for name in names:
        before, number, after = (*re.split(r"\b(\d+)\b", name, maxsplit=1), "", "")[:3]
        numbers.setdefault((before, after), []).append(number)
    grouped = [before + _span(found) + after for (before, after), found in numbers.items()]
    rest = f", … and {len(grouped) - limit} more" if len(grouped) > limit else ""
    return ", ".join(grouped[:limit]) + rest


def _span(found):
    if len(found) == 1:
        return found[0]
    whole = sorted(map(int, found))
    return f"{{{whole[0]}..{whole[-1]}}}" if whole == list(range(whole[0], whole[-1] + 1)) else f"{{{','.join(map(str, whole))}}}"
