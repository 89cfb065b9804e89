"""CUDA C++ compiled by g++: what stands in for NVRTC.

Compiled kernels are kept, each under the hash of all it was made from.
"""

import functools
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("CUPY_SIM_CACHE") or Path.home() / ".cache" / "cupy-sim")
SANITIZE = ["-fsanitize=address", "-g"] if os.environ.get("CUPY_SIM_ASAN") else []
OPTIONS = [
    "-O1",
    "-std=c++17",
    "-w",
    "-fpermissive",
    "-fPIC",
    "-ffp-contract=off",
    "-D__CUDACC_VER_MAJOR__=13",
    *SANITIZE,
]
HEADERS = "complex.cuh", "carray.cuh", "atomics.cuh", "math_constants.h", "float16.cuh", "bfloat16.cuh"  # CuPy's

BARRIER = re.compile(r"__syncthreads|__syncwarp|__shfl|__ballot|__any_sync|__all_sync")
BOUNDS = r"(?:__launch_bounds__\s*\([^)]*\)\s*)?"
KERNEL = re.compile(rf"(template\s*<[^>]*>\s*)?(?:extern\s+\"C\"\s*)?__global__\s+{BOUNDS}void\s+{BOUNDS}(\w+)\s*\(")
DYNAMIC_SHARED = re.compile(
    r"extern\s+__shared__\s+(?:__align__\(\d+\)\s*)?([\w:]+(?:\s+[\w:]+)*?)\s+(\w+)\s*\[\s*\]\s*;"
)

watchers = []  # each is called with (source, options, name_expressions) of every kernel
compiled = []  # the files of those that were not in the cache


def build(source: Path, name: str, *options: str, compiler: str = "g++") -> Path:
    """The shared library of a source file, from the cache if it is there."""
    library = CACHE / digest(source.read_text(), options, compiler) / name
    if not library.exists():
        call([compiler, "-O2", "-w", "-shared", "-fPIC", str(source), *options], library)
    return library


def kernel_library(source: str, options: tuple, name_expressions: tuple | None) -> tuple[Path, dict | None]:
    """The shared library of a CUDA source, with a function launch_NAME for each kernel in it; and the names of its
    templates.
    """
    for watcher in watchers:
        watcher(source, options, name_expressions)
    barriers = "true" if BARRIER.search(source) else "false"
    launched = dict.fromkeys(name for template, name in KERNEL.findall(source) if not template)
    functions = {name: name for name in launched} | {
        f"template{i}": name for i, name in enumerate(name_expressions or ())
    }
    body = DYNAMIC_SHARED.sub(r"\1* \2 = (\1*)sim::dynamic_shared_memory();", source)
    text = (
        body
        + "".join(
            f'\nextern "C" void launch_{symbol}(unsigned *sizes, size_t shared, void **arguments) '
            f"{{ sim::run(&{name}, sizes, shared, {barriers}, arguments); }}"
            for symbol, name in functions.items()
        )
        + "\n"
    )
    defined = [o for o in options if o.startswith("-D")]
    library = CACHE / f"{digest(text, defined, circumstances())}.so"
    if not library.exists():
        unit = library.with_suffix(f".{os.getpid()}.cpp")
        write(unit, text)
        # What cupyx.jit makes includes CuPy's headers by itself, and wants <tuple> before them.
        before = [HERE / "device.h", "tuple"] if "CUPY_JIT_MODE" in text + str(defined) else [header()]
        call(
            ["g++", *OPTIONS, *includes(), *defined, "-shared", *(f"-include{name}" for name in before), str(unit)],
            library,
        )
        unit.unlink()
        compiled.append(library)
    return library, {name: f"template{i}" for i, name in enumerate(name_expressions)} if name_expressions else None


def includes() -> list[str]:
    """Where CuPy keeps the headers its kernels include; cuda_fp16.h and cuda_bf16.h are empty, since device.h has all
    of them.
    """
    import cupy

    here = Path(cupy.__file__).parent / "_core" / "include"
    empty = CACHE / "include"
    for name in ("cuda_fp16.h", "cuda_bf16.h"):
        write(empty / name, "")
    cccl = [here / "cupy" / "_cccl" / part for part in ("cub", "thrust", "libcudacxx")]
    return [f"-I{path}" for path in (HERE, empty, *cccl, here)]


@functools.cache
def circumstances() -> str:
    """All that a compiled kernel depends on, apart from its source."""
    import cupy

    if not shutil.which("g++"):
        raise RuntimeError("simulated CuPy compiles its kernels with g++, which is not installed: apt-get install g++")
    version = subprocess.check_output(["g++", "--version"], text=True)
    return digest([file.read_text() for file in sorted(HERE.glob("*.h"))], HEADERS, OPTIONS, cupy.__version__, version)


@functools.cache
def header() -> Path:
    """device.h with CuPy's own headers, compiled once: parsing them is most of the work of compiling a small kernel."""
    path = CACHE / digest(circumstances(), includes()) / "kernel.h"
    write(path, '#include "device.h"\n' + "".join(f"#include <cupy/{name}>\n" for name in HEADERS))
    compiled_header = path.with_suffix(".h.gch")
    if not compiled_header.exists():
        call(["g++", *OPTIONS, *includes(), "-x", "c++-header", str(path)], compiled_header)
    return path


def write(path: Path, text: str) -> None:
    """Make a text file, at once: another process may be reading it, or making it as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def call(command: list[str], output: Path) -> None:
    """Run a compiler, and put its output in place at once."""
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f"{output.name}.{os.getpid()}")
    done = subprocess.run([*command, "-o", str(part)], capture_output=True, text=True)
    if done.returncode:
        raise CompileError(done.stderr[:6000])
    part.replace(output)


class CompileError(Exception):
    """What g++ had to say."""
