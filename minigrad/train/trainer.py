"""The training loop: loss, gradients and optimiser step, and the records, evaluations and checkpoints in between."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..amp import GradScaler
from ..backend import dtype_named
from ..data import DataLoader, Dataset, Sampler
from ..data.passes import own_generators
from ..distributed import GradientReducer, world
from ..nn import Module
from ..optim import Optimizer, clip_grad_norm_
from ..pretrained import PretrainedModel
from ..schedule import LRScheduler, ReduceLROnPlateau
from ..tensor import Tensor
from . import ranks, run
from .arguments import TrainingArguments
from .batches import agreed_collator
from .callbacks import CallbackHandler, DefaultFlowCallback, PlanCallback, ProgressCallback
from .evaluation import EvalPrediction, speeds
from .evaluator import Evaluator
from .interruption import Interruption
from .notebook import NotebookProgressCallback, in_notebook
from .plan import Plan
from .progress import Progress
from .rates import LearningRates, find
from .recomputing import recompute_layers
from .search import BestRun, new_model, search
from .state import Record, TrainerControl, TrainerState
from .trackers import trackers


class TrainOutput(NamedTuple):
    """The result of `Trainer.train`, as in Hugging Face's."""

    global_step: int
    training_loss: float
    metrics: dict[str, float]


