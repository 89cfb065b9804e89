"""Callbacks, which watch and steer a training run, with the events and control flags of Hugging Face's."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable
from inspect import isclass
from pathlib import Path
from typing import Any

from ..pretrained.checkpoint.files import replacing
from .arguments import TrainingArguments
from .state import Record, TrainerControl, TrainerState

EVENTS = (
    "on_init_end",
    "on_train_begin",
    "on_train_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_step_begin",
    "on_pre_optimizer_step",
    "on_optimizer_step",
    "on_substep_end",
    "on_step_end",
    "on_evaluate",
    "on_predict",
    "on_save",
    "on_log",
    "on_prediction_step",
)


class TrainerCallback:
    """Override the events you need: `on_step_end`, `on_evaluate`, `on_save`, `on_log` and Hugging Face's others.

    Each is called as event(args, state, control, **more); `more` holds `model`, `optimizer`, `lr_scheduler`,
    `train_dataloader`, `processing_class`, and `metrics` (on_evaluate, on_predict) or `logs` (on_log).  A callback sets
    flags of `control`, or returns a new `TrainerControl`.  The value of `state_dict`, which must be JSON, is saved in
    checkpoints and passed to `load_state_dict` when the run is resumed.

    A callback that only reports the run, on the screen or in a file, has `reports = True` and runs on rank 0 alone.
    """

    reports = False

    def state_dict(self) -> dict[str, Any]:
        """The state of this callback that a resumed run needs."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        vars(self).update(state_dict)


def _nothing(
    self: TrainerCallback, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
) -> None:
    """Called at this event; does nothing unless overridden."""


for _event in EVENTS:
    setattr(TrainerCallback, _event, _nothing)


class CallbackHandler(TrainerCallback):
    """Calls the callbacks of a run in order.  An event that none of them overrides costs nothing.

    If `reports` is False, as on all ranks but one, callbacks that only report the run are left out.
    """

    def __init__(self, callbacks: Iterable[Any], reports: bool = True):
        self.callbacks: list[TrainerCallback] = []
        self.reports = reports
        for callback in callbacks:
            self.add(callback)

    def add(self, callback: Any) -> None:
        """Add a callback, a callback class, or a function of a record.  Raises TypeError for anything else."""
        callback = callback() if isclass(callback) else callback
        if not hasattr(callback, "on_step_end"):
            if not callable(callback):
                raise TypeError(f"a callback is a {type(callback).__name__}; expected a TrainerCallback or a function")
            callback = RecordCallback(callback)
        if self.reports or not getattr(callback, "reports", False):
            self.callbacks.append(callback)

    def listening(self, event: str) -> list[Callable]:
        """The callbacks' methods that override that event."""
        methods = (getattr(callback, event, None) for callback in self.callbacks)
        return [method for method in methods if method and getattr(method, "__func__", None) is not _nothing]

    def call(
        self, event: str, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        """Call all callbacks for an event, and return the flags as they leave them."""
        for method in self.listening(event):
            control = method(args, state, control, **more) or control
        return control


class RecordCallback(TrainerCallback):
    """Calls a function with every record as it is made."""

    reports = True

    def __init__(self, function: Callable[[Record], Any]):
        self.function = function

    def on_log(self, args, state, control, logs, **more):
        self.function(logs)


class DefaultFlowCallback(TrainerCallback):
    """Sets the flags according to the strategies in the arguments: when to log, evaluate, save and stop."""

    def on_step_end(self, args, state, control, **more):
        step = state.global_step
        if (
            args.logging_strategy == "steps"
            and step % state.logging_steps == 0
            or args.logging_first_step
            and step == 1
        ):
            control.should_log = True
        if args.eval_strategy == "steps" and step % state.eval_steps == 0 and step >= args.eval_delay:
            control.should_evaluate = True
        if args.save_strategy == "steps" and step % state.save_steps == 0:
            control.should_save = True
        if step >= state.max_steps:
            control.should_training_stop = True
            control.should_save |= args.save_strategy == "steps"

    def on_epoch_end(self, args, state, control, **more):
        control.should_log |= args.logging_strategy == "epoch"
        control.should_evaluate |= args.eval_strategy == "epoch" and state.epoch >= args.eval_delay
        control.should_save |= args.save_strategy == "epoch"


class PlanCallback(TrainerCallback):
    """Applies the plan's state at each step, logs what it changes, and requests the actions that are due."""

    def on_step_begin(self, args, state, control, trainer, **more):
        plan, step = trainer.bound, state.global_step
        now = plan.state(step)
        plan.apply(now, trainer.optimizer)
        if changed := plan.changes(step):
            trainer.log({"plan": changed})

    def on_train_begin(self, args, state, control, trainer, **more):
        size = trainer.bound.state(state.global_step).batch_size  # of the next batch
        trainer.loader.batch_size = size or trainer.step_size

    def on_step_end(self, args, state, control, trainer, **more):
        self.on_train_begin(args, state, control, trainer)
        due = trainer.bound.state(state.global_step).due
        control.should_evaluate |= "evaluate" in due
        control.should_save |= "save" in due
        control.should_log |= "log" in due

    def state_dict(self):
        return {}


class ProgressCallback(TrainerCallback):
    """A progress bar with the newest loss; it is updated rarely in a log file, where each update adds a line."""

    reports = True
    bar = None

    def on_train_begin(self, args, state, control, **more):
        self.bar = progress(state.max_steps, "train", "steps")
        self.bar.update(state.global_step)

    def on_step_end(self, args, state, control, **more):
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args, state, control, logs, **more):
        if self.bar is not None:
            self.bar.set_postfix(
                {name: f"{logs[name]:.3f}" for name in ("loss", "accuracy", "eval_loss") if name in logs}, refresh=False
            )

    def on_train_end(self, args, state, control, **more):
        if self.bar is not None:
            self.bar.close()
        self.bar = None

    def state_dict(self):
        return {}


