"""What a training run will need of each rank, memory and time, told beforehand and for machines that are not here.

Weights, gradients and the optimiser's state are counted.  Activations are measured, on small models of the same kind:
where the widths of a Transformer, its vocabulary and the length of its texts are all multiplied by s, each array of a
training step grows by s², by s, or not at all.  So the memory in use, at its highest, is A s² + B s + C, and three
small models tell A, B and C.
"""

from __future__ import annotations

import math
import os
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from ..amp import autocast
from ..distributed import Communicator, Shards
from ..distributed.awaiting import await_gradients
from ..distributed.network import LINKS, Link, Network, last_end
from ..distributed.reducer import batches
from ..nn import Linear, Module, init
from ..pretrained import AutoConfig, PretrainedModel
from ..pretrained.config import Config
from ..tasks import Task, task_class, task_of
from .arguments import TrainingArguments
from .optimizers import new_optimizer
from .recomputing import recompute_layers, stacks

WIDTHS = (
    *("vocab_size", "hidden_size", "intermediate_size", "head_dim", "n_embd", "n_inner", "d_model", "d_kv", "d_ff"),
    *("dim", "hidden_dim"),
)
LENGTHS = "max_position_embeddings", "n_positions"
SMALL = 8e9  # floating-point operations of the largest of the three small steps
HEADS = (
    *("ranks", "weights", "gradients", "state", "activations", "memory", "recomputed", "memory", "compute", "sums"),
    *("hidden", "step"),
)
KNOWN = {  # published sizes that are a family's defaults, by names that need no file: the family, and a task
    "bert-base": ("bert", "fill-mask"),
    "gpt2": ("gpt2", "text-generation"),
    "llama-7b": ("llama", "text-generation"),
}


@dataclass(frozen=True)
class Device:
    """What a rank computes on: bytes of memory, and operations per second in products of float32 and of 16 bits.

    The rates are those that makers state, without sparsity; `reached` is the part of them that training is taken to
    reach.  `links` are the usual ones between the ranks of a machine, and between machines.
    """

    memory: float
    float32: float
    half: float
    links: tuple[str, str]
    reached: float = 0.4


DEVICES = {
    "h200": Device(141e9, 67e12, 989e12, ("nvlink", "infiniband400")),
    "h100": Device(80 * 2**30, 67e12, 989e12, ("nvlink", "infiniband400")),
    "a100": Device(80 * 2**30, 19.5e12, 312e12, ("nvlink3", "infiniband200")),
    "v100": Device(32 * 2**30, 15.7e12, 125e12, ("pcie4", "ethernet100")),
    "rtx4090": Device(24 * 2**30, 82.6e12, 165e12, ("pcie4", "ethernet25")),
    "t4": Device(16 * 2**30, 8.1e12, 65e12, ("pcie4", "ethernet25")),
}


@dataclass(frozen=True)
class Estimate:
    """What one rank needs, in bytes, and how long a step takes, in seconds.

    `activations` is what the tape keeps at the end of the forward pass; `memory` is the highest sum of all at one
    moment, which is less than the sum of the highest.  `hidden` is the part of the communication for which the backward
    pass goes on meanwhile.
    """

    ranks: int
    parameters: int
    weights: float
    gradients: float
    state: float
    activations: float
    memory: float
    compute: float
    communication: float
    hidden: float

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.compute + self.communication - self.hidden


class Activations(NamedTuple):
    """Bytes of a training step beyond weights and state: what the tape keeps after the forward pass, and all at most.

    `most` has the gradients that are there by then, `without` has none.
    """

    kept: float
    most: float
    without: float


def config_named(model: str, task: str | None) -> tuple[Config, type[Task]]:
    """The configuration of a model directory, of a name on the Hub, or of one of KNOWN, and the task it is for."""
    if model in KNOWN:
        family, usual = KNOWN[model]
        entries = {"model_type": family}
        return AutoConfig.family(model, entries).from_dict(entries), task_class(task or usual)
    config = AutoConfig.from_pretrained(model)
    return config, task_class(task) if task else task_of(model)


