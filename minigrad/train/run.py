"""The state of a run: how it is created anew, saved in checkpoints, and restored to resume."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import uuid
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .. import backend
from ..data.passes import drawing
from ..distributed import Shards
from ..finetune import PeftModel
from ..nn import Module
from ..optim import EMA
from ..places import warn
from ..pretrained import PretrainedModel
from ..pretrained.checkpoint import safetensors
from ..pretrained.checkpoint.files import SHARDS, replacing
from ..pretrained.text.tokenizer import FILES as TOKENIZER_FILES
from ..transforms import generators
from . import checkpoint, ranks
from .arguments import TrainingArguments
from .optimizers import (
    check_named_state,
    load_named_state,
    named_state,
    new_optimizer,
    new_schedule,
    trained_parameters,
)
from .progress import Progress
from .state import Record, TrainerState


def source(trainer: Any, given: Any) -> Path | None:
    """The checkpoint to resume from; None to begin anew.  Raises ValueError if it is missing or damaged."""
    given = trainer.args.resume_from_checkpoint if given is None else given
    out = Path(trainer.args.output_dir)
    if given is None or given is False:
        return None
    if given is True:
        if (found := checkpoint.latest_checkpoint(out)) is None:
            raise ValueError(
                f"there is no complete checkpoint in {out} to resume from: to begin anew, leave out "
                "resume_from_checkpoint"
            )
        return found
    if wrong := checkpoint.fault(Path(given), thorough=True):
        raise ValueError(
            f"{given} is not a complete checkpoint ({wrong}): give another one, or True for the newest complete one in "
            f"{out}"
        )
    return Path(given)


def begin(trainer: Any, source: Path | None) -> None:
    """Create the state of a run, anew or from a checkpoint.  If the checkpoint does not fit, nothing is changed.

    Raises ValueError if no step can be made, or the checkpoint or the plan does not fit, and RankError if the ranks do
    not have the same model, data and arguments.
    """
    args, world = trainer.args, trainer.world
    if world.size > 1 and args.auto_find_batch_size:
        raise ValueError(
            f"auto_find_batch_size=True with {world.size} ranks: each would find another size; leave it out, and set "
            "per_device_train_batch_size"
        )
    parameters = trained_parameters(trainer.model)
    half = world.size > 1 and args.reduce_dtype not in (None, "float32")
    if half and backend.of(parameters[0].data).collectives is None:
        raise ValueError(
            f"reduce_dtype is {args.reduce_dtype!r}, which MPI cannot sum: leave it out on {parameters[0].device}"
        )
    ranks.begin_together(world, trainer.model, arguments=args.to_dict(), train_dataset=trainer.train_dataset)
    loader = trainer.train_loader()
    if not len(loader):
        raise ValueError(
            f"dataloader_drop_last=True leaves out all {len(trainer.train_dataset)} items, fewer than one batch of "
            f"{loader.batch_size}: make batches smaller"
        )
    steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * len(loader))
    optimizer, schedule = trainer.given
    plan = None if trainer.plan is None else trainer.plan.bind(steps, len(loader), trainer.model)
    if plan is not None and "evaluate" in plan.actions() and trainer.eval_dataset is None:
        raise ValueError("the plan evaluates the model, but eval_dataset is None; expected a dataset")
    optimizer = new_optimizer(trainer.model, args, plan) if optimizer is None else optimizer
    schedule = new_schedule(optimizer, args, steps) if schedule is None else schedule
    replace_generators(trainer.model, lambda one, _: copy.deepcopy(one))  # so that none is that of mg.seed
    content = None if source is None else Content(source, trainer, optimizer, loader)
    trainer.optimizer, trainer.lr_scheduler, trainer.loader, trainer.bound = optimizer, schedule, loader, plan
    trainer.ema = None if args.ema_decay is None else EMA(averaged(trainer.model), args.ema_decay)
    state = TrainerState(run_id=uuid.uuid4().hex) if content is None else content.state
    state.is_world_process_zero = state.is_local_process_zero = world.rank == 0
    state.max_steps, state.num_train_epochs = steps, math.ceil(steps / len(loader))
    for what in ("logging", "eval", "save"):
        setattr(state, f"{what}_steps", args.every(what, steps))
    state.train_batch_size = state.train_batch_size or args.per_device_train_batch_size
    trainer.state, trainer.control = state, type(trainer.control)()
    trainer.progress = Progress(backend.get(parameters[0].device), min(state.logging_steps, len(loader)))
    trainer.model.zero_grad()  # else the first step would add to the gradients of an earlier backward pass
    new_generators(trainer.model, args.seed)
    everywhere = [np.random.mtrand._rand, random._inst]  # type: ignore[attr-defined]  # of NumPy and Python
    reached = generators(trainer.model, *drawing(trainer.data_collator))
    trainer.drawn = [one for one in reached if not any(one is other for other in everywhere)]
    if content is not None:
        content.restore(trainer)
    trainer.reducer, trainer.shards = None, None
    if world.size > 1 and args.zero_stage:
        trainer.shards = Shards(trainer.model.parameters(), world)
        trainer.shards.drop_state(optimizer.state)
    if world.rank == 0:
        mark(Path(args.output_dir), state.run_id)
    world.barrier()


def mark(out: Path, run_id: str) -> None:
    """Write the id of the run into the output directory.

    Raises OSError, before any work is done, if the directory cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / "run.json") as (part,):
            part.write_text(json.dumps({"run_id": run_id}) + "\n", encoding="utf-8")
    except OSError as error:
        raise type(error)(
            f"{out} cannot be written to, so no checkpoint could be saved ({error}): give another output_dir"
        ) from None


