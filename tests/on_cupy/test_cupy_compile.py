"""NVIDIA's own compiler takes every kernel, for three generations of GPUs, and has registers enough for it."""

import re

import pytest
from cupy.cuda import nvrtc

from minigrad.backend.cuda import compile


@pytest.fixture(autouse=True)
def compiler():
    try:
        nvrtc.getVersion()
    except RuntimeError:
        pytest.skip("there is no NVRTC: pip install nvidia-cuda-nvrtc")


def test_no_kernel_spills_registers(capsys):
    assert compile.main() == 0
    *rows, last = capsys.readouterr().out.splitlines()
    assert (
        re.match(rf"{len(rows) - 1} kernels, each for 3 architectures; none spills registers", last) and len(rows) > 100
    )


def test_a_kernel_that_spills_is_told():
    text = """extern "C" __global__ void greedy(float *x, int n) {
        float r[400];
        for (int i = 0; i < 400; i++) r[i] = x[i * n];
        for (int k = 0; k < n; k++) for (int i = 0; i < 400; i++) r[i] *= r[(i + 1) % 400];
        for (int i = 0; i < 400; i++) x[i] = r[i];
    }"""
    (cost,) = compile.costs(text, "float32", "90")
    assert cost.kernel == "greedy" and cost.spilled > 0
