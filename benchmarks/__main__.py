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
    "loading",
    "generation",
    "demo",
    "sizes",
    "scaling",
    "peers",
)
ON_REQUEST = {"demo"}  # takes many minutes
BUSY = 0.5  # programs waiting for a core, on average, above which figures are provisional


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description="minigrad beside torch, on the same cores, in turns"
    )
    parser.add_argument(
        "workloads", nargs="*", metavar="workload", help=f"{', '.join(WORKLOADS)}; by default all but demo"
    )
    parser.add_argument("--rounds", type=int, help="how many pairs to measure; each workload has its own default")
    parser.add_argument("--threads", type=int, default=cores(), help="for each side; all cores by default")
    parser.add_argument("--save", action="store_true", help="write the tables to benchmarks/results/DATE.md as well")
    asked = parser.parse_args()
    if unknown := set(asked.workloads) - set(WORKLOADS):
        parser.error(f"no workload {min(unknown)!r}; there are {', '.join(WORKLOADS)}")
    fix_threads(asked.threads)
    machine, tables = description(asked.threads), {}
    for name in asked.workloads or [name for name in WORKLOADS if name not in ON_REQUEST]:
        print(f"{name} …", flush=True)
        module = import_module(f".{name}", __package__)
        rows = module.run(**({"rounds": asked.rounds} if asked.rounds else {}))
        tables.setdefault(getattr(module, "HEADING", "Workloads"), []).extend(rows)  # some have a table of their own
    text = "\n\n".join([machine, *(f"## {heading}\n\n{table(rows)}" for heading, rows in tables.items())])
    print(text)
    if asked.save:
        file = Path(__file__).parent / "results" / f"{datetime.date.today()}.md"
        file.parent.mkdir(exist_ok=True)
        before = file.read_text() if file.exists() else f"# {datetime.date.today()}\n"
        file.write_text(f"{before}\n{text}\n")


def description(threads: int) -> str:
    """The machine, what else it was doing, and the versions."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    from minigrad.backend.cpu import loops, mkl  # (not above: torch's process imports this file too)

    names = (
        "numpy",
        *(["mkl"] if mkl.path() else []),
        *(["numba"] if loops.available() else []),
        "torch",
        "transformers",
        "jax",
        "autograd",
        "tinygrad",
    )
    packages = ", ".join(filter(None, map(installed, names)))
    load = os.getloadavg()[0]
    busy = f"\n\nThe machine was busy with other work (load {load:.1f} at the start): these figures are provisional."
    return (
        f"{found[1] if found else platform.processor()}, {os.cpu_count()} cores, {threads} threads for each side; "
        f"{platform.system()}, Python {platform.python_version()}, {packages}; "
        f"{datetime.datetime.now():%Y-%m-%d %H:%M}." + busy * (load > BUSY)
    )


def installed(package: str) -> str:
    """Its name and version, or nothing."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":  # the processes of `pairing` import this file again
    main()
