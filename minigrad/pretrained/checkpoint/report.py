"""Matches a checkpoint's weights with a model's before any is read, and reports the result as a table."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...patterns import matches
from .layout import Layout

Shapes = Mapping[str, tuple[int, ...]]
MAX_NAMES = 6  # listed in an error message; further names are counted
MAX_LETTERS = 160  # shown of a name


@dataclass(frozen=True)
class LoadReport:
    """How each weight of the model was loaded, by our name, and the weights of the file that were not used."""

    loaded: dict[str, str]  # our name -> the file's
    newly_initialised: list[str]  # not in the file
    unused: list[str]  # only in the file, for no known reason
    wrong_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]  # (the file's, ours); newly initialised as well
    transposed: list[str] = field(default_factory=list)  # stored (in, out)
    tied: dict[str, str] = field(default_factory=dict)  # second name -> name of the weight
    not_needed: dict[str, str] = field(default_factory=dict)  # only in the file -> why the model does not need it
    prefix: str = ""  # of every name in the file, removed here

    @property
    def renamed(self) -> dict[str, str]:
        """{our name: the file's name} for the weights loaded under another name."""
        return {name: stored for name, stored in self.loaded.items() if name != stored}

    @property
    def verdict(self) -> str:
        """The report in one line."""
        new, places = [*self.newly_initialised, *self.wrong_shape], len(self.loaded)
        told = [f"all {places} weights loaded" if not new else f"{places} of {places + len(new)} weights loaded"]
        if self.unused:
            told.append(
                f"{len(self.unused)} in the file {'has' if len(self.unused) == 1 else 'have'} no place in the model"
            )
        if new:
            told.append(f"{listed(new)} {'is' if len(new) == 1 else 'are'} new: fine-tune before use")
        return "; ".join(told)

    def __str__(self) -> str:
        spare = {}
        for name, why in self.not_needed.items():
            spare.setdefault(why, []).append(name)
        first = [*self.renamed.items()][:1]
        rows = (
            ("loaded", self.loaded, []),
            ("without prefix", self.loaded if self.prefix else (), [f"{self.prefix} before every name in the file"]),
            ("renamed", self.renamed, [f"such as {listed([stored])} -> {name}" for name, stored in first]),
            ("transposed", self.transposed, [listed(self.transposed)]),
            ("tied", self.tied, [f"{name} is {own}" for name, own in self.tied.items()]),
            ("newly initialised", self.newly_initialised, [listed(self.newly_initialised)]),
            ("not needed", self.not_needed, [f"{listed(names)} ({why})" for why, names in spare.items()]),
            ("unused", self.unused, [listed(self.unused)]),
            ("wrong shape", self.wrong_shape, [listed(_shapes(self.wrong_shape))]),
        )
        table = [f"{title:<17} {len(names):>5}  {', '.join(shown)}".rstrip() for title, names, shown in rows if names]
        return "\n".join([*table, f"verdict: {self.verdict}"])


def fit(
    model_shapes: Shapes,
    file_shapes: Shapes,
    layout: Layout,
    heads: Iterable[str] = (),
    tied: Mapping[str, str] | None = None,
    ignore_mismatched_sizes: bool = False,
    strict: bool = True,
    source: str = "the checkpoint",
) -> LoadReport:
    """Match the weights of a file with those of a model by name and shape.

    Args:
        model_shapes, file_shapes: {name: shape}.
        heads: patterns of our names that may be absent from the file.
        tied: {second name: name of the weight} in the model; the file may have either or both.
        ignore_mismatched_sizes: initialise weights of another shape anew.
        strict: refuse a file that lacks weights, or has weights without a place in the model.
        source: the name of the file, for messages.

    Raises:
        ValueError: weights are missing or without a place, or differ in shape; the message names all of them.
    """
    tied = tied or {}
    found = layout.translate(file_shapes, model_shapes)
    seconds = {name: found[name] for name in tied if name in found}
    found = {tied[name]: stored for name, stored in seconds.items()} | found
    loaded, wrong, missing, taken = {}, {}, [], set(seconds.values())
    for name, shape in model_shapes.items():
        if name in tied:
            continue
        if name not in found:
            missing += [name] * (not matches(layout.optional, name))
            continue
        stored = found[name]
        taken.add(stored)
        theirs = file_shapes[stored][::-1] if layout.transposed(stored) else file_shapes[stored]
        if theirs == shape:
            loaded[name] = stored
        else:
            wrong[name] = theirs, shape
    left = [stored for stored in file_shapes if stored not in taken]
    not_needed = layout.spare(left, file_shapes)
    unused = [stored for stored in left if stored not in not_needed]

    faults, lost = [], [name for name in missing if not matches(heads, name)]
    if strict and lost:
        instead = f" (it has {listed(unused)} instead)" if unused else ""
        faults.append(
            f"it lacks {listed(lost, MAX_NAMES)}{instead}: check that config.json and the model class are this file's"
        )
    elif strict and unused:
        faults.append(
            f"it has {listed(unused, MAX_NAMES)}, for which the model has no place: check that config.json and "
            "the model class are this file's, or pass strict=False to do without"
        )
    if wrong and not ignore_mismatched_sizes:
        faults.append(f"{listed(_shapes(wrong), MAX_NAMES)}: to begin these anew, pass ignore_mismatched_sizes=True")
    if faults:
        raise ValueError(f"{source} does not fit the model: {'; '.join(faults)}")
    transposed = [name for name, stored in loaded.items() if layout.transposed(stored)]
    return LoadReport(loaded, missing, unused, wrong, transposed, dict(tied), not_needed)


def _shapes(wrong):
    return [f"{name} is {theirs} in the file, {ours} in the model" for name, (theirs, ours) in wrong.items()]


def listed(names, limit=3):
    """The names as text, those that differ in one number merged, `layer.{0..5}.bias`, those over `limit` counted."""
    numbers = {}
    for name in names:
        before, number, after = (*re.split(r"\b(\d{1,9})\b", name, maxsplit=1), "", "")[:3]
        numbers.setdefault((before, after), []).append(number)
    grouped = [before + _span(found) + after for (before, after), found in numbers.items()]
    rest = f", … and {len(grouped) - limit} more" if len(grouped) > limit else ""
    return ", ".join(name if len(name) <= MAX_LETTERS else f"{name[:MAX_LETTERS]}…" for name in grouped[:limit]) + rest


def _span(found):
    if len(found) == 1:
        return found[0]
    whole = sorted(map(int, found))
    is_run = whole == list(range(whole[0], whole[-1] + 1))
    return f"{{{whole[0]}..{whole[-1]}}}" if is_run else f"{{{','.join(map(str, whole))}}}"
