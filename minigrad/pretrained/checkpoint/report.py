"""The match of a checkpoint's weights with a model's, made before any is read, as a table with a verdict."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...patterns import matches
from .layout import Layout

Shapes = Mapping[str, tuple[int, ...]]
MOST = 6  # names in a list of what is wrong; of the others it says how many
LONGEST = 160  # characters of a name that are shown


@dataclass(frozen=True)
class LoadReport:
    """What became of each weight of the model, by our name, and which of the file's found no place."""

    loaded: dict[str, str]  # our name -> the file's
    newly_initialised: list[str]  # not in the file
    unused: list[str]  # only in the file, for no known reason
    # the file's shape, ours: initialised anew, too
    wrong_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    transposed: list[str] = field(default_factory=list)  # stored (in, out)
    tied: dict[str, str] = field(default_factory=dict)  # another name -> of which weight
    not_needed: dict[str, str] = field(default_factory=dict)  # only in the file -> why that is no loss
    prefix: str = ""  # stood before every name in the file: left out here

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
    """Match the weights of a file to those of a model by name and shape.

    The shapes are {name: shape}; `heads` are patterns of our names that may be absent from the file, and `tied` are the
    model's second names, {name: which weight it is}, for which the file may have either or both.  Raises one ValueError
    that tells which weights are missing or have no place, unless `strict` is False, and which shapes are wrong, unless
    `ignore_mismatched_sizes`.
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
            f"it lacks {listed(lost, MOST)}{instead}: check that config.json and the model class are this file's"
        )
    elif strict and unused:
        faults.append(
            f"it has {listed(unused, MOST)}, for which the model has no place: check that config.json and "
            "the model class are this file's, or pass strict=False to do without"
        )
    if wrong and not ignore_mismatched_sizes:
        faults.append(f"{listed(_shapes(wrong), MOST)}: to begin these anew, pass ignore_mismatched_sizes=True")
    if faults:
        raise ValueError(f"{source} does not fit the model: {'; '.join(faults)}")
    transposed = [name for name, stored in loaded.items() if layout.transposed(stored)]
    return LoadReport(loaded, missing, unused, wrong, transposed, dict(tied), not_needed)


def _shapes(wrong):
    return [f"{name} is {theirs} in the file, {ours} in the model" for name, (theirs, ours) in wrong.items()]


def listed(names, limit=3):
    """Names with those that differ in one number made one, `layer.{0..5}.bias`, and all beyond `limit` counted."""
    numbers = {}
    for name in names:
        before, number, after = (*re.split(r"\b(\d{1,9})\b", name, maxsplit=1), "", "")[:3]
        numbers.setdefault((before, after), []).append(number)
    grouped = [before + _span(found) + after for (before, after), found in numbers.items()]
    rest = f", … and {len(grouped) - limit} more" if len(grouped) > limit else ""
    return ", ".join(name if len(name) <= LONGEST else f"{name[:LONGEST]}…" for name in grouped[:limit]) + rest


def _span(found):
    if len(found) == 1:
        return found[0]
    whole = sorted(map(int, found))
    is_run = whole == list(range(whole[0], whole[-1] + 1))
    return f"{{{whole[0]}..{whole[-1]}}}" if is_run else f"{{{','.join(map(str, whole))}}}"
