"""Tasks, one file each: what it reads, how it encodes that, which model it needs, how it scores it, what it answers.

The names are those of transformers' pipelines.  `base.py` says what a task consists of.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from ..pretrained.checkpoint.files import read_config
from ..pretrained.values import shown
from .base import Task

# name -> file.Class; a task's file is imported when it is first needed
TASKS = {"text-classification": "text_classification.TextClassification"}
ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}


def task_class(name: str) -> type[Task]:
    """The class of a task.  Raises ValueError for a name that is none, with the nearest one."""
    name = ALIASES.get(name, name)
    if name not in TASKS:
        near = "".join(f"; did you mean {one!r}?" for one in get_close_matches(str(name), [*TASKS, *ALIASES], 1))
        raise ValueError(f"task is {name!r}; expected one of {', '.join(map(repr, TASKS))}{near}")
    file, _, kind = TASKS[name].partition(".")
    return getattr(import_module(f".{file}", __name__), kind)


def task_of(source: str | os.PathLike) -> type[Task]:
    """The class of the task that a model directory was fine-tuned for, by the `architectures` in its config.json.

    Raises FileNotFoundError or ValueError if there is no such directory, or it is for no task.
    """
    named: Any = read_config(source).get("architectures") or []
    for one in TASKS:
        kinds = {path.partition(".")[2] for path in task_class(one).model_class.families.values()}
        if isinstance(named, list) and not kinds.isdisjoint(map(str, named)):
            return task_class(one)
    raise ValueError(
        f"{source} holds a model of the kind {shown(named)}, which is for no task; expected a model that was "
        f"fine-tuned for one of {', '.join(TASKS)}: type minigrad finetune {source} --train FILE --output DIR"
    )
