"""Run the workloads and print their tables: `python -m benchmarks`, or some of them: `python -m benchmarks one_op`."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .pairing import cores, fix_threads, table

WORKLOADS = (
    "mlp",
    "cnn",
    "gpt",
    "minilm_step",
    "lora_step",
    "trainer",
    "bert_base",
    "resnet",
    "lstm",
    "one_op",
    "import_time",
    "layers",
    "kernels",
    "first_step",
    "loading",
    "generation",
    "quantized",
    "shrunk",
    "demo",
    "sizes",
    "scaling",
    "peers",
    "ranks",
)
ON_REQUEST = {"demo"}  # takes many minutes
BUSY = 0.5  # load average above which figures are marked as provisional


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description="minigrad beside torch, on the same cores, in turns"
    )
    parser.add_argument(
        "workloads", nargs="*", metavar="workload", help=f"{', '.join(WORKLOADS)}; by default all but demo"
    )
    parser.add_argument("--rounds", type=int, help="how many pairs to measure; each workload has its own default")
    parser.add_argument("--threads", type=int, default=cores(), help="for each side; all cores by default")
    parser.add_argument(
        "--loops",
        choices=("with", "without", "both"),
        default="with",
        help="with compiled kernels (the extra fast) or without them, or first the one and then the other",
    )
    parser.add_argument("--save", action="store_true", help="write the tables to benchmarks/results/DATE.md as well")
    asked = parser.parse_args()
    if unknown := set(asked.workloads) - set(WORKLOADS):
        parser.error(f"no workload {min(unknown)!r}; there are {', '.join(WORKLOADS)}")
    fix_threads(asked.threads)
    ways = ("with", "without") if asked.loops == "both" else (asked.loops,)
    text = "\n\n".join(measured(asked, way == "with") for way in ways)
    print(text)
    if asked.save:
        file = Path(__file__).parent / "results" / f"{datetime.date.today()}.md"
        file.parent.mkdir(exist_ok=True)
        before = file.read_text() if file.exists() else f"# {datetime.date.today()}\n"
        file.write_text(f"{before}\n{text}\n")


def measured(asked: argparse.Namespace, with_loops: bool) -> str:
    """A description of the machine, and the tables of the workloads, with compiled kernels or without."""
    from minigrad.backend.cpu import loops  # (not above: torch's process imports this file too)

    if not with_loops:
        os.environ["MINIGRAD_LOOPS"] = "0"  # the processes that are started read it
    loops.available.cache_clear()
    machine, tables = description(asked.threads), {}
    for name in asked.workloads or [name for name in WORKLOADS if name not in ON_REQUEST]:
        print(f"{name} …", flush=True)
        module = import_module(f".{name}", __package__)
        rows = module.run(**({"rounds": asked.rounds} if asked.rounds else {}))
        tables.setdefault(getattr(module, "HEADING", "Workloads"), []).extend(rows)  # some have a table of their own
    return "\n\n".join([machine, *(f"## {heading}\n\n{table(rows)}" for heading, rows in tables.items())])


def description(threads: int) -> str:
    """The machine and its load, the versions of libraries, and the BLAS and kernels in use."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    from minigrad import doctor

    names = "numba", "torch", "transformers", "jax", "autograd", "tinygrad"
    packages = ", ".join(filter(None, map(installed, names)))
    load = os.getloadavg()[0]
    busy = f"\n\nThe machine was busy with other work (load {load:.1f} at the start): these figures are provisional."
    return (
        f"{found[1] if found else platform.processor()}, {os.cpu_count()} cores, {threads} threads for each side; "
        f"{platform.system()}, Python {platform.python_version()}, {doctor.libraries()}, {packages}; "
        f"{datetime.datetime.now():%Y-%m-%d %H:%M}." + busy * (load > BUSY)
    )


def installed(package: str) -> str:
    """A package's name and version; "" if it is not installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":  # the processes of `pairing` import this file again
    main()