def estimates(
    config: Config,
    task: type[Task],
    args: TrainingArguments,
    length: int,
    ranks: Sequence[int],
    device: Device,
    network: Network,
) -> list[Estimate]:
    """What each rank needs to train a model on a task, for several numbers of ranks.

    Args:
        config: the sizes of the model.
        task: which head and loss it has.
        args: the batch of a rank, accumulation, optimiser, precision, `gradient_checkpointing` and `zero_stage`.
        length: tokens of each text.
        ranks: the numbers of ranks.
        device, network: what the ranks compute on, and what connects them.

    Raises:
        ValueError: the model is not a Transformer of texts, or takes no texts of that length.
    """
    activations = activation_bytes(config, task, args, length)
    model = sized(config, task)
    compute = operations(model, config, args, length) / speed_of(device, args)
    return [estimate(model, args, activations, n, compute, network) for n in ranks]


def estimate(
    model: Module, args: TrainingArguments, activations: Activations, ranks: int, compute: float, network: Network
) -> Estimate:
    """What each rank needs whose activations and seconds of computation are known."""
    params = model.parameters()
    weights = sum(p.data.nbytes for p in params)
    shards = Shards(params, among(ranks))
    share = max(sum(p.data.nbytes for p in part) for part in shards.owned) / weights
    buckets = [sum(p.data.nbytes for p in group) for group in batches(params[::-1], lambda p: p.dtype)]
    sums, sending = [0.0 for _ in buckets], 0.0
    if ranks > 1:
        sums = [(network.reduce if args.zero_stage == 2 else network.all_reduce)(size, ranks) for size in buckets]
        sending = sum(network.broadcast(size, ranks) for size in buckets) if args.zero_stage else 0.0
    back = (
        compute / args.gradient_accumulation_steps * 2 / 3
    )  # of the last micro-batch, during which gradients are sent
    ready = [back * end / weights for end in accumulate(buckets)]
    state, gradients, most = weights * state_ratio(args), weights, activations.most
    if args.zero_stage:
        state *= share
    if args.zero_stage == 2:
        gradients *= share
        most = activations.without + (most - activations.without) * share
    return Estimate(
        ranks=ranks,
        parameters=sum(p.size for p in params),
        weights=weights,
        gradients=gradients,
        state=state,
        activations=activations.kept,
        memory=weights + state + max(most, gradients),
        compute=compute,
        communication=sum(sums) + sending,
        hidden=sum(sums) - max(last_end(ready, sums) - back, 0.0) if ranks > 1 else 0.0,
    )


def among(ranks: int) -> Communicator:
    """The first of so many ranks, none of which is there."""
    world = Communicator()
    world.size = ranks
    return world


def sized(config: Config, task: type[Task]) -> PretrainedModel:
    """The model of a configuration, with weights that have sizes, but take no memory."""
    with init.unallocated():
        return task.model_class.family(type(config).__name__, config)(config, drawn=False)


def operations(model: Module, config: Config, args: TrainingArguments, length: int) -> float:
    """Floating-point operations of a rank in a step: products of a token with weights, and of queries with keys.

    A product of n numbers has 2 n; the backward pass has twice those of the forward pass, and with
    `gradient_checkpointing` there is another forward pass.
    """
    tokens = args.per_device_train_batch_size * args.gradient_accumulation_steps * length
    layers = [module for module in model.modules() if isinstance(module, Linear)]
    each = sum(2 * layer.weight.size for layer in layers)
    heads = sum(2 * length * layer.weight.shape[0] for layer in layers if layer.weight.shape[0] == width_of(config)) / 2
    return tokens * (each + heads) * (4 if args.gradient_checkpointing else 3)


def entry(config: Config, *names: str) -> Any:
    """The first of these entries that a configuration has."""
    return next((getattr(config, name) for name in names if getattr(config, name, None) is not None), None)


def width_of(config: Config) -> int:
    return entry(config, "hidden_size", "n_embd", "d_model", "dim")


def head_size(config: Config) -> int:
    """The size of a head.  Raises ValueError for what is no Transformer of texts."""
    heads, words = entry(config, "num_attention_heads", "n_head", "num_heads", "n_heads"), entry(config, "vocab_size")
    if not heads or not words:
        raise ValueError(
            f"a model of the kind {config.model_type!r} cannot be estimated; expected a Transformer of texts, such as "
            "BERT, GPT-2, T5 or LLaMA"
        )
    return entry(config, "head_dim", "d_kv") or width_of(config) // heads


