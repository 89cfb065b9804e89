"""The base of configurations: checked entries, consistent labels, and reading and writing config.json."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from .checkpoint.files import read_config
from .values import check, shown

LABELS = ("num_labels", "id2label", "label2id")
PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")


@dataclass
class Config:
    """The entries of config.json that the model reads, as attributes; `rest` keeps the others, so that none is lost."""

    model_type: ClassVar[str]
    num_labels: int | None = None  # the length of id2label, or 2
    id2label: dict[int, str] | None = None  # LABEL_0, LABEL_1, … by default
    label2id: dict[str, int] | None = None  # the inverse of id2label
    problem_type: str | None = None
    rest: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        """Check every entry against its annotation, such as "int | None"; families add checks of their own.

        The ranges of numbers are in values.py; a token id of -1 means that there is none.  Raises a ValueError that
        names the entry.
        """
        for f in fields(self):
            if f.name.endswith("_token_id") and "None" in str(f.type) and getattr(self, f.name) == -1:
                setattr(self, f.name, None)
            if f.name not in ("id2label", "label2id"):
                check(f.name, getattr(self, f.name), f.type.__name__ if isinstance(f.type, type) else str(f.type))
        pad, words = getattr(self, "pad_token_id", None), getattr(self, "vocab_size", None)
        if pad is not None and words is not None and pad >= words:
            raise ValueError(
                f"pad_token_id is {pad} in the configuration; expected an id below vocab_size, which is {words}"
            )
        self.set_labels(self.num_labels, self.id2label, self.label2id)
        if self.problem_type not in (None, *PROBLEMS):
            raise ValueError(
                f"problem_type {self.problem_type!r} is not known: use "
                f"{', '.join(map(repr, PROBLEMS[:-1]))} or {PROBLEMS[-1]!r}"
            )
        if self.problem_type == "single_label_classification" and self.num_labels == 1:
            raise ValueError(
                'problem_type "single_label_classification" with num_labels=1 chooses among one class: '
                'give num_labels=2 or more, or problem_type="regression" for a number'
            )

    def set_labels(
        self,
        num_labels: int | None = None,
        id2label: Mapping[int, str] | Sequence[str] | None = None,
        label2id: Mapping[str, int] | None = None,
    ) -> None:
        """Set the number of labels and their names from any one of the three arguments.

        Raises ValueError if two of them contradict each other, or the names are not numbered 0, 1, 2, ….
        """
        names = _numbered(id2label, "id2label")
        if label2id:
            given = _numbered({i: name for name, i in dict(label2id).items()}, "label2id")
            if names and given != names:
                raise ValueError(
                    f"label2id is {shown(label2id)} but id2label is {shown(id2label)}: give one of the two"
                )
            names = given
        if names and num_labels not in (None, len(names)):
            raise ValueError(
                f"num_labels={num_labels} but there are {len(names)} names, "
                f"{', '.join([*names.values()][:20])}: give one of the two"
            )
        names = names or {i: f"LABEL_{i}" for i in range(2 if num_labels is None else num_labels)}
        vars(self).update(num_labels=len(names), id2label=names, label2id={name: i for i, name in names.items()})

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an entry; any of the three entries about labels sets the other two."""
        if name not in LABELS or "rest" not in vars(self):
            super().__setattr__(name, value)
        elif name != "num_labels" or value != self.num_labels:
            self.set_labels(**{name: value})

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any], **changes: Any) -> Self:
        """A configuration from the entries of config.json; `changes` win; a new number of labels drops the names."""
        known = {f.name: "None" in str(f.type) for f in fields(cls) if f.name != "rest"}
        if unknown := changes.keys() - known.keys() - entries.keys():
            raise TypeError(
                f"{cls.__name__} has no entry {', '.join(sorted(unknown))}: it has {', '.join(sorted(known))}"
            )
        labels = {name: changes.get(name) for name in LABELS}
        # take the file's; names win over their number
        if all(value is None for value in labels.values()):
            labels["id2label"] = entries.get("id2label") or None
            if not isinstance(labels["id2label"], (Mapping, type(None))):
                raise ValueError(_UNNUMBERED.format("id2label", shown(labels["id2label"])))
            for name in ("num_labels", "label2id") if labels["id2label"] is None else ():
                labels[name] = entries.get(name)
        elif labels["id2label"] is labels["label2id"] is None and labels["num_labels"] == len(
            entries.get("id2label") or ()
        ):
            labels["id2label"] = entries["id2label"]
        # A null means the default.
        entries = {
            name: value
            for name, value in {**entries, **changes, **labels}.items()
            if value is not None or known.get(name, True)
        }
        return cls(
            **{name: value for name, value in entries.items() if name in known},
            rest={name: value for name, value in entries.items() if name not in known},
        )

    def to_dict(self) -> dict[str, Any]:
        """The entries of config.json."""
        own = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("rest", "num_labels") and (getattr(self, f.name), f.default) != (None, None)
        }
        names = {str(i): name for i, name in (self.id2label or {}).items()}
        return {
            **self.rest,
            **own,
            "model_type": self.model_type,
            "id2label": names,
            "label2id": {name: int(i) for i, name in names.items()},
        }

    @property
    def label_count(self) -> int:
        """The number of labels, known since the configuration was made."""
        return self.num_labels or 0

    @property
    def longest(self) -> int | None:
        """The maximum number of tokens that the model reads; None without a limit."""
        return None


_UNNUMBERED = '{} is {} in the configuration; expected names by number, such as {{"0": "no", "1": "yes"}}'


def _numbered(names: Any, entry: str) -> dict[int, str]:
    """{0: name, 1: name, …} of a mapping or a list of names; {} for none."""
    if isinstance(names, (list, tuple)):
        names = dict(enumerate(names))
    try:
        numbered = {int(i): str(name) for i, name in (names or {}).items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(_UNNUMBERED.format(entry, shown(names))) from None
    if sorted(numbered) != list(range(len(names or ()))):
        raise ValueError(
            f"{entry} numbers the labels {', '.join(map(str, sorted(numbered)[:20]))}, but the scores of "
            f"a model are numbered 0 … {len(names) - 1}: give such numbers, as in "
            f"id2label={shown(dict(enumerate(numbered.values())))}"
        )
    return dict(sorted(numbered.items()))


def entries_of(
    source: str | os.PathLike,
    config: Config | Mapping[str, Any] | None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Mapping[str, Any]:
    """The entries of the configuration or, if it is None, of the config.json at the source."""
    if config is None:
        return read_config(source, revision, local_files_only)
    if not isinstance(config, (Config, Mapping)):
        raise TypeError(
            f"config is {config!r}: give a configuration, such as that of AutoConfig.from_pretrained(...), or a dict"
        )
    return config.to_dict() if isinstance(config, Config) else config