class EarlyStoppingCallback(TrainerCallback):
    """Stop when `metric_for_best_model` has not improved for `early_stopping_patience` evaluations in a row.

    An improvement is a change of more than `early_stopping_threshold` from the best value so far.

    Raises ValueError when training begins, if the arguments name no metric or no evaluation.
    """

    def __init__(self, early_stopping_patience: int = 1, early_stopping_threshold: float = 0.0):
        self.early_stopping_patience, self.early_stopping_threshold = early_stopping_patience, early_stopping_threshold
        self.best: float | None = None
        self.early_stopping_patience_counter = 0

    def on_train_begin(self, args, state, control, **more):
        if args.metric_for_best_model is None or args.eval_strategy == "no":
            raise ValueError(
                'EarlyStoppingCallback needs a metric to watch: give TrainingArguments eval_strategy="epoch" and '
                'metric_for_best_model="loss", for example'
            )
        if state.global_step == 0:
            self.best, self.early_stopping_patience_counter = None, 0
        elif self.early_stopping_patience_counter:
            self.stop(control)  # the run is resumed from the checkpoint at which it stopped

    def on_evaluate(self, args, state, control, metrics, **more):
        name = f"eval_{args.metric_for_best_model}"
        if name not in metrics:
            raise ValueError(f"EarlyStoppingCallback watches {name}, but the evaluation has {', '.join(metrics)}")
        sign = 1 if args.greater_is_better else -1
        value = sign * metrics[name]
        if self.best is None or value > self.best and value - self.best > self.early_stopping_threshold:
            self.early_stopping_patience_counter = 0
        else:
            self.early_stopping_patience_counter += 1
        if not math.isnan(value):
            self.best = value if self.best is None else max(self.best, value)
        self.stop(control)

    def stop(self, control: TrainerControl) -> None:
        """End the run if there was no improvement for `early_stopping_patience` evaluations."""
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True

    def state_dict(self):
        return {"best": self.best, "early_stopping_patience_counter": self.early_stopping_patience_counter}


class JSONLinesCallback(TrainerCallback):
    """Writes `metrics.jsonl` in the output directory: all records of the run, one per line, also of a resumed run."""

    reports = True

    def __init__(self, name: str = "metrics.jsonl"):
        self.name = name

    def write(self, args, state, control, **more):
        """Write all records so far, replacing the file."""
        lines = [json.dumps(record) + "\n" for record in state.log_history]
        with replacing(Path(args.output_dir) / self.name) as (part,):
            part.write_text("".join(lines), encoding="utf-8")

    on_evaluate = on_save = on_train_end = write

    def state_dict(self):
        return {}


def progress(total: int, title: str, unit: str = "items") -> Any:
    """A progress bar; it is updated rarely in a log file, where each update adds a line."""
    from tqdm import tqdm

    live = sys.stderr.isatty()
    return tqdm(
        total=total, desc=title, unit=f" {unit}", leave=False, delay=1, ascii=not live, mininterval=0.1 if live else 10
    )