def activation_bytes(config: Config, task: type[Task], args: TrainingArguments, length: int) -> Activations:
    """What a training step takes, by three small models, or by the model itself if it is small."""
    size = head_size(config)
    longest = getattr(config, "longest", None)
    if longest is not None and length > longest:
        raise ValueError(f"the model takes texts of up to {longest} tokens, not {length}")
    model = sized(config, task)
    work = operations(model, config, replace(args, gradient_accumulation_steps=1), length)
    step = max(2, int((SMALL / work) ** (1 / 3) * size / 3) // 2 * 2) / size  # heads of an even size, as rotation needs
    one = partial(measured, config, task, args)
    if 3 * step >= 1:
        return one(length, 1.0)
    found = []  # by two lengths that the small models can have: between them, linearly
    for shortest in {max(1, math.floor(length * step)), math.ceil(length * step)}:
        points = [one(i * shortest, i * step) for i in (1, 2, 3)]
        found.append((shortest / step, [at_one(values, step) for values in zip(*points)]))
    (low, below), (high, above) = min(found), max(found)
    between = (length - low) / (high - low) if high > low else 0.0
    return Activations(*(a + (b - a) * between for a, b in zip(below, above)))


def at_one(values: Sequence[float], step: float) -> float:
    """The value at 1 of the parabola that has three values at 1, 2 and 3 steps (Lagrange)."""
    one, two, three = (1 - i * step for i in (1, 2, 3))
    a, b, c = values
    return (a * two * three / 2 - b * one * three + c * one * two / 2) / step**2


def measured(config: Config, task: type[Task], args: TrainingArguments, length: int, scale: float) -> Activations:
    """The activations of a model whose widths are multiplied by `scale`, found by training it for a step."""
    small = scaled(config, scale, length)
    model = task.model_class.from_config(small, rng=0).train()
    batch = example(task, small, args.per_device_train_batch_size, length)
    traced(model, batch, args)  # what is loaded or compiled once is not part of a step
    kept, most = traced(model, batch, args)
    await_gradients(dict.fromkeys(model.parameters(), lambda g: None))
    try:
        _, without = traced(model, batch, args)
    finally:
        await_gradients({})
    return Activations(kept, most, without)


def traced(model: Module, batch: dict[str, Any], args: TrainingArguments) -> tuple[int, int]:
    """Bytes allocated after the forward pass of a step, and at most during it."""
    half = "float16" if args.fp16 else "bfloat16"
    tracemalloc.start()
    try:
        with recompute_layers(model, args.gradient_checkpointing), autocast(half, enabled=args.fp16 or args.bf16):
            out = model(**batch)  # whose scores the Trainer keeps until the backward pass is over
            kept = tracemalloc.get_traced_memory()[0]
            out.loss.backward()
        return kept, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        model.zero_grad()


def scaled(config: Config, scale: float, length: int) -> Config:
    """The configuration with all widths multiplied, for texts of this length."""
    changes: dict[str, Any] = {
        name: max(1, round(getattr(config, name) * scale)) for name in WIDTHS if getattr(config, name, None) is not None
    }
    changes |= {
        name: max(length + 2, round(getattr(config, name) * scale)) for name in LENGTHS if hasattr(config, name)
    }
    for field in fields(config):
        if field.name.endswith("_token_id") and getattr(config, field.name) is not None:
            changes[field.name] = 0
    return replace(config, **changes)


def example(task: type[Task], config: Config, batch: int, length: int) -> dict[str, Any]:
    """A batch for a task: ids, and labels of the shape that its loss takes."""
    ids = np.random.default_rng(0).integers(1, entry(config, "vocab_size"), (batch, length))
    mask = np.ones_like(ids)
    given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
    whole = np.zeros(batch, np.int64)
    if task.name == "question-answering":
        return given | {"start_positions": whole, "end_positions": whole}
    if task.name == "text-classification":
        return given | {"labels": whole}
    return given | {"labels": np.zeros_like(ids) if task.name == "token-classification" else ids}


@cache
def _ratio(optim: str, options: tuple) -> float:
    layer = Linear(64, 64)
    optimizer = new_optimizer(layer, TrainingArguments(optim=optim, optim_args=dict(options)))
    layer(np.ones((1, 64), np.float32)).sum().backward()
    optimizer.step()
    held = sum(
        array.nbytes for kept in optimizer.state.values() for array in kept.values() if getattr(array, "ndim", 0)
    )
    return held / sum(p.data.nbytes for p in layer.parameters())


def state_ratio(args: TrainingArguments) -> float:
    """Bytes that the optimiser keeps for each byte of weights, as it does for a layer."""
    return _ratio(args.optim, tuple(sorted(dict(args.optim_args or {}).items())))  # type: ignore[arg-type]


def this_machine() -> Device:
    """The CPU that this runs on, as fast as a product of two matrices is here, and training reaches half of that."""
    x = np.ones((768, 768), np.float32)
    np.matmul(x, x)
    began = time.perf_counter()
    for _ in range(3):
        np.matmul(x, x)
    rate = 3 * 2 * len(x) ** 3 / (time.perf_counter() - began)
    return Device(memory_of_machine(), rate, rate, ("memory", "ethernet10"), 0.5)


def memory_of_machine() -> float:
    """Bytes, or infinity if the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf


def report(
    model: str,
    task: str | None,
    ranks: str,
    batch_size: int,
    length: int,
    device: str,
    link: str | None,
    link_inside: str | None,
    ranks_per_machine: int,
    **options: Any,
) -> str:
    """`minigrad plan`: the estimates of a model as text.

    Raises:
        ValueError: a device, a link or a number is not one.
    """
    numbers = [whole(part) for part in ranks.split(",")]
    if device != "here" and device not in DEVICES:
        raise ValueError(f"device is {device!r}; expected here (this machine) or one of {', '.join(DEVICES)}")
    on = DEVICES[device] if device != "here" else this_machine()
    links = [given or usual for given, usual in zip((link_inside, link), on.links)]
    network = Network(link_named(links[0]), link_named(links[1]), whole(ranks_per_machine))
    config, kind = config_named(model, task)
    given = {name: value for name, value in options.items() if value}
    args = TrainingArguments(per_device_train_batch_size=batch_size, **given)
    found, again = (
        estimates(config, kind, replace(args, gradient_checkpointing=on_or_off), length, numbers, on, network)
        for on_or_off in (False, bool(stacks(sized(config, kind))))
    )
    steps = args.gradient_accumulation_steps
    return "\n".join(
        [
            f"{model} for {kind.name}, {found[0].parameters:,} parameters; each rank {steps} × {batch_size} texts of "
            f"{length} tokens to a step, {args.optim}, zero_stage {args.zero_stage}, "
            + ("bf16" if args.bf16 else "fp16" if args.fp16 else "float32"),
            f"{device}: {on.memory / 2**30:.0f} GiB, products at {speed_of(on, args) / 1e12:.3g} · 10¹² operations a "
            f"second, {on.reached:.0%} of the highest rate; {ranks_per_machine} ranks to a machine, {links[0]} inside, "
            f"{links[1]} between",
            "",
            table(found, again, on),
            "",
            "Memory in GiB, of each rank, without that of Python and the libraries; ! where the device has less.",
            "recomputed: the activations with gradient checkpointing, and the memory at its highest then.",
            "sums: the communication of a step; hidden: the part of it for which the backward pass goes on.",
        ]
    )


def link_named(given: str) -> Link:
    """A link by its name, or by its gigabytes per second."""
    try:
        return LINKS[given] if given in LINKS else Link(float(given) * 1e9, 10e-6)
    except ValueError:
        raise ValueError(f"link is {given!r}; expected GB/s in each direction, or one of {', '.join(LINKS)}") from None


def whole(given: Any) -> int:
    """A number of ranks."""
    try:
        if (number := int(given)) > 0:
            return number
    except ValueError:
        pass
    raise ValueError(f"{given!r} is no number of ranks; expected whole numbers from 1, such as 1,8,64")


def speed_of(device: Device, args: TrainingArguments) -> float:
    """Floating-point operations that a device is taken to make in a second."""
    return device.reached * (device.half if args.bf16 or args.fp16 else device.float32)


def table(found: Sequence[Estimate], again: Sequence[Estimate], device: Device) -> str:
    """The estimates as text, beside those with `gradient_checkpointing`; ! marks more memory than there is."""
    lines = [list(HEADS)]
    for one, other in zip(found, again, strict=True):
        sizes = one.weights, one.gradients, one.state, one.activations, one.memory, other.activations, other.memory
        cells = [f"{size / 2**30:.2f}" for size in sizes]
        for i in (4, 6):
            cells[i] += "!" if sizes[i] > device.memory else ""
        times = [seconds(time) for time in (one.compute, one.communication)]
        part = one.hidden / one.communication if one.communication else 1.0
        lines.append([f"{one.ranks}", *cells, *times, f"{part:.0%}", seconds(one.step)])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths)) for line in lines)


def seconds(time: float) -> str:
    return f"{time:.3g} s" if time >= 1 else f"{1000 * time:.3g} ms"
