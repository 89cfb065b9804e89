"""Which library holds an array, and what a user without a GPU reads who asks for one."""

import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from minigrad import backend
from minigrad.backend import Backend, BackendUnavailable
from minigrad.tensor import Tensor


class Strange(np.ndarray):
    """A subclass, as np.memmap is."""


def test_the_array_says_where_it_lives():
    assert backend.of(np.zeros(2)) is backend.host is backend.get("cpu")
    assert backend.of(np.zeros(2).view(Strange), np.float32(1), 2, 2.5, True, None) is backend.host
    assert backend.of(3.0, None) is backend.of() is backend.host
    array = np.zeros(2)
    assert (
        backend.host.to_numpy(array) is array
        and backend.host.xp is np
        and backend.host.erf(np.zeros(2)).tolist() == [0, 0]
    )


@pytest.mark.parametrize("thing", ["text", [1.0], {1: 2}, object()])
def test_what_is_no_array(thing):
    with pytest.raises(
        TypeError, match=f"{type(thing).__name__} is not an array: give a Tensor, a NumPy or CuPy array, or a number"
    ):
        backend.of(thing)


def test_an_array_of_another_library_has_a_way_in():
    foreign = type("Foreign", (), {"__dlpack__": lambda self: None, "__module__": "elsewhere"})()
    with pytest.raises(TypeError, match=r"elsewhere.Foreign is another library's array: mg.from_dlpack\(x\)"):
        backend.of(foreign)


@pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda:0", None])
def test_an_unknown_device(name):
    with pytest.raises(ValueError, match=f'device {name!r} is not known: type "cpu" or "cuda"'):
        backend.get(name)


# A second library, which holds its arrays apart from NumPy's


class Boxed:
    dtype, shape, ndim, size = np.dtype("f4"), (2,), 1, 2

    def __init__(self, array):
        self.array = array


@pytest.fixture
def elsewhere(monkeypatch):
    monkeypatch.setattr(backend, "known", dict(backend.known))
    xp = SimpleNamespace(asarray=lambda a, dtype=None: a if isinstance(a, Boxed) else Boxed(np.asarray(a, dtype)))
    return backend.register(
        Backend(
            name="cuda",
            xp=xp,
            array=Boxed,
            to_numpy=lambda a: a.array,
            erf=abs,
            normal_cdf=abs,
            share=lambda work, pieces: list(map(work, pieces)),
            kernels={},
        )
    )


def test_a_third_library_is_one_record(elsewhere):
    assert backend.of(Boxed(np.zeros(2)), 1.0, None) is elsewhere is backend.get("cuda")
    x = Tensor([1.0, 2.0], device="cuda")
    assert x.device == "cuda" and isinstance(x.data, Boxed) and x.numpy().tolist() == [1, 2]
    assert Tensor(x, device="cpu").data.tolist() == [1, 2]


def test_operands_on_two_devices(elsewhere):
    with pytest.raises(TypeError, match=r"operands live on cuda and on cpu: move one of them with .to\('cuda'\)"):
        Tensor(Boxed(np.zeros(2))) + Tensor([1.0, 2.0])


# Every way in which CuPy can be missing


class CUDARuntimeError(RuntimeError):
    def __init__(self, status):
        super().__init__(f"cudaError {status}")
        self.status = status


def raiser(error):
    def function(*args, **kwargs):
        raise error

    return function


def fake_cupy(devices, ones=np.ones):
    """What `import cupy` would give: a module with so much of CuPy as is asked before the first array."""
    cupy = ModuleType("cupy")
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError, getDeviceCount=devices, runtimeGetVersion=lambda: 13020
    )
    cupy.cuda, cupy.ones, cupy.ndarray, cupy.asnumpy = SimpleNamespace(runtime=runtime), ones, Boxed, lambda a: a.array
    return cupy


class Finder:
    """Stands before the import system, and says of cupy what it was told to say."""

    def __init__(self, error):
        self.error = error

    def find_spec(self, name, path=None, target=None):
        if name == "cupy":
            raise self.error


