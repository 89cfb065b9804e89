"""MKL: found where pip puts it, left alone where it is not wanted, and right."""

import os
import subprocess
import sys

import numpy as np
import pytest

from minigrad.backend.cpu import blas, mkl

here = pytest.mark.skipif(mkl.path() is None, reason="MKL is not installed: pip install 'minigrad-learn[mkl]'")


@pytest.fixture
def fresh():
    """What is remembered of MKL forgotten, before and after."""
    for remembered in (mkl.function, mkl.on_threads, mkl.tbb, blas._product):
        remembered.cache_clear()
    yield
    for remembered in (mkl.function, mkl.on_threads, mkl.tbb, blas._product):
        remembered.cache_clear()


def test_it_is_found_where_pip_puts_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.delenv("MINIGRAD_BLAS", raising=False)
    assert mkl.path() is None
    (tmp_path / "lib").mkdir()
    for version in "2", "3":
        (tmp_path / "lib" / f"libmkl_rt.so.{version}").touch()
    assert mkl.path() == tmp_path / "lib" / "libmkl_rt.so.3"
    monkeypatch.setenv("MINIGRAD_BLAS", "numpy")
    assert mkl.path() is None


def test_without_it_numpy_answers(monkeypatch, fresh):
    monkeypatch.setenv("MINIGRAD_BLAS", "numpy")
    assert mkl.function("cblas_sgemm") is None and blas._product() is blas._numpys_product
    assert mkl.tbb() is None


def test_what_is_damaged_counts_as_not_installed(tmp_path, monkeypatch, fresh):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.delenv("MINIGRAD_BLAS", raising=False)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libmkl_rt.so.2").write_bytes(b"no library")
    assert mkl.path() is not None and mkl.function("cblas_sgemm") is None and mkl.tbb() is None


def test_it_is_left_alone_where_numpy_uses_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libmkl_rt.so.2").touch()
    monkeypatch.setattr(np, "show_config", lambda mode: {"Build Dependencies": {"blas": {"name": "mkl-sdl"}}})
    assert mkl.path() is None


@here
def test_with_it_products_are_right(monkeypatch, fresh):
    monkeypatch.delenv("MINIGRAD_BLAS", raising=False)
    assert blas._product() is not blas._numpys_product
    a, b, out = np.arange(6, dtype="f4").reshape(2, 3), np.ones((3, 2), "f4"), np.ones((2, 2), "f4")
    blas.gemm(a, b, out, add=True)
    assert out.tolist() == [[4, 4], [13, 13]]


@here
def test_torch_that_comes_later_keeps_its_threads():
    code = (
        "import numpy as np; from minigrad import functional as F; x = np.ones((600, 600), 'f4');"
        "F.gelu(F.linear(x, x)); import torch; import os;"
        "assert torch.get_num_threads() == len(os.sched_getaffinity(0)), torch.get_num_threads()"
    )
    pytest.importorskip("torch")
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MINIGRAD_BLAS", "OMP_NUM_THREADS")
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