class Trainer(Evaluator):
    """Trains any Module that returns a loss, saves checkpoints, and resumes from them as if it had never stopped.

    Args:
        model: a Module that is called with the entries of a batch by name (those of a tuple by position) and returns
            `loss`, the mean over the labels that are not ignored, and `logits`: as attributes, a dict, or a tuple.
        args: the training arguments; by default `TrainingArguments()`.
        train_dataset, eval_dataset: datasets of dicts with a `label` (a class number, a float, a vector, or a class
            number for each token), of tuples of arrays, the last of which is the label, or of arrays; `eval_dataset`
            may be a dict of datasets.
        data_collator: a function that makes a batch from a list of items; by default dicts are padded by a
            `DataCollatorWithPadding` with the tokenizer's padding token and side, or else with the model's own token,
            and tuples and arrays are stacked.
        processing_class (or tokenizer): saved with the model, so that the directory is complete.
        compute_metrics: a function that makes a dict of scores from an `EvalPrediction` (predictions, label_ids).
            Without it, if labels are classes, the scores are accuracy, macro-F1 and the confusion matrix.
        callbacks: `TrainerCallback`s, classes of them, or functions that are called with every record as it is made.
        optimizers: (optimizer, schedule) to use instead of those that `args` name; either may be None.
        preprocess_logits_for_metrics: a function of (logits, labels) that returns what to keep for `compute_metrics`.
        loss_fn: the loss of a model that returns none: loss_fn(the model's output for a batch without its labels,
            labels), a mean over the labels or, if it takes `num_items_in_batch`, a sum divided by that number.
        model_init: a function that makes the model, if none is given, and the model of each trial of a
            `hyperparameter_search`: model_init(), or model_init(trial), where trial is None for the first model.
        plan: a `Plan` of the run, with the steps at which the learning rate, the frozen parameters and the model's
            settings change.

    `state.log_history`, or `history` for short, lists the records, and `best` is that of the best evaluation.  A record
    of steps has loss, accuracy (if labels are classes), learning_rate, grad_norm, epoch and step; loss and accuracy are
    means over the steps since the previous record.  With fp16 it also has `loss_scale`, and its `grad_norm` is None if
    the gradients overflowed and the step was skipped.  An evaluation during training also reports `train_loss` and
    `train_accuracy`, the means over the epoch so far.

    On a GPU the numbers that steps report stay on the device until a step is logged or an epoch ends, and are then
    copied to the host together; no other step waits for the GPU.  (With fp16 every step copies once: see
    `GradScaler.step`.)

    Raises:
        TypeError: the model is not a Module.
        ValueError: a dataset is empty, or its items do not match the model.
    """

    def __init__(
        self,
        model: Module | None = None,
        args: TrainingArguments | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | dict[str, Dataset] | None = None,
        data_collator: Callable[[list], Any] | None = None,
        processing_class: Any = None,
        compute_metrics: Callable[[EvalPrediction], dict] | None = None,
        callbacks: Sequence[Any] | None = None,
        optimizers: tuple[Optimizer | None, LRScheduler | None] = (None, None),
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None = None,
        *,
        tokenizer: Any = None,
        loss_fn: Callable[..., Tensor] | None = None,
        plan: Plan | None = None,
        model_init: Callable[..., Module] | None = None,
    ):
        if model is None and model_init is not None:
            model = new_model(model_init)
        if not isinstance(model, Module):
            raise TypeError(
                f"model is a {type(model).__name__}; expected a Module, such as a model of minigrad.pretrained"
            )
        if isinstance(model, PretrainedModel):
            model.update_config()  # in case a head was replaced; raises if the model could not be loaded again
        self.args = args = TrainingArguments() if args is None else args
        self.model, self.train_dataset, self.eval_dataset = model, train_dataset, eval_dataset
        self.processing_class = tokenizer if processing_class is None else processing_class
        self.compute_metrics, self.preprocess_logits = compute_metrics, preprocess_logits_for_metrics
        if loss_fn is not None and args.label_smoothing_factor:
            raise ValueError(
                f"label_smoothing_factor is {args.label_smoothing_factor:g}, which is for a model's own loss, not for "
                "loss_fn: set it to 0, and smooth in loss_fn, for example with cross_entropy(..., label_smoothing=0.1)"
            )
        self.loss_fn, self.plan, self.given, self.model_init = loss_fn, plan, optimizers, model_init
        self.data_collator = self.collator = agreed_collator(model, self.processing_class, data_collator)
        self.optimizer, self.lr_scheduler = optimizers
        self.scaler = GradScaler(enabled=args.fp16)
        self.state, self.control = TrainerState(), TrainerControl()
        self.progress, self.world = Progress(), world()
        self.handler = CallbackHandler(
            [
                DefaultFlowCallback,
                *([] if args.disable_tqdm else [NotebookProgressCallback if in_notebook() else ProgressCallback]),
                *trackers(args),
                *(callbacks or ()),
            ],
            reports=self.world.rank == 0,
        )
        self.is_training = False
        if plan is not None:
            if not isinstance(plan, Plan):
                raise TypeError(f"plan is a {type(plan).__name__}; expected a minigrad.train.Plan")
            self.handler.callbacks.insert(1, PlanCallback())
        self.check_datasets()
        self.event("on_init_end")

    @property
    def tokenizer(self) -> Any:
        """`processing_class` under its older name."""
        return self.processing_class

    @property
    def best(self) -> Record | None:
        """The record of the best evaluation by `metric_for_best_model`; None if there is none."""
        return next(
            (record for record in self.history if record.get("best") and record["step"] == self.state.best_global_step),
            None,
        )

    @property
    def step(self) -> int:
        """The number of steps made, `state.global_step`."""
        return self.state.global_step

    @property
    def steps(self) -> int:
        """The number of steps of the whole run, `state.max_steps`."""
        return self.state.max_steps

    def add_callback(self, callback: Any) -> None:
        """Add a callback, a callback class, or a function of a record."""
        self.handler.add(callback)

    # The run.

    def train(self, resume_from_checkpoint: bool | str | os.PathLike | None = None) -> TrainOutput:
        """Train, from the beginning or from a checkpoint.

        All random numbers, including those of dropout, depend on `args.seed`.  After Ctrl-C or SIGTERM the step is
        finished, a checkpoint is saved, and KeyboardInterrupt or SystemExit is raised with a message that says how to
        resume.

        Args:
            resume_from_checkpoint: the directory of a checkpoint, or True for the newest complete one in
                `args.output_dir`.

        Returns:
            The number of steps, the mean training loss, and the metrics of the run.

        Raises:
            ValueError: no parameter is left to train, the gradients are not finite, or there is no checkpoint to resume
                from, or that of another model or other arguments; in the last case nothing is changed.
            OSError: a checkpoint cannot be written.  Earlier ones are kept.

        Gradients that are not finite never reach the weights, except on a GPU in a step that is not logged: there the
        error is raised at the next logged step or at the end of the epoch, before a model is saved.
        """
        self.first_batch("train_dataset", self.train_dataset)
        source = run.source(self, resume_from_checkpoint)
        run.begin(self, source)
        start, done = time.perf_counter(), self.state.global_step
        self.is_training = True
        try:
            with Interruption() as interruption, recompute_layers(self.model, self.args.gradient_checkpointing):
                self.run_epochs(interruption)
            self.is_training = False
            return self.finish(time.perf_counter() - start, self.state.global_step - done)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(str(stop) or run.interrupted(self)) from None
        finally:
            self.is_training = False
            for callback in self.handler.callbacks:
                getattr(callback, "close", lambda: None)()

    def run_epochs(self, interruption: Interruption) -> None:
        """Make all remaining steps."""
        self.event("on_train_begin")
        interruption.signal = ranks.agree(self.world, self.control, interruption.signal)
        if self.args.eval_on_start and not self.state.global_step:
            self.evaluate()
        while self.loader.position or not self.is_over():
            if not self.loader.position:
                self.control.should_epoch_stop = False
                self.progress.begin_epoch()
                self.event("on_epoch_begin")
            self.train_epoch(interruption)
            if self.interrupted_in(interruption):
                return
        self.event("on_train_end")

    def interrupted_in(self, interruption: Interruption) -> bool:
        """Whether a signal was received; if so, save a checkpoint and end the run."""
        if interruption.signal is None:
            return False
        where = self.save_checkpoint()
        interruption.stop(
            f"interrupted at step {self.step} of {self.steps}; saved in {where}: to resume, type "
            "trainer.train(resume_from_checkpoint=True)"
        )
        return True

    def train_epoch(self, interruption: Interruption) -> None:
        """The rest of a pass over the training examples."""
        self.model.train()
        if not self.is_over() and not self.control.should_epoch_stop:
            for items in self.loader:
                self.take_step(items)
                interruption.signal = ranks.agree(self.world, self.control, interruption.signal)
                self.act()
                self.model.train()
                if interruption.signal is not None:
                    return  # in the middle of the epoch; the checkpoint stores the position in it
                if self.control.should_epoch_stop or self.is_over():
                    break
        self.loader.end_pass()
        self.event("on_epoch_end")
        interruption.signal = ranks.agree(self.world, self.control, interruption.signal)
        self.act()

    def is_over(self) -> bool:
        """Whether no more steps are to be made."""
        return self.state.global_step >= self.state.max_steps or self.control.should_training_stop

    def take_step(self, items: list) -> None:
        """Make one optimiser step on these items, and store the numbers that it reports."""
        args, state, fp16 = self.args, self.state, self.args.fp16
        self.event("on_step_begin")
        home = self.progress.home
        self.reduce_trained()
        *means, count = self.gradients(items)
        self.event("on_pre_optimizer_step")
        finite = self.scaler.unscale_(self.optimizer)
        limit, checked = args.max_grad_norm or math.inf, home.synchronous and not fp16
        if args.zero_stage == 2 and self.world.size > 1:
            finite = ranks.everywhere(self.world, finite)
            norm = ranks.clip_shared(self.world, self.model.parameters(), limit, checked)
        else:
            norm = clip_grad_norm_(self.model.parameters(), limit, error_if_nonfinite=checked)
        self.progress.write(count, *means, norm, finite)
        taken = True
        if fp16 or self.must_read():
            taken = bool(self.progress.read(fp16)) or not fp16
        self.progress.rate, self.progress.scale = self.optimizer.param_groups[0]["lr"], self.scaler.get_scale()
        self.progress.taken = taken
        if self.shards is not None:
            self.shards.drop_gradients()
        self.scaler.step(self.optimizer, taken)
        if self.shards is not None:
            self.shards.share_parameters()
        self.event("on_optimizer_step")
        self.optimizer.zero_grad()  # before the next forward pass, so that the two never coexist
        self.scaler.update()
        if taken:
            if not isinstance(self.lr_scheduler, ReduceLROnPlateau):
                self.lr_scheduler.step()
            if self.ema is not None:
                self.ema.update()
        state.global_step += 1
        state.epoch = self.loader.epoch - 1 + self.loader.done()
        self.event("on_step_end")

    def reduce_trained(self) -> None:
        """Arrange for the gradients of the parameters that are trained now to be summed over all ranks."""
        if self.world.size == 1:
            return
        trained = [p for p in self.model.parameters() if p.requires_grad]
        if self.reducer is None or [id(p) for p in trained] != [id(p) for p in self.reducer.params]:
            owner_of = self.shards.owner_of if self.shards is not None and self.args.zero_stage == 2 else None
            dtype = None if self.args.reduce_dtype is None else dtype_named(self.args.reduce_dtype)
            self.reducer = GradientReducer(trained, self.world, owner_of, dtype)

    def must_read(self) -> bool:
        """Whether to read the reported numbers before the update: at logged steps, and at the last one of an epoch."""
        step, args = self.state.global_step + 1, self.args
        logged = args.logging_strategy == "steps" and step % self.state.logging_steps == 0
        logged |= args.logging_first_step and step == 1
        return (
            logged
            or self.loader.position == self.loader.given
            or step == self.state.max_steps
            or self.progress.is_full()
        )

    def act(self) -> None:
        """Act on the flags, in this order: a record, an evaluation, a checkpoint."""
        control = self.control
        if control.should_log or control.should_evaluate or control.should_save:
            self.progress.read(self.args.fp16)
        if control.should_log and (told := self.progress.record(self.args.fp16)):
            self.log(told)
        if control.should_evaluate:
            self.loader.settle()  # the evaluation may draw from the same generators
            told = self.evaluate()
            if isinstance(self.lr_scheduler, ReduceLROnPlateau):
                self.lr_scheduler.step(told[f"eval_{self.args.metric_for_best_model or 'loss'}"])
        if (
            control.should_save
            or self.args.save_strategy == "best"
            and control.should_evaluate
            and (self.state.best_global_step == self.state.global_step)
        ):
            self.save_checkpoint()
            self.event("on_save")
        control.should_log = control.should_evaluate = control.should_save = False

    def save_model(self, output_dir: str | os.PathLike | None = None) -> None:
        """Save model and tokenizer; files are written completely before they replace older ones."""
        if self.world.rank == 0:
            with self.averaged():
                run.save_model(self.model, self.processing_class, Path(output_dir or self.args.output_dir))
        self.world.barrier()

    def save_checkpoint(self) -> Path:
        """Save the state of the run in `checkpoint-<step>`; return its path."""
        return run.save(self)

    def finish(self, seconds: float, steps: int) -> TrainOutput:
        """Load the best model, if `load_best_model_at_end` is set, and log the metrics of the run."""
        self.model.eval()
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint:
            best = Path(self.args.output_dir) / Path(self.state.best_model_checkpoint).name
            run.load_weights(self, best if best.exists() else Path(self.state.best_model_checkpoint))
        elif self.ema is not None:
            run.hold_averages(self)
        loss = self.progress.training_loss()
        told = {**speeds(seconds, steps * self.step_size, steps, "train"), "train_loss": loss}
        self.log(told)
        return TrainOutput(self.state.global_step, loss, told)

    def hyperparameter_search(
        self,
        hp_space: Callable[[Any], dict[str, Any]] | None = None,
        compute_objective: Callable[[dict[str, float]], float] | None = None,
        n_trials: int = 20,
        direction: str | None = None,
        backend: str | None = None,
        hp_name: Callable[[Any], str] | None = None,
        *,
        storage: Any = None,
        study_name: str | None = None,
        sampler: Any = None,
        pruner: Any = None,
        timeout: float | None = None,
    ) -> BestRun:
        """Train repeatedly with other arguments, each time from the present weights, and return the best trial.

        The trials are kept in `search.db` in the output directory, so an interrupted search is resumed by the same
        call with the same `hp_space`; each trial trains in `run-<number>` beside it.  The model is left unchanged: to
        use the result, train with `dataclasses.replace(args, **best.hyperparameters)`.

        Args:
            hp_space: a function from an Optuna trial to a dict of `TrainingArguments`, such as lambda trial:
                {"learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-3, log=True)}; by default Hugging
                Face's space of learning rate, epochs, seed and batch size.
            compute_objective: a function from the metrics of an evaluation to the number to compare; by default
                `metric_for_best_model` if that is set, otherwise `eval_loss`, or with direction="maximize" the sum of
                the scores.
            n_trials: the number of trials, including those of earlier calls.
            direction: "minimize" or "maximize"; by default the one that suits the default objective, otherwise
                "minimize".  It must not be the opposite of the direction in which `metric_for_best_model` improves.
            backend: "optuna", the only one.
            hp_name: a function from a trial to its `run_name`.
            storage, study_name, sampler, pruner: as in `optuna.create_study`; by default an SQLite file, the run's
                name, and a TPE sampler seeded by the arguments.  The pruner ends a trial early if its evaluations
                during training are worse than those of others, by default than the median of earlier trials.
            timeout: seconds after which no new trial begins.

        Returns:
            run_id, objective and hyperparameters of the best trial.  The hyperparameters are the arguments that
            `hp_space` returned and, with `model_init`, the values it suggested; `run_summary` has all trials as a
            `table()` and as a picture, `plot()`.

        Raises:
            ImportError: optuna is not installed.
            ValueError: there is no eval_dataset, the direction differs from that of the metric or of the study of that
                name, the study has trials of another hp_space, or no trial was completed.  A trial whose gradients are
                not finite counts as failed.
            TypeError: hp_space names an argument that does not exist.
        """
        if backend not in (None, "optuna"):
            raise ValueError(f'backend is {backend!r}; expected "optuna"')
        return search(
            self,
            hp_space,
            compute_objective,
            n_trials,
            direction,
            hp_name,
            storage,
            study_name,
            sampler,
            pruner,
            timeout,
        )

    def lr_find(
        self, min_lr: float = 1e-7, max_lr: float = 1.0, num_training: int = 100, early_stop_threshold: float = 4.0
    ) -> LearningRates:
        """Train for `num_training` steps at rates that rise from `min_lr` to `max_lr`, then restore the model.

        The suggestion is the rate at which the smoothed loss falls fastest (Smith 2017, section 3.3).  Use it as the
        highest rate of a schedule: trainer.args.learning_rate = trainer.lr_find().suggestion.  The test ends early when
        the smoothed loss exceeds `early_stop_threshold` times its minimum.

        Returns:
            `rates`, `losses`, `suggestion` (None if the loss never falls) and `plot()`.

        Raises:
            ValueError: the rates or the number of steps are out of range, or an optimiser was given.
        """
        return find(self, min_lr, max_lr, num_training, early_stop_threshold)

    def train_loader(self) -> DataLoader:
        """The training examples, in batches of a whole step."""
        args = self.args
        seed = args.seed if args.data_seed is None else args.data_seed
        sampler = self.train_sampler()
        lengths = run.lengths_of(self.train_dataset) if args.group_by_length and sampler is None else None
        return DataLoader(
            batch_size=self.step_size,
            shuffle=sampler is None,
            seed=seed,
            drop_last=args.dataloader_drop_last,
            lengths=lengths,
            num_workers=self.workers_for(self.train_dataset),
            sampler=sampler,
            **ranks.shared(self.train_dataset, args.per_device_train_batch_size, self.world),
        )

    def train_sampler(self) -> Sampler | None:
        """The sampler of an epoch's items; None for each of them once, in random order.  Override it to change that."""
        return None

    def workers_for(self, dataset: Any) -> int:
        """The number of threads that read items: 0 if items draw from a generator that the model or collator uses."""
        used = {id(generator) for generator in own_generators(self.model, self.data_collator)}
        shared = any(id(generator) in used for generator in own_generators(dataset))
        return 0 if shared else self.args.dataloader_num_workers
