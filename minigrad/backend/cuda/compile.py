"""Compiles every kernel for several GPUs, without needing one, and prints the resources that each uses.

`make nvrtc`, or `python -m minigrad.backend.cuda.compile`.  NVIDIA's compiler (pip install nvidia-cuda-nvrtc
nvidia-cuda-runtime) generates machine code without a GPU and without a driver.  A kernel that needs more registers than
there are would spill them to memory in each step of a loop, which is an error here.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

from . import random
from .attention import SIZES, tile
from .source import FOLDER, TYPES, source

ARCHITECTURES = "80", "90", "100"  # A100, H100, B200


class Cost(NamedTuple):
    """The resources of one kernel: registers of each thread, bytes of each block's shared memory, bytes spilled."""

    kernel: str
    dtype: str
    architecture: str
    registers: int
    shared: int
    spilled: int


def sources() -> Iterator[tuple[str, str]]:
    """(dtype, source) of all there are."""
    yield "", random.SOURCE
    for file in sorted(FOLDER.glob("*.cu")):
        for dtype in TYPES:
            if file.stem != "flash_attention":
                yield dtype, source(file.stem, dtype)
            elif dtype != "float64":
                yield from (
                    (f"{dtype}, {size}", source("flash_attention", dtype, D=size, TILE=tile(size))) for size in SIZES
                )


def costs(text: str, dtype: str, architecture: str) -> list[Cost]:
    """Compile one source, and read the report of the assembler.

    Raises:
        cupy.cuda.compiler.CompileException: the source is not right; the message is the compiler's.
    """
    from cupy._core import core  # pyright: ignore[reportAttributeAccessIssue]  a Cython module has no types
    from cupy.cuda import compiler

    log = io.StringIO()
    options = (
        *core.assemble_cupy_compiler_options(()),
        "--device-as-default-execution-space",
        "-ftz=true",
        f"-arch=sm_{architecture}",
        "--ptxas-options=-v",
    )
    compiler._NVRTCProgram(text, "kernel.cu", method="cubin").compile(options, log)
    found = []
    for part in log.getvalue().split("Compiling entry function '")[1:]:
        registers, shared = re.findall(r"Used (\d+) registers", part), re.findall(r"(\d+) bytes smem", part)
        spilled = sum(map(int, re.findall(r"(\d+) bytes (?:stack|spill)", part)))
        found.append(
            Cost(
                part[: part.index("'")],
                dtype,
                architecture,
                int(registers[0]),
                int(shared[0]) if shared else 0,
                spilled,
            )
        )
    return found


def main() -> int:
    """Print the table; 1 if any kernel spills."""
    everything = [cost for dtype, text in sources() for name in ARCHITECTURES for cost in costs(text, dtype, name)]
    print(f"{'kernel':32}{'dtype':12}" + "".join(f"sm_{a + ': registers, shared, spilled':36}" for a in ARCHITECTURES))
    table: dict[tuple[str, str], list[Cost]] = {}
    for cost in everything:
        table.setdefault((cost.kernel, cost.dtype), []).append(cost)
    for (kernel, dtype), row in table.items():
        print(f"{kernel:32}{dtype:12}" + "".join(f"{c.registers:14}{c.shared:12}{c.spilled:10}   " for c in row))
    spilled = sorted({f"{c.kernel} ({c.dtype}, sm_{c.architecture})" for c in everything if c.spilled})
    print(
        f"{len(table)} kernels, each for {len(ARCHITECTURES)} architectures; "
        + (f"registers are spilled by {', '.join(spilled)}" if spilled else "none spills registers")
    )
    return bool(spilled)


if __name__ == "__main__":
    sys.exit(main())