class Content:
    """The content of a checkpoint, read and checked before anything is changed.

    Raises ValueError, with a message of one line, if it does not fit the model, the data or the arguments.
    """

    def __init__(self, directory: Path, trainer: Any, optimizer: Any, loader: Any):
        self.directory, model = directory, trainer.model
        self.weights = checkpoint.read_model(model, directory)
        try:
            self.state = TrainerState.from_dict(checkpoint.read_json(directory / "trainer_state.json"))
            self.rest = checkpoint.read_json(directory / "run_state.json")
            self.arrays = safetensors.read(directory / "optimizer.safetensors")
            self.optimizer = checkpoint.read_json(directory / "optimizer.json")
            averages = directory / "ema.safetensors"
            self.averages = safetensors.read(averages) if averages.is_file() else None
            check_named_state(optimizer, model, self.arrays, self.optimizer)
            loader.load_state_dict(self.rest["position"])
            checkpoint.check_random_states(self.rest["chance"], *roots(trainer))
        except FileNotFoundError as error:
            raise ValueError(
                f"{directory} has no {Path(error.filename).name}, as after save_only_model=True: give another "
                "checkpoint to resume from"
            ) from None
        except ValueError as error:
            raise ValueError(f"the run cannot resume from {directory}: {error}; nothing was changed") from None

    def restore(self, trainer: Any) -> None:
        """Restore the state of the trainer."""
        rest, model = self.rest, trainer.model
        checkpoint.load(model, self.weights)
        for name, p in model.named_parameters():
            p.requires_grad = name not in rest["frozen"]
        if rest["plan"] != plan_of(trainer):
            warn(
                f"{self.directory} was made with another plan, or for a run of another length; from here on the plan "
                "given now is followed"
            )
        trainer.lr_scheduler.load_state_dict(rest["schedule"])
        load_named_state(trainer.optimizer, model, self.arrays, self.optimizer)
        trainer.scaler.load_state_dict(rest["scaler"])
        if trainer.ema is not None and self.averages is not None:
            trainer.ema.load_state_dict(
                {
                    "n_averaged": rest["n_averaged"],
                    "averages": [self.averages[name] for name in named_averages(trainer)],
                }
            )
        trainer.progress.load_state_dict(rest["progress"])
        trainer.control.should_epoch_stop = rest["should_epoch_stop"]
        checkpoint.restore_random_states(rest["chance"], *roots(trainer))
        saved = list(rest["callbacks"])
        for callback in trainer.handler.callbacks:
            found = next((entry for entry in saved if entry[0] == type(callback).__name__), None)
            if found:
                saved.remove(found)
                getattr(callback, "load_state_dict", lambda state: None)(found[1])


def averaged(model: Module) -> list[Any]:
    """The parameters of which averages are kept: all except the frozen ones of a model with adapters."""
    return [p for p in model.parameters() if p.requires_grad or not isinstance(model, PeftModel)]


