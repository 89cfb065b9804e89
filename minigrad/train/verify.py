"""Checks for a user's run that it resumes exactly: k steps and k more equal 2k steps, bit for bit, even when killed."""

from __future__ import annotations

import importlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..pretrained.checkpoint import safetensors
from ..tasks import DEFAULT
from . import checkpoint
from .callbacks import TrainerCallback
from .trainer import Trainer

CLOCKS = ("_runtime", "_per_second", "seconds")  # entries of records that differ from run to run
SPEC = "finetune.json"


class Stop(TrainerCallback):
    """Saves at the given steps, and stops at the last of them."""

    def __init__(self, *steps: int):
        self.steps = steps

    def on_step_end(self, args, state, control, **more):
        control.should_save |= state.global_step in self.steps
        control.should_training_stop |= state.global_step >= self.steps[-1]


def verify_resume(make: Callable[[str], Trainer], steps: int = 3) -> list[str]:
    """The differences between 2 · `steps` steps of a run and the same steps made in two halves; [] if there are none.

    `make(output_dir)` returns a new Trainer for the run, with its data and its untrained model.

    Raises ValueError if the run ends before step 2 · `steps`.
    """
    with TemporaryDirectory(prefix="verify-resume-") as folder:
        whole, parts = Path(folder) / "whole", Path(folder) / "parts"
        for out, resume in ((whole, None), (parts, whole / f"checkpoint-{steps}")):
            with redirect_stdout(StringIO()):
                trainer = make(os.fspath(out))
                trainer.add_callback(Stop(steps, 2 * steps))
                trainer.train(resume_from_checkpoint=resume)
            if trainer.step < 2 * steps:
                raise ValueError(f"the run ends before step {2 * steps}: give fewer steps")
        found, expected = (out / f"checkpoint-{2 * steps}" for out in (parts, whole))
        return differences(found, expected)


def differences(found: Path, expected: Path) -> list[str]:
    """The differences between two checkpoints, ignoring times and the id of the run."""
    told = [f"{path.name} is missing" for path in expected.iterdir() if not (found / path.name).exists()]
    for path in sorted(expected.glob("*.safetensors")):
        ours, theirs = safetensors.read(found / path.name), safetensors.read(path)
        told += [
            f"{path.name}: {name} differs"
            for name in theirs
            if name not in ours
            or not np.array_equal(ours[name].reshape(-1).view(np.uint8), theirs[name].reshape(-1).view(np.uint8))
        ]
    for name in ("run_state.json", "optimizer.json", "trainer_state.json"):
        ours, theirs = (
            without_clocks(json.loads((directory / name).read_text(encoding="utf-8")))
            for directory in (found, expected)
        )
        told += [f"{name}: {key} differs" for key in theirs if ours.get(key) != theirs[key]]
    return told


def without_clocks(entries: Any) -> Any:
    """The entries of a JSON file that must be equal in both runs."""
    if isinstance(entries, dict):
        return {
            key: without_clocks(value)
            for key, value in entries.items()
            if not key.endswith(CLOCKS) and key not in ("run_id", "best_model_checkpoint")
        }
    return [without_clocks(value) for value in entries] if isinstance(entries, list) else entries


def trainer_of(directory: str | os.PathLike, factory: str | None) -> Callable[[str], Trainer]:
    """The function that makes the Trainer of a run: the given `module:function`, or the one `finetune` recorded.

    Raises ValueError if there is neither.
    """
    if factory is not None:
        module, _, name = factory.partition(":")
        sys.path.insert(0, os.getcwd())
        return getattr(importlib.import_module(module), name)
    spec = Path(directory) / SPEC
    if not spec.is_file():
        raise ValueError(
            f"{directory} has no {SPEC}, which finetune writes if its data are files: for a Trainer of your own, give "
            "--trainer MODULE:FUNCTION, a function that returns it for an output directory"
        )
    from .finetune import trainer_for

    arguments = json.loads(spec.read_text(encoding="utf-8"))
    return lambda out: trainer_for(**{"task": DEFAULT, **arguments, "output": out})


def command(directory: str, factory: str | None, steps: int, kills: int) -> int:
    """`minigrad verify-resume DIR`: print the differences; return 0 if there are none, else 1."""
    make = trainer_of(directory, factory)
    told = verify_resume(make, steps)
    print(
        f"{2 * steps} steps, and {steps} + {steps}: {'the same, bit for bit' if not told else 'they differ'}",
        *told,
        sep="\n",
    )
    if kills and not told:
        told = verify_kills(directory, factory, steps, kills)
    return 1 if told else 0


CHILD = """
import sys
from minigrad.train import latest_checkpoint
from minigrad.train.verify import Stop, trainer_of
out, directory, factory, steps, ready = sys.argv[1:6]
trainer = trainer_of(directory, factory or None)(out)
trainer.add_callback(Stop(*range(1, int(steps) + 1)))
open(ready, "w").close()
trainer.train(resume_from_checkpoint=latest_checkpoint(out))
"""


def verify_kills(directory: str, factory: str | None, steps: int, kills: int) -> list[str]:
    """The differences between a run and one that was killed `kills` times at random moments and resumed each time."""
    with TemporaryDirectory(prefix="verify-kills-") as folder:

        def begin(out: Path) -> subprocess.Popen:
            ready.unlink(missing_ok=True)
            given = [str(out), str(directory), factory or "", str(total), str(ready)]
            return subprocess.Popen(
                [sys.executable, "-c", CHILD, *given], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )

        ready, whole, parts = (Path(folder) / name for name in ("ready", "whole", "parts"))
        total, draw, done, runs = 2 * steps, random.Random(0), 0, 0
        began = time.perf_counter()
        process = begin(whole)
        while not ready.exists() and process.poll() is None:
            time.sleep(0.01)
        span = time.perf_counter()
        _, error = process.communicate()
        span = time.perf_counter() - span
        if process.returncode:
            raise ValueError(f"the run ended with status {process.returncode}: {error.strip().splitlines()[-1:]}")
        while done < kills:
            process = begin(parts)
            while not ready.exists() and process.poll() is None:
                time.sleep(0.005)
            time.sleep(draw.uniform(0, span / 3))
            if process.poll() is None:
                process.kill()
                done += 1
            elif not (parts / f"checkpoint-{total}").is_dir():
                raise ValueError(f"the run could not resume: {process.communicate()[1].strip().splitlines()[-1:]}")
            process.communicate()
            if (newest := checkpoint.latest_checkpoint(parts)) and newest.name == f"checkpoint-{total}":
                if differing := differences(newest, whole / newest.name):
                    return differing
                runs += 1
                parts = parts.with_name(f"parts-{runs}")  # this run has ended, so the next kill is in a new one
        begin(parts).communicate()
        told = differences(parts / f"checkpoint-{total}", whole / f"checkpoint-{total}")
        print(
            f"killed {done} times in {time.perf_counter() - began:.0f} s, "
            "each time the newest complete checkpoint was loaded; "
            f"the result {'differs from' if told else 'is, bit for bit,'} that of the uninterrupted run",
            *told,
            sep="\n",
        )
        return told
