"""The real CuPy on a machine without a GPU.  Import this before cupy; docs/simulated-cupy.md explains it.

CuPy's modules call CUDA through tables of C functions (Cython's `__pyx_capi__`) in two small modules that can be
imported by themselves.  Here the functions in those tables are replaced by ours, whose device is the CPU; then CuPy is
imported, every other line of it as it was released.  It relies on what CuPy does not promise, hence CuPy 14.2 and no
other.
"""

import ctypes
import os
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from types import ModuleType

from . import compiler, precompiled

RUNTIME = """
    deviceSynchronize setDevice getDevice getDeviceCount deviceGetAttribute deviceCanAccessPeer driverGetVersion
    _ensure_context check_status malloc mallocAsync hostAlloc free freeAsync freeHost memcpy memcpyAsync memset
    memsetAsync memGetInfo pointerGetMemoryType streamCreate streamCreateWithFlags streamCreateWithPriority
    streamDestroy streamQuery streamSynchronize streamWaitEvent streamIsCapturing eventCreate eventCreateWithFlags
    eventDestroy eventQuery eventSynchronize eventRecord eventElapsedTime""".split()
DRIVER = """
    moduleLoadData moduleGetFunction moduleGetGlobal moduleUnload launchKernel funcGetAttribute funcSetAttribute
    occupancyMaxActiveBlocksPerMultiprocessor occupancyMaxPotentialBlockSize""".split()
PROPERTIES = dict(
    name=b"simulated",
    multiProcessorCount=132,
    maxThreadsPerBlock=1024,
    warpSize=32,
    major=9,
    minor=0,
    totalGlobalMem=16 << 30,
    sharedMemPerBlock=49152,
    maxThreadsPerMultiProcessor=2048,
    regsPerBlock=65536,
    maxGridSize=(2**31 - 1, 65535, 65535),
    maxThreadsDim=(1024, 1024, 64),
)

_kept = []  # what C holds a pointer to


def count(what: str) -> int:
    """How many "launches", "allocations", "uploads" (to the device), "downloads" (to the host), or "waits" there have
    been.
    """
    return ctypes.c_longlong.in_dll(_runtime, what).value


def capturing(on: bool) -> None:
    """Let streams say that they are being recorded into a CUDA graph, so that CuPy refuses what cannot be."""
    ctypes.c_int.in_dll(_runtime, "capturing").value = on


def _replace(module: ModuleType, name: str, function: object) -> None:
    """Put another C function under a name in the table of a module of CuPy's, under the signature it has there."""
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    signature = ctypes.create_string_buffer(api.PyCapsule_GetName(module.__pyx_capi__[name]))
    _kept.extend([signature, function])
    address = ctypes.cast(function, ctypes.c_void_p).value
    module.__pyx_capi__[name] = api.PyCapsule_New(address, ctypes.cast(signature, ctypes.c_char_p), None)


def _replace_functions(runtime: ModuleType, driver: ModuleType) -> None:
    for module, names in ((runtime, RUNTIME), (driver, DRIVER)):
        for name in names:
            clash = name in ("malloc", "free", "memcpy", "memset")  # of the C library
            _replace(module, name, getattr(_runtime, f"device_{name}" if clash else name))
    runtime.getDeviceProperties = lambda device: PROPERTIES
    runtime.pointerGetAttributes = lambda address: runtime.PointerAttributes(0, address, 0, 2)
    for name, argument in (("getDeviceProperties", ctypes.c_int), ("pointerGetAttributes", ctypes.c_ssize_t)):
        python = getattr(runtime, name)
        _replace(
            module=runtime,
            name=name,
            function=ctypes.PYFUNCTYPE(ctypes.py_object, argument, ctypes.c_int)(lambda x, _, python=python: python(x)),
        )
    # The same, where Python asks.
    runtime.getDevice, runtime.getDeviceCount, runtime.setDevice = lambda: 0, lambda: 1, lambda device: None
    runtime.driverGetVersion = runtime.runtimeGetVersion = lambda: 13020
    runtime.deviceGetAttribute = lambda attribute, device: _runtime.deviceGetAttribute(attribute, device, 0)
    runtime.deviceSynchronize, runtime.memGetInfo = lambda: _runtime.deviceSynchronize(0), lambda: (8 << 30, 16 << 30)
    runtime.streamCreate, runtime.streamCreateWithFlags = lambda: 1, lambda flags: 2
    runtime.streamCreateWithPriority, runtime.streamDestroy = lambda flags, priority: 3, lambda stream: None
    runtime.streamSynchronize = lambda stream: _runtime.streamSynchronize(ctypes.c_ssize_t(stream), 0)
    runtime.streamWaitEvent = lambda *arguments: None
    runtime.eventCreateWithFlags, runtime.eventDestroy = lambda flags: 4, lambda event: None
    runtime.eventRecord = lambda event, stream: None
    runtime.eventSynchronize = lambda event: _runtime.eventSynchronize(ctypes.c_ssize_t(event), 0)
    runtime.eventElapsedTime = lambda start, end: 0.001
    runtime.memcpy = lambda to, source, size, kind: _runtime.device_memcpy(
        *map(ctypes.c_ssize_t, (to, source, size)), kind, 0
    )
    runtime.memcpyAsync = lambda to, source, size, kind, stream: runtime.memcpy(to, source, size, kind)
    runtime.memsetAsync = lambda address, value, size, stream: ctypes.memset(address, value, size) and None