def named_averages(trainer: Any) -> dict[str, np.ndarray]:
    """The averages by the names of their parameters."""
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    pairs = zip(trainer.ema.params, trainer.ema.averages, strict=True)
    return {names[id(p)]: backend.of(average).to_numpy(average) for p, average in pairs}


def plan_of(trainer: Any) -> str | None:
    """The plan of this run as text; None if it has no plan."""
    return None if trainer.bound is None else trainer.bound.table()


def roots(trainer: Any) -> list[Any]:
    """The objects that hold the random number generators of a run."""
    return [trainer.model, *drawing(trainer.data_collator, trainer.train_dataset)]


def save(trainer: Any) -> Path:
    """Save the run in `checkpoint-<step>`, and remove checkpoints beyond `save_total_limit`."""
    args, state = trainer.args, trainer.state
    name = f"checkpoint-{state.global_step}"
    if state.best_global_step == state.global_step:
        state.best_model_checkpoint = os.fspath(Path(args.output_dir) / name)
    optimizer = None if args.save_only_model else optimizer_state(trainer)
    if trainer.world.rank == 0:
        checkpoint.write(args.output_dir, state.global_step, lambda directory: fill(trainer, directory, optimizer))
        checkpoint.rotate(args.output_dir, args.save_total_limit, (state.best_model_checkpoint,), state.run_id)
    trainer.world.barrier()
    return Path(args.output_dir) / name


def optimizer_state(trainer: Any) -> Any:
    """The optimiser's state by names, on rank 0 that of all ranks: with `zero_stage` each has a part of it."""
    own = named_state(trainer.optimizer, trainer.model)
    if trainer.shards is None:
        return own
    arrays, counts = {}, {}
    for other_arrays, other in trainer.world.gather_object(own) or ():
        arrays |= other_arrays
        counts |= other["counts"]
    return arrays, {**own[1], "counts": counts}


def fill(trainer: Any, directory: Path, optimizer: Any) -> None:
    """Write the files of a checkpoint into an empty directory; `optimizer` is the state that `optimizer_state` gave."""
    model, args = trainer.model, trainer.args
    checkpoint.write_model(model, directory)
    if trainer.processing_class is not None:
        trainer.processing_class.save_pretrained(directory)
    checkpoint.write_json(directory / "trainer_state.json", trainer.state.to_dict())
    checkpoint.write_json(directory / "training_args.json", args.to_dict())
    checkpoint.write_json(directory / "environment.json", checkpoint.environment())
    averages = {} if trainer.ema is None else named_averages(trainer)
    if averages:
        safetensors.write(directory / "ema.safetensors", averages)
    if optimizer is None:
        return
    arrays, rest = optimizer
    safetensors.write(directory / "optimizer.safetensors", arrays)
    checkpoint.write_json(directory / "optimizer.json", rest)
    checkpoint.write_json(
        directory / "run_state.json",
        {
            "position": trainer.loader.state_dict(),
            "schedule": trainer.lr_scheduler.state_dict(),
            "scaler": trainer.scaler.state_dict(),
            "n_averaged": trainer.ema.n_averaged if trainer.ema else 0,
            "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
            "plan": plan_of(trainer),
            "progress": trainer.progress.state_dict(),
            "chance": checkpoint.random_states(*roots(trainer)),
            "should_epoch_stop": trainer.control.should_epoch_stop,
            "callbacks": [
                [type(callback).__name__, getattr(callback, "state_dict", dict)()]
                for callback in trainer.handler.callbacks
            ],
        },
    )


def interrupted(trainer: Any) -> str:
    """The message after an interruption that did not wait for the end of the step."""
    newest = next(
        (
            path
            for path in checkpoint.candidates(trainer.args.output_dir)
            if checkpoint.is_whole(path) and checkpoint.run_of(path) == trainer.state.run_id
        ),
        None,
    )
    kept = (
        "no checkpoint was saved"
        if newest is None
        else (f"the newest checkpoint is {newest}: to resume, type trainer.train(resume_from_checkpoint=True)")
    )
    return f"interrupted at step {trainer.step} of {trainer.steps}; {kept}"


