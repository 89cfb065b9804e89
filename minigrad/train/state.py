"""The progress of a training run, which callbacks read, and the flags by which they steer it; Hugging Face's names."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

Record = dict[str, Any]


@dataclass
class TrainerState:
    """The progress of a run and its records.

    `log_history` lists all records, dicts with epoch and step, in order.
    """

    epoch: float = 0.0
    global_step: int = 0
    max_steps: int = 0
    num_train_epochs: int = 0
    logging_steps: int = 500
    eval_steps: int = 500
    save_steps: int = 500
    train_batch_size: int = 0  # of a micro-batch, which auto_find_batch_size may halve
    log_history: list[Record] = field(default_factory=list)
    best_metric: float | None = None
    best_global_step: int | None = None
    best_model_checkpoint: str | None = None
    is_world_process_zero: bool = True
    is_local_process_zero: bool = True
    run_id: str = ""  # the same for all checkpoints of a run

    def to_dict(self) -> dict[str, Any]:
        """All fields, as a checkpoint keeps them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entries: dict[str, Any]) -> TrainerState:
        """The state that `to_dict` returned; unknown entries are ignored."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in entries.items() if name in known})

    def save_to_json(self, path: str | Path) -> None:
        """Write it as Hugging Face's `trainer_state.json`."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load_from_json(cls, path: str | Path) -> TrainerState:
        """Read what `save_to_json` wrote."""
        return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))


@dataclass
class TrainerControl:
    """What the Trainer does next.  A callback sets a flag; the Trainer acts on it and clears it."""

    should_training_stop: bool = False
    should_epoch_stop: bool = False
    should_save: bool = False
    should_evaluate: bool = False
    should_log: bool = False
