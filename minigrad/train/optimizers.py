"""Makes the optimiser and schedule that training arguments name, and saves an optimiser's state by parameter names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, optim, schedule
from ..nn import Module, Parameter
from ..optim import Optimizer
from .arguments import OPTIMIZERS, TrainingArguments


def trained_parameters(model: Module) -> list[Parameter]:
    """The parameters that are not frozen.  Raises ValueError if there are none."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        more = "; to train a loaded adapter, type PeftModel.from_pretrained(model, directory, is_trainable=True)"
        raise ValueError(
            "no parameter is left to train: freeze fewer, such as 'bert.**', which leaves the classifier"
            + more * hasattr(model, "peft_config")
        )
    return trained


def decay_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: matrices decay, vectors (biases and the scales of LayerNorm) do not.

    Frozen parameters are included: an optimiser skips them, and they may be unfrozen during the run.
    """
    trained_parameters(model)
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) is many] for many in (True, False))
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0, "name": "no_decay"},
    ]


def new_optimizer(model: Module, args: TrainingArguments, plan: Any = None) -> Optimizer:
    """The optimiser named in `args.optim`, for all parameters, in the groups that a bound plan needs.

    Raises TypeError for an option that the optimiser does not have.
    """
    options: Any = args.optim_args
    groups = decay_groups(model, args.weight_decay)
    groups = groups if plan is None else plan.param_groups(groups)
    kind = getattr(optim, OPTIMIZERS[args.optim])
    adam = {"betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon}
    more = adam if kind in (optim.AdamW, optim.Adam, optim.NAdam, optim.RAdam, optim.Adamax) else {}
    return kind(groups, lr=args.learning_rate, **more | options)


def new_schedule(optimizer: Optimizer, args: TrainingArguments, steps: int) -> schedule.LRScheduler:
    """The schedule named in `args.lr_scheduler_type`, with its warm-up, for a run of `steps` steps."""
    kind, warmup = args.lr_scheduler_type, args.warmup(steps)
    more: Any = args.lr_scheduler_kwargs
    if kind == "linear":
        return schedule.linear_schedule_with_warmup(optimizer, warmup, steps, **more)
    if kind == "polynomial":
        return schedule.polynomial_decay_schedule_with_warmup(optimizer, warmup, steps, **more)
    if kind == "cosine":
        return schedule.cosine_schedule_with_warmup(optimizer, warmup, steps, **more)
    if kind == "constant":
        return schedule.constant_schedule_with_warmup(optimizer, 0, **more)
    if kind == "constant_with_warmup":
        return schedule.constant_schedule_with_warmup(optimizer, warmup, **more)
    if kind == "reduce_lr_on_plateau":
        better: Any = {} if args.greater_is_better is None else {"mode": "max" if args.greater_is_better else "min"}
        return schedule.ReduceLROnPlateau(optimizer, **better | more)
    return schedule.LambdaLR(optimizer, decay(kind, warmup, steps, args.learning_rate, **more))


def decay(
    kind: str,
    warmup: int,
    steps: int,
    rate: float,
    num_cycles: float | None = None,
    timescale: int | None = None,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
) -> Any:
    """The function from a step to the factor of the rate, for Hugging Face's schedules not in `minigrad.schedule`."""
    least = min_lr_rate if min_lr_rate is not None else min_lr / rate if min_lr is not None else 0.0
    if kind == "cosine_with_min_lr" and min_lr is min_lr_rate is None:
        raise ValueError(
            'lr_scheduler_type is "cosine_with_min_lr": give lr_scheduler_kwargs={"min_lr": 1e-6}, or min_lr_rate'
        )

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        if kind == "inverse_sqrt":
            scale = timescale or warmup or 10_000
            return 1 / math.sqrt((step + scale - warmup) / scale)
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        if kind == "cosine_with_restarts":
            return (
                0.0
                if done >= 1
                else (1 + math.cos(math.pi * ((1 if num_cycles is None else num_cycles) * done % 1))) / 2
            )
        wave = (1 + math.cos(math.pi * 2 * (0.5 if num_cycles is None else num_cycles) * done)) / 2
        return max(0.0, wave * (1 - least) + least)

    return factor


def named_state(optimizer: Optimizer, model: Module) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """An optimiser's state: arrays by names such as "exp_avg/<name of the parameter>", counts and groups as JSON."""
    names = {id(p): name for name, p in model.named_parameters()}
    arrays, counts = {}, {}
    for p, memory in optimizer.state.items():
        name = names[id(p)]
        counts[name] = {}
        for key, value in memory.items():
            if isinstance(value, (int, float)):
                counts[name][key] = value
            else:
                arrays[f"{key}/{name}"] = backend.of(value).to_numpy(value)
    groups = [{**group, "params": [names[id(p)] for p in group["params"]]} for group in optimizer.param_groups]
    return arrays, {"kind": type(optimizer).__name__, "counts": counts, "param_groups": groups}


def check_named_state(optimizer: Optimizer, model: Module, arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> None:
    """Raise ValueError if the state belongs to another optimiser or to parameters of other shapes."""
    if rest["kind"] != type(optimizer).__name__:
        raise ValueError(f"its optimiser is {rest['kind']}, here it is {type(optimizer).__name__}")
    if len(rest["param_groups"]) != len(optimizer.param_groups):
        raise ValueError(
            f"its optimiser has {len(rest['param_groups'])} groups, here there are {len(optimizer.param_groups)}"
        )
    own = dict(model.named_parameters())
    for full, array in arrays.items():
        key, _, name = full.partition("/")
        here = optimizer.shape_kept(key, own[name].shape) if name in own else "no such parameter"
        if here != array.shape:
            raise ValueError(f"its optimiser's {full} has shape {array.shape}, here there is {here}")


def load_named_state(optimizer: Optimizer, model: Module, arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> None:
    """Restore the state that `named_state` returned, for every parameter, whether it is frozen now or not."""
    own = dict(model.named_parameters())
    optimizer.state.clear()
    for name, counts in rest["counts"].items():
        optimizer.state[own[name]] = dict(counts)
    for full, array in arrays.items():
        key, _, name = full.partition("/")
        p = own[name]
        optimizer.state[p][key] = backend.of(p.data).xp.array(array)
    for group, saved in zip(optimizer.param_groups, rest["param_groups"], strict=True):
        group.update(
            {key: tuple(value) if isinstance(value, list) else value for key, value in saved.items() if key != "params"}
        )
