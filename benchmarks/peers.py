"""The same training steps in other libraries: JAX and tinygrad, each eager and compiled, and autograd.

Both sides have the same number of threads: JAX and tinygrad read it from the environment (`pairing.THREAD_VARIABLES`),
autograd uses NumPy's.  The time of compiling is not measured, because it ends before the losses are compared.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .pairing import HEADINGS, Row, Work, in_turns, sides
from .peer_models import MODELS, JaxWords, TinyWords, Weights, Words
from .training import CHECKED, LR, Sizes, draw, minigrad, with_minigrad

HEADING = "Peers"
# Small enough for tinygrad to take a step in seconds.
SMALLER = {"gpt": {"batch": 2, "tokens": 128, "width": 256, "heads": 4, "layers": 2, "vocabulary": 2048}}
BETA1, BETA2, EPS, DECAY = 0.9, 0.999, 1e-8, 0.01  # AdamW's, as minigrad and torch have them
ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "DEV": "CPU"}  # DEV is tinygrad's device


def with_jax(workload: str, sizes: Sizes, file: str, compiled: bool) -> Iterator[Any]:
    import jax

    words, model = JaxWords(jax), MODELS[workload]
    update = updating(jax.numpy, jax.value_and_grad(lambda w, data: model(words, w, *data, **sizes)))
    if compiled:
        update = jax.jit(update, donate_argnums=(1, 2, 3))
    return training(
        workload, losses(jax.numpy, lambda *now: jax.block_until_ready(update(*now)), *opened(file, jax.numpy.array))
    )


def with_autograd(workload: str, sizes: Sizes, file: str) -> Iterator[Any]:
    import autograd
    from autograd.scipy.special import erf

    np, model = autograd.numpy, MODELS[workload]
    words = Words(np, erf)
    update = updating(np, autograd.value_and_grad(lambda w, data: model(words, w, *data, **sizes)))
    return training(workload, losses(np, update, *opened(file, np.asarray)))


def with_tinygrad(workload: str, sizes: Sizes, file: str, compiled: bool) -> Iterator[Any]:
    from tinygrad import Context, Tensor, TinyJit
    from tinygrad.nn.optim import AdamW

    weights, data = opened(file, Tensor)
    optimizer = AdamW(list(weights.values()), LR, BETA1, BETA2, EPS, DECAY)

    def step() -> Any:
        with Context(TRAINING=1):
            optimizer.zero_grad()
            loss = MODELS[workload](TinyWords(), weights, *data, **sizes).backward()
            return loss.realize(*optimizer.schedule_step())

    step = TinyJit(step) if compiled else step
    return training(workload, iter(lambda: step().item(), None))


def updating(np: Any, loss_and_gradient: Callable) -> Callable:
    """Step number `t` of AdamW (Loshchilov and Hutter, 2019), returning new weights and averages of the gradient."""

    def update(t: float, w: Weights, m: Weights, v: Weights, data: list) -> tuple[Any, Weights, Weights, Weights]:
        loss, g = loss_and_gradient(w, data)
        m = {name: BETA1 * m[name] + (1 - BETA1) * g[name] for name in w}
        v = {name: BETA2 * v[name] + (1 - BETA2) * g[name] * g[name] for name in w}
        step = {name: m[name] / (1 - BETA1**t) / (np.sqrt(v[name] / (1 - BETA2**t)) + EPS) for name in w}
        return loss, {name: (1 - LR * DECAY) * w[name] - LR * step[name] for name in w}, m, v

    return update


def losses(np: Any, update: Callable, w: Weights, data: list) -> Iterator[float]:
    """Yield the loss of each step."""
    t, m, v = 0.0, *({name: np.zeros_like(weight) for name, weight in w.items()} for _ in range(2))
    while True:
        t += 1
        loss, w, m, v = update(t, w, m, v, data)
        yield float(loss)


def training(workload: str, losses: Iterator[float]) -> Iterator[Any]:
    """Yield the losses of the first steps, then take some steps for each `next`, as `training.steps` does."""
    yield
    yield [next(losses) for _ in range(CHECKED)]
    while True:
        for _ in range(in_a_turn(workload)):
            next(losses)
        yield


def in_a_turn(workload: str) -> int:
    """The number of steps of a peer in a turn, fewer than minigrad's, since some are many times slower."""
    return max(1, module_of(workload).STEPS // 8)


def module_of(workload: str) -> Any:
    return import_module(f"{__package__}.{workload}")


def save(workload: str, sizes: Sizes, file: str) -> None:
    """Write minigrad's initial weights and data to a file, for a library that has no such model."""
    import numpy as np

    lib, rng, data = minigrad(), np.random.default_rng(0), []

    def keep(array: Any) -> Any:
        data.append(array)
        return lib.tensor(array)

    model, _ = module_of(workload).build(replace(lib, tensor=keep), rng, **sizes)
    draw(model, rng)
    np.savez(file, *data, **{name: p.numpy() for name, p in model.named_parameters()})


def opened(file: str, tensor: Callable[[Any], Any]) -> tuple[Weights, list[Any]]:
    """Read what `save` wrote: the weights by name, and the data, which NumPy calls arr_0, arr_1, …"""
    import numpy as np

    with np.load(file) as arrays:
        found = {name: tensor(arrays[name]) for name in arrays}
    return {name: found[name] for name in found if "." in name}, [found[name] for name in found if "." not in name]


@dataclass
class Peer:
    """A library: its workloads, a statement that tests whether it works, how to install it, and its ways to train."""

    workloads: tuple[str, ...]
    statement: str
    install: str
    ways: dict[str, Work]

    def missing(self) -> str:
        """Why the library cannot be used, and what to type; "" if it can."""
        tried = subprocess.run(
            [sys.executable, "-c", self.statement],
            env=ENVIRONMENT | os.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        reason = (tried.stderr.strip() or f"exit status {tried.returncode}").splitlines()[-1]
        return f"not here ({reason}); type: {self.install}" if tried.returncode else ""


PEERS = {
    "JAX": Peer(
        ("mlp", "cnn", "gpt", "lstm"),
        "import jax; jax.numpy.zeros(1) + 1",
        "pip install jax",
        {"JAX eager": partial(with_jax, compiled=False), "JAX jit": partial(with_jax, compiled=True)},
    ),
    "autograd": Peer(
        ("mlp", "gpt", "lstm"),
        "import autograd.scipy.special",
        "pip install autograd scipy",
        {"autograd": with_autograd},
    ),
    "tinygrad": Peer(
        ("mlp", "cnn", "gpt"),
        "from tinygrad import Tensor; (Tensor([1.0]) + 1).tolist()",
        "pip install tinygrad; apt-get install clang",
        {
            "tinygrad eager": partial(with_tinygrad, compiled=False),
            "tinygrad TinyJit": partial(with_tinygrad, compiled=True),
        },
    ),
}


class Absent:
    """A row of the table that says why it has no figures."""

    def __init__(self, *said: str):
        self.said = said

    def cells(self) -> list[str]:
        what, reason = self.said
        return [what, *[""] * (len(HEADINGS) - 2), reason]


def ours(workload: str, sizes: Sizes, file: str) -> Iterator[Any]:
    return with_minigrad(workload, sizes)


def beside(way: str, work: Work, workload: str, sizes: Sizes, file: str, rounds: int) -> Any:
    """The row of one way to train, or one that says why there is none."""
    module, steps = module_of(workload), in_a_turn(workload)
    title = module.TITLE.format(**sizes)
    try:
        with sides(ours, work, given=(workload, sizes, file), tolerance=1e-3) as works:
            a, b = in_turns(*works, rounds=rounds, warm_up=2)
    except EOFError:
        return Absent(title, f"{way} ended with the error above")
    return Row(
        title,
        [seconds / module.STEPS for seconds in a],
        [seconds / steps for seconds in b],
        beside=way,
        memory=(works[0].peak, works[1].peak),
    )


def run(rounds: int = 5) -> list[Any]:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    absent = {name: reason for name, peer in PEERS.items() if (reason := peer.missing())}
    rows: list[Any] = []
    with TemporaryDirectory() as directory:
        for workload in MODELS:
            sizes, file = module_of(workload).SIZES | SMALLER.get(workload, {}), str(Path(directory, f"{workload}.npz"))
            save(workload, sizes, file)
            rows += [
                beside(way, work, workload, sizes, file, rounds)
                for name, peer in PEERS.items()
                if workload in peer.workloads and name not in absent
                for way, work in peer.ways.items()
            ]
    return rows + [Absent(name, reason) for name, reason in absent.items()]
