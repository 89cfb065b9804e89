"""Where the records of a run may go beside the screen: TensorBoard, Weights & Biases, and a page of statistics."""
from __future__ import annotations

from typing import Any

from .arguments import TrainingArguments
from .callbacks import JSONLinesCallback


def trackers(args: TrainingArguments) -> list[Any]:
    """The callbacks that `report_to` names."""
    known = {"jsonl": JSONLinesCallback}
    return [known[name]() for name in args.report_to]