def note_best(args: TrainingArguments, state: TrainerState, told: Record) -> bool:
    """Whether an evaluation is the best so far; if so, the state records it.

    Raises ValueError if the evaluation lacks `metric_for_best_model`.
    """
    metric = args.metric_for_best_model
    if metric is None:
        return False
    value = told.get(f"eval_{metric}")
    if value is None:
        raise ValueError(
            f"metric_for_best_model is {metric!r}, which these labels do not have; expected one of "
            f"{', '.join(name.removeprefix('eval_') for name in told if name.startswith('eval_'))}"
        )
    sign = 1 if args.greater_is_better else -1
    if math.isnan(value) or not math.isfinite(told.get("eval_loss", 0.0)):
        return False
    if state.best_metric is not None and not sign * value > sign * state.best_metric:
        return False
    state.best_metric, state.best_global_step = value, state.global_step
    return True


def save_model(model: Module, tokenizer: Any, out: Path) -> None:
    """Save model and tokenizer in a directory; the files are written completely before they replace older ones."""
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".saving-", dir=out) as beside:
        if tokenizer is not None:
            tokenizer.save_pretrained(beside)
        # config.json and weights change together, even if this is killed
        if isinstance(model, (PretrainedModel, PeftModel)):
            model.save_pretrained(out)
        else:  # a model of the user's own: its weights by name
            checkpoint.write_model(model, Path(beside))
        written = os.listdir(beside)
        for name in written:
            os.replace(Path(beside) / name, out / name)
    for path in out.iterdir():  # shards and tokenizers of an earlier run would take precedence over ours
        # save_pretrained has removed them already.
        is_shard = SHARDS.fullmatch(path.name) and not isinstance(model, PretrainedModel)
        if path.name not in written and (is_shard or path.name in TOKENIZER_FILES):
            path.unlink()


def load_weights(trainer: Any, directory: Path) -> None:
    """Load the weights of a checkpoint or a saved model, or their averages if it has any."""
    checkpoint.load(trainer.model, checkpoint.read_model(trainer.model, directory))
    if (directory / "ema.safetensors").is_file():
        trainer.model.load_state_dict(safetensors.read(directory / "ema.safetensors"), strict=False)


def hold_averages(trainer: Any) -> None:
    """Replace the weights of the model by their averages."""
    for p, average in zip(trainer.ema.params, trainer.ema.averages, strict=True):
        p.copy_(backend.of(average).to_numpy(average))


def takes_total(loss_fn: Callable | None) -> bool:
    """Whether a loss function itself divides by the number of all labels of the step."""
    return loss_fn is not None and "num_items_in_batch" in signature(loss_fn).parameters


def lengths_of(dataset: Any) -> list[int]:
    """Tokens of each item, for batches of similar length.  Raises ValueError if items have none."""
    if (lengths := getattr(dataset, "lengths", None)) is not None:
        return lengths
    try:
        items = (dataset[i] for i in range(len(dataset)))
        return [int(item["length"]) if "length" in item else len(item["input_ids"]) for item in items]
    except (TypeError, KeyError):
        raise ValueError(
            "group_by_length needs lengths: expected items with input_ids or length, or a dataset with lengths; "
            "leave group_by_length out"
        ) from None


def replace_generators(model: Module, new: Callable[[np.random.Generator, int], np.random.Generator]) -> None:
    """Replace the generators that the model's modules draw dropout from; modules that shared one still share one."""
    made: dict[int, np.random.Generator] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if isinstance(value, np.random.Generator):
                setattr(module, name, made.setdefault(id(value), new(value, len(made))))


def new_generators(model: Module, seed: int) -> None:
    """Seed the generators of the model.

    As Hugging Face's Trainer does, this also seeds the global generators of Python and NumPy, which a collator may draw
    from.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    replace_generators(model, lambda _, i: np.random.default_rng([seed, i]))


def seed_generators(drawn: Sequence[Any], key: list[int]) -> None:
    """Seed generators with a key and their positions in the list."""
    for i, generator in enumerate(drawn):
        if isinstance(generator, random.Random):
            generator.seed(repr([*key, i]))
        elif isinstance(generator, np.random.RandomState):
            generator.seed([number % 2**32 for number in (*key, i)])
        else:
            bits = getattr(generator, "bit_generator", generator)
            bits.state = type(bits)([*key, i]).state