MISSING = {
    "not installed": (
        ModuleNotFoundError("No module named 'cupy'", name="cupy"),
        r'CuPy is not installed: pip install "minigrad-learn\[cuda13\]"',
    ),
    "a part is missing": (
        ModuleNotFoundError("No module named 'fastrlock'", name="fastrlock"),
        r"installed but broken \(No module named 'fastrlock'\)",
    ),
    "two wheels": (
        ImportError("libcudart.so.12: cannot open"),
        r"broken \(libcudart.so.12.*uninstall every cupy-\* package",
    ),
    "a wrong numpy": (AttributeError("_ARRAY_API not found"), "broken"),
    "no driver": (
        fake_cupy(raiser(CUDARuntimeError(35))),
        "no NVIDIA driver, or it is too old for CUDA 13: install or update the driver",
    ),
    "no device": (fake_cupy(raiser(CUDARuntimeError(100))), "sees no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES"),
    "device hidden": (fake_cupy(lambda: 0), "sees no GPU"),
    "runtime fails": (fake_cupy(raiser(CUDARuntimeError(999))), r"the CUDA runtime does not answer \(cudaError 999\)"),
    "no libraries": (
        fake_cupy(lambda: 1, raiser(ImportError("Failure finding libcublasLt.so.13\nlong advice"))),
        r"cannot compute on it \(Failure finding libcublasLt.so.13\): the CUDA libraries come with pip install",
    ),
    "an error without words": (fake_cupy(lambda: 1, raiser(RuntimeError())), r"cannot compute on it \(RuntimeError\)"),
}


@pytest.mark.parametrize("way", MISSING)
@pytest.mark.parametrize(
    "ask", [lambda: backend.get("cuda"), lambda: Tensor([1.0], device="cuda"), lambda: Tensor([1.0]).to("cuda")]
)
def test_one_clear_error_for_each_way_cupy_can_be_missing(way, ask, monkeypatch):
    found, text = MISSING[way]
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    if isinstance(found, Exception):
        monkeypatch.setattr(sys, "meta_path", [Finder(found), *sys.meta_path])
    else:
        monkeypatch.setitem(sys.modules, "cupy", found)
    with pytest.raises(
        BackendUnavailable, match=f"^device 'cuda' was asked for, but .*{text}.*Or use device='cpu'.$"
    ) as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_where_cupy_works_it_is_registered_once(monkeypatch):
    monkeypatch.setattr(backend, "known", dict(backend.known))
    special, extensions = ModuleType("cupyx.scipy.special"), ModuleType("cupyx")
    extensions.errstate = lambda **how: None
    special.erf = abs
    for name, module in {
        "cupy": fake_cupy(lambda: 1),
        "cupyx": extensions,
        "cupyx.scipy": ModuleType("cupyx.scipy"),
        "cupyx.scipy.special": special,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    cuda = backend.get("cuda")
    assert cuda is backend.get("cuda") is backend.of(Boxed(np.zeros(2))) and cuda.name == "cuda" and cuda.erf is abs
    assert cuda.kernels["keep_mask"] is not backend.host.kernels["keep_mask"]


# The front door


def imported_by(statement):
    """The packages that are loaded after this statement and were not before, in a fresh Python."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return {name.partition(".")[0] for name in loaded}


def test_import_minigrad_loads_numpy_and_nothing_heavier():
    ours = imported_by("import minigrad") - imported_by("import numpy") - set(sys.stdlib_module_names)
    assert ours == {"minigrad"}


def test_a_user_of_layers_and_losses_needs_numpy_alone():
    loaded = imported_by("from minigrad import nn, optim, losses, functional, schedule, metrics, data, pretrained")
    heavy = {
        "cupy",
        "cupyx",
        "torch",
        "transformers",
        "tokenizers",
        "safetensors",
        "ml_dtypes",
        "tqdm",
        "matplotlib",
        "scipy",
        "hypothesis",
    }
    assert loaded & heavy == set()


@pytest.mark.skipif(os.name != "posix", reason="mallopt is a function of the C library of Linux")
@pytest.mark.parametrize(("variable", "changes"), [("", "2 10"), ("1", "0 None")])
def test_what_import_changes_in_the_process_can_be_declined(variable, changes):
    code = """if True:
        import ctypes, os, types
        calls, load = [], ctypes.CDLL
        process = types.SimpleNamespace(mallopt=lambda *options: calls.append(options))
        ctypes.CDLL = lambda name, *rest: process if name is None else load(name, *rest)
        import minigrad
        print(len(calls), os.environ.get("OPENBLAS_THREAD_TIMEOUT"))"""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"MINIGRAD_KEEP_PROCESS": variable},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == changes
