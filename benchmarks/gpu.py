"""All checks that need a GPU, in one run of under ten minutes: `python -m benchmarks.gpu`.

They are the tests on CuPy, the kernels under compute-sanitizer, and training steps beside torch's (gpu_steps.py).  The
results are printed, and written to benchmarks/results/DATE-gpu.md.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from .gpu_steps import MODES, PRECISIONS, SIZES, Case, save_model, with_minigrad, with_torch
from .pairing import Row, Work, in_turns, shown, sides, table

ROOT = Path(__file__).parent.parent
MINUTES = 9  # minutes after which no further case is started
KERNELS = [f"tests/on_cupy/test_cupy_{name}.py" for name in ("kernels", "random")] + [
    "-k",
    "float32 or out_of_range or mask",
]
TOLERANCES = {"float32": 1e-3, "TF32": 1e-2, "bfloat16": 5e-2}  # of three losses, each after one more step


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; by default all")
    parser.add_argument(
        "--tiny", action="store_true", help="tiny models, to test the program; their times mean nothing"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how many pairs to measure (default: 5)")
    parser.add_argument(
        "--results", type=Path, default=Path(__file__).parent / "results", help="the directory to write to"
    )
    asked = parser.parse_args(argv)
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no part {min(unknown)!r}; there are {', '.join(PARTS)}")
    from minigrad.backend import cuda

    if problem := cuda.missing():
        print(
            f"There is no GPU to measure here: {problem}.  "
            "To see the GPU backend work without one, type: make test-cupy"
        )
        return 1
    asked.until = time.monotonic() + 60 * MINUTES
    text = f"# {datetime.date.today()}, GPU{', tiny sizes' * asked.tiny}\n\n" + "\n".join(cuda.devices()) + "\n"
    for name in asked.parts or PARTS:
        print(f"{name} …", flush=True)
        text += f"\n## {name.capitalize()}\n\n{PARTS[name](asked)}\n"
    print(text)
    asked.results.mkdir(parents=True, exist_ok=True)
    (asked.results / f"{datetime.date.today()}-gpu.md").write_text(text, encoding="utf-8")
    return 0


def tests(asked: argparse.Namespace) -> str:
    """The last line of pytest's report on tests/on_cupy."""
    return outcome([sys.executable, "-m", "pytest", "-q", "tests/on_cupy"], 240)


def sanitizer(asked: argparse.Namespace) -> str:
    """The tests of the kernels under each of compute-sanitizer's tools, with every array allocated separately."""
    if not shutil.which("compute-sanitizer"):
        return "compute-sanitizer is not installed: it comes with the CUDA toolkit."
    program = (
        f"import cupy, pytest, sys; cupy.cuda.set_allocator(None); sys.exit(pytest.main(['-q', '-x', *{KERNELS!r}]))"
    )
    return "\n".join(
        f"- {tool}: "
        + outcome(["compute-sanitizer", "--tool", tool, "--error-exitcode", "1", sys.executable, "-c", program], 60)
        for tool in ("memcheck", "racecheck", "synccheck")
    )


def outcome(command: list[str], seconds: int) -> str:
    """Whether a command succeeded, and the last line it printed; it is stopped after `seconds`."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "MINIGRAD_GPU": "1"}, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return f"not finished after {seconds} s, and stopped"
    lines = (done.stdout + done.stderr).strip().splitlines() or [""]
    return f"{'passed' if done.returncode == 0 else 'FAILED'}: {lines[-1]}" + "".join(
        f"\n      {line}" for line in lines[-20:-1] if done.returncode
    )


def speed(asked: argparse.Namespace) -> str:
    """Training steps beside torch's, in each precision, eager and as a CUDA graph."""
    torch = torch_on_gpu()
    rows, notes = [], [] if torch is True else [torch]
    with TemporaryDirectory() as directory:
        for workload in SIZES:
            for precision in PRECISIONS:
                case = Case(workload, precision, f"{directory}/{workload}", asked.tiny, steps=1 if asked.tiny else 10)
                if time.monotonic() > asked.until:
                    notes.append(f"{case}: left out, the {MINUTES} minutes were over")
                    continue
                if not Path(case.directory).exists():
                    save_model(case)
                with paired(case, torch is True) as both:
                    taken = in_turns(*both, rounds=2 * asked.rounds, warm_up=2)
                    for mode, name in enumerate(MODES):
                        seconds = [[t / case.steps for t in side[mode::2]] for side in taken]
                        why_not = [side.result for side in both if mode and side.result]
                        notes += [f"{case}, {name}: {why}" for why in why_not]
                        if not why_not:
                            rows.append((Row if len(both) == 2 else Alone)(f"{case}, {name}", seconds[0], seconds[-1]))
                print(f"  {case}", flush=True)
    return "\n".join([table(rows), "", *(f"- {note}" for note in notes)])


def torch_on_gpu() -> bool | str:
    """True if torch can use the GPU, or else the reason why not."""
    for name in ("torch", "transformers"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed: minigrad alone, with nothing to compare it with"
    import torch

    return (
        torch.cuda.is_available()
        or "the torch that is installed sees no GPU: minigrad alone, with nothing to compare it with"
    )


@contextmanager
def paired(case: Case, torch: bool) -> Iterator[list[Any]]:
    """Both libraries, each in a process of its own, or only minigrad, in this process."""
    if not torch:
        yield [Here(with_minigrad, case)]
    else:
        with sides(with_minigrad, with_torch, given=(case,), tolerance=TOLERANCES[case.precision]) as both:
            yield both


class Here:
    """A work in this process, with the interface of a Side."""

    def __init__(self, work: Work, *given: Any):
        self.units = work(*given)
        next(self.units)
        self.numbers, self.result = next(self.units), None

    def __call__(self) -> float:
        start = time.perf_counter()
        self.result = next(self.units)
        return time.perf_counter() - start


class Alone(Row):
    """A row without a comparison."""

    def cells(self) -> list[str]:
        return [self.workload, shown(median(self.ours), self.unit), *[""] * 5]


PARTS: dict[str, Callable[[argparse.Namespace], str]] = {"tests": tests, "sanitizer": sanitizer, "speed": speed}

if __name__ == "__main__":  # the processes of `pairing` import this file again
    sys.exit(main())