def _provide_cublas() -> None:
    """Load our libcublas under its name, so that CuPy's module finds it loaded.

    Of every function that module asks for there is a weak one, which says that it is not supported; those in blas.cpp
    win.
    """
    theirs = next(Path(sys.modules["cupy_backends"].__file__).parent.glob("cuda/libs/cublas*.so"))
    asked = subprocess.check_output(["nm", "-D", "--undefined-only", str(theirs)], text=True).split()
    names = sorted({name.partition("@")[0] for name in asked if name.startswith("cublas")})
    text = "".join(f'extern "C" __attribute__((weak)) int {name}() {{ return 15; }}\n' for name in names)
    rest = compiler.CACHE / f"blas-{compiler.digest(text)}.cpp"
    compiler.write(rest, text)
    ours = compiler.build(compiler.HERE / "blas.cpp", "libcublas.so.13", str(rest), "-Wl,-soname,libcublas.so.13")
    ctypes.CDLL(str(ours), mode=ctypes.RTLD_GLOBAL)
    try:
        from cuda import pathfinder
    except ImportError:
        return
    load, simulated = (
        pathfinder.load_nvidia_dynamic_lib,
        ("cublas", "cublasLt", "curand", "cusolver", "cusparse", "nvJitLink"),
    )
    pathfinder.load_nvidia_dynamic_lib = lambda name: None if name in simulated else load(name)


def _compile(source, options=(), *, name_expressions=None, **ignored):
    """In place of cupy.cuda.compiler._compile_module_with_cache."""
    from cupy.cuda import compiler as theirs
    from cupy.cuda import function

    try:
        library, templates = compiler.kernel_library(source, options, name_expressions)
    except compiler.CompileError as error:
        raise theirs.CompileException(str(error), source, "kernel.cu", tuple(options), "g++") from None
    module = function.Module()
    module.load(str(library).encode())
    if templates:
        module._set_mapping(templates)
    return module


def _check_version() -> None:
    if "cupy" in sys.modules:
        raise ImportError("cupy is imported already, and on a real CUDA: import cupy_sim first")
    try:
        found = metadata.version("cupy-cuda13x")
    except metadata.PackageNotFoundError:
        found = "none"
    if not found.startswith("14.2."):
        raise ImportError(
            f'cupy-cuda13x 14.2 can be simulated, but there is {found}: pip install "cupy-cuda13x==14.2.*"'
        )


_check_version()
os.environ["CUPY_ACCELERATORS"] = ""  # no CUB, which is finished CUDA code
_runtime = ctypes.PyDLL(
    str(
        compiler.build(
            compiler.HERE / "runtime.c", "runtime.so", f"-I{sysconfig.get_paths()['include']}", compiler="gcc"
        )
    )
)
for _name in ("device_memcpy", "deviceSynchronize", "streamSynchronize", "eventSynchronize"):
    getattr(_runtime, _name).restype = ctypes.py_object
import cupy_backends.cuda.api.driver as _driver  # noqa: E402
import cupy_backends.cuda.api.runtime as _cuda  # noqa: E402

_replace_functions(_cuda, _driver)
_provide_cublas()
sys.modules["cupy_backends.cuda.libs.curand"] = precompiled.curand()

import cupy as _cupy  # noqa: E402
from cupy.cuda import compiler as _compiler  # noqa: E402
from cupy.cuda import thrust as _thrust  # noqa: E402

_compiler._compile_module_with_cache = _compile
_thrust.sort, _thrust.argsort, _thrust.lexsort = precompiled.sort, precompiled.argsort, precompiled.lexsort
precompiled.replace_solvers()
if compiler.SANITIZE:
    _cupy.cuda.set_allocator(None)  # one allocation for each array, so that the sanitizer sees where each one ends
