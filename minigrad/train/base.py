"""What the parts of a Trainer share: its arguments, the state of the run, its records and its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..amp import GradScaler, autocast
from ..data import Dataset
from ..distributed import Communicator, GradientReducer, Shards
from ..nn import Module
from ..optim import EMA
from ..tensor import Tensor
from .arguments import TrainingArguments
from .callbacks import CallbackHandler
from .plan import BoundPlan, Plan
from .progress import Progress
from .state import Record, TrainerControl, TrainerState


class TrainerBase:
    """The attributes of a Trainer, and the methods that inform callbacks and keep the history."""

    model: Module
    args: TrainingArguments
    train_dataset: Any
    eval_dataset: Dataset | dict[str, Dataset] | None
    processing_class: Any
    data_collator: Callable[[list], Any]
    collator: Callable[[list], Any]  # the same, without the columns that the model cannot use
    compute_metrics: Callable[[Any], dict] | None
    preprocess_logits: Callable[[Any, Any], Any] | None
    loss_fn: Callable[..., Tensor] | None
    plan: Plan | None
    handler: CallbackHandler
    state: TrainerState
    control: TrainerControl
    progress: Progress
    scaler: GradScaler
    is_training: bool
    world: Communicator  # the ranks that train together
    reducer: GradientReducer | None = None  # sums the gradients of all ranks; None if there is one rank
    shards: Shards | None = None  # which rank updates which parameter; None if each updates all
    drawn: Sequence[Any] = ()  # the random generators of the model and the collator
    # These are set when `train` begins.
    optimizer: Any = None  # an Optimizer
    lr_scheduler: Any = None  # an LRScheduler
    loader: Any = None  # a DataLoader
    ema: EMA | None = None
    bound: BoundPlan | None = None  # the plan, bound to this run

    def event(self, name: str, **more: Any) -> None:
        """Call the callbacks' methods for an event."""
        self.control = self.handler.call(
            name,
            self.args,
            self.state,
            self.control,
            model=self.model,
            optimizer=self.optimizer,
            lr_scheduler=self.lr_scheduler,
            train_dataloader=self.loader,
            trainer=self,
            processing_class=self.processing_class,
            **more,
        )

    def log(self, told: Record, start_time: float | None = None) -> None:
        """Add epoch and step to a record, append it to the history, and pass it to the callbacks."""
        told.update(epoch=self.state.epoch, step=self.state.global_step)
        self.history.append(told)
        self.event("on_log", logs=told)

    @property
    def step_size(self) -> int:
        """The number of items of a step, on all ranks."""
        args = self.args
        return args.per_device_train_batch_size * args.gradient_accumulation_steps * self.world.size

    @property
    def history(self) -> list[Record]:
        """The records of the run, `state.log_history`."""
        return self.state.log_history

    def autocast(self) -> AbstractContextManager:
        """A context in which the model computes in the precision that the arguments ask for."""
        return autocast("float16" if self.args.fp16 else "bfloat16", enabled=self.args.fp16 or self.args.bf16)

    def averaged(self) -> AbstractContextManager:
        """A context in which the model holds the averages of its weights, if there are any."""
        return self.ema.applied() if self.ema is not None and self.ema.n_averaged else nullcontext()
