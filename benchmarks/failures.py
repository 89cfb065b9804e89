"""Makes ranks fail at random moments, again and again, and checks that all end at once and no checkpoint is torn.

    python -m benchmarks.failures --count 100 --log failures.txt

Every run goes on from the newest checkpoint of the one before, until one reaches the end: its weights must then be
those of a run that nothing happened to.  Each line of the log tells what was done to which rank, and what came of it.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .ranks import mpiexec

AT_A_MOMENT = "raises", "exits", "is killed", "hangs", "is stopped", "runs out of memory"
FROM_THE_START = "has other data", "has another model", "has another version"
TIMEOUT = 4.0  # seconds after which a rank is taken to hang
LIMIT = TIMEOUT + 20  # seconds in which all must have ended after the failure; the rest is for a busy machine
STEPS, SAVED = 12, 3


@dataclass
class Outcome:
    """What came of a run with a failure in it."""

    what: str
    rank: int
    ranks: int
    moment: float  # seconds after the start of training
    ended: float  # seconds from the failure to the end of all ranks
    status: int
    told: str  # the line that names the rank, if there is one
    checkpoints: list[str]
    torn: list[str]

    @property
    def reached_the_end(self) -> bool:
        return self.status == 0

    @property
    def hung(self) -> bool:
        return self.ended > LIMIT

    def __str__(self) -> str:
        if self.reached_the_end:
            came = "nothing: the run had reached its end"
        elif self.hung:
            came = "ALL HUNG"
        else:
            came = f"all ended in {self.ended:.1f} s: {self.told or 'NO LINE'}"
        kept = "TORN " + ", ".join(self.torn) if self.torn else f"{len(self.checkpoints)} checkpoints, all whole"
        moment = f"after {self.moment:5.2f} s" if self.what in AT_A_MOMENT else "from the start"
        return f"rank {self.rank} of {self.ranks} {self.what:18} {moment}  {came}; {kept}"


def inject(out: Path, ranks: int, what: str, rank: int, moment: float) -> Outcome:
    """Start or resume a run in `out`, and let something happen to a rank."""
    from minigrad.train import checkpoint

    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    mark = out.with_name(f"{out.name}-failed")
    mark.unlink(missing_ok=True)
    process = subprocess.Popen(
        [
            *(mpiexec(), "-n", str(ranks), sys.executable, "-m", f"{__package__}.failures"),
            *("--train", str(out), what, str(rank), str(moment), str(mark)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **one_thread, "MINIGRAD_RANK_TIMEOUT": str(TIMEOUT)},
        start_new_session=True,
    )
    try:
        told, _ = process.communicate(timeout=4 * LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        told, _ = process.communicate()
    end = time.time()
    failed = float(mark.read_text() or end) if mark.exists() else end
    lines = [line for line in told.splitlines() if re.search(rf"rank {rank}\b|PID \d+ .*KILLED|EXIT CODE: 9", line)]
    found = sorted(path for path in out.glob("checkpoint-*"))
    return Outcome(
        what,
        rank,
        ranks,
        moment,
        end - failed,
        process.returncode,
        " ".join(lines[-1].split())[:150] if lines else "",
        [path.name for path in found],
        [f"{path.name} ({wrong})" for path in found if (wrong := checkpoint.fault(path, thorough=True))],
    )


def train(out: Path, what: str, rank: int, moment: float, mark: Path) -> None:
    """One rank of the run, which lets happen what is to happen to it."""
    import numpy as np

    import minigrad
    from minigrad.distributed import world
    from minigrad.pretrained import BertConfig, BertForSequenceClassification
    from minigrad.train import Trainer, TrainingArguments, latest_checkpoint

    mine = world().rank == rank
    sizes: dict[str, Any] = dict.fromkeys(("hidden_size", "intermediate_size"), 16)
    words = 30 if mine and what == "has another model" else 20
    config = BertConfig(**sizes, vocab_size=words, num_hidden_layers=2, num_attention_heads=2)
    data = [
        {"input_ids": np.array([1, 2 + (i + (mine and what == "has other data")) % 9, 3]), "labels": i % 2}
        for i in range(48)
    ]
    if mine and what == "has another version":
        minigrad.__version__ = "0.0.1"

    def happen(*_: Any) -> None:
        mark.write_text(str(time.time()))
        if what == "raises":
            raise RuntimeError("this was to happen")
        if what == "runs out of memory":
            raise MemoryError("this was to happen")
        if what == "exits":
            sys.exit(0)
        if what == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "is stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(10 * LIMIT)

    class Arm(minigrad.train.TrainerCallback):  # type: ignore[name-defined]
        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if mine and what in AT_A_MOMENT:
                signal.signal(signal.SIGALRM, happen)
                signal.setitimer(signal.ITIMER_REAL, max(moment, 1e-6))

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            time.sleep(0.02)  # so that a step is not over before anything can happen

    if mine and what in FROM_THE_START:
        mark.write_text(str(time.time()))
    arguments = TrainingArguments(
        output_dir=out,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=6 // world().size,
        max_steps=STEPS,
        save_steps=SAVED,
        save_total_limit=3,
        zero_stage=1,
        disable_tqdm=True,
    )
    trainer = Trainer(BertForSequenceClassification(config, rng=0), arguments, data, callbacks=[Arm()])
    began = time.time()
    trainer.train(resume_from_checkpoint=latest_checkpoint(out))
    signal.setitimer(signal.ITIMER_REAL, 0)
    if mine and what == "nothing":
        mark.write_text(str(time.time() - began))


def campaign(count: int, seed: int, folder: Path, tell: Any = print) -> list[Outcome]:
    """So many failures, one after the other; what came of each.

    Raises ValueError if a run that went on after failures ends with other weights than one without.
    """
    draw, done, part = random.Random(seed), list[Outcome](), 0
    whole = folder / "whole"
    inject(whole, 2, "nothing", 0, 0.0)
    if not (whole / f"checkpoint-{STEPS}").is_dir():
        raise ValueError("a run without a failure did not reach its end")
    span = float((folder / "whole-failed").read_text())
    while len(done) < count:
        out = folder / f"run-{part}"
        what = draw.choice(AT_A_MOMENT if draw.random() < 0.9 else FROM_THE_START)
        ranks = draw.choice((2, 3))
        outcome = inject(out, ranks, what, draw.randrange(ranks) if what in AT_A_MOMENT else 1, draw.uniform(0, span))
        if outcome.reached_the_end:
            apart = furthest(out / f"checkpoint-{STEPS}", whole / f"checkpoint-{STEPS}")
            tell(f"run {part} has reached its end; its weights differ by {apart:.1g} from those of an undisturbed run")
            if apart > 1e-4:
                raise ValueError(f"run {part} went on after failures to other weights than those of an undisturbed run")
            part += 1
            continue
        done.append(outcome)
        tell(f"{len(done):3}  {outcome}")
    hung, torn, silent = (sum(map(bool, found)) for found in zip(*((o.hung, o.torn, not o.told) for o in done)))
    tell(f"{count} failures: {hung} hung, {torn} torn checkpoints, {silent} without a line that names the rank")
    return done


def furthest(found: Path, expected: Path) -> float:
    """The largest difference between the weights of two checkpoints, whose rounding depends on the number of ranks."""
    import numpy as np

    from minigrad.pretrained.checkpoint import safetensors

    ours, theirs = (safetensors.read(path / "model.safetensors") for path in (found, expected))
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in theirs)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.failures")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--train", nargs=5, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.train:
        out, what, rank, moment, mark = asked.train
        return train(Path(out), what, int(rank), float(moment), Path(mark))

    def tell(line: str) -> None:
        print(line, flush=True)
        if asked.log:
            with asked.log.open("a") as file:
                print(line, file=file)

    with TemporaryDirectory() as folder:
        campaign(asked.count, asked.seed, Path(folder), tell)
    return None


if __name__ == "__main__":
    main()
