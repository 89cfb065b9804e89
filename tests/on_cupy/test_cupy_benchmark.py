"""The script for a real GPU runs, in small, on the simulated one; what it records as a CUDA graph can be recorded."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from benchmarks import gpu, gpu_steps, pairing


def test_the_script(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "torch_on_gpu", lambda: "torch is not looked for here")
    monkeypatch.setattr(gpu, "shutil", SimpleNamespace(which=lambda name: None))
    monkeypatch.setattr(pairing.time, "sleep", lambda seconds: None)
    assert gpu.main(["sanitizer", "speed", "--tiny", "--rounds", "1", "--results", str(tmp_path)]) == 0
    (file,) = tmp_path.iterdir()
    text = file.read_text()
    assert file.name.endswith("-gpu.md") and text in capsys.readouterr().out
    assert "compute-sanitizer is not installed" in text and "- torch is not looked for here" in text
    rows = [line for line in text.splitlines() if "eager" in line]
    assert [row.split(" (")[0] for row in rows] == [
        f"| {workload}" for workload in gpu_steps.SIZES for _ in gpu_steps.PRECISIONS
    ]


def test_the_sanitizer_has_something_to_do():
    """The tests that it is given are there, of our own kernels, those that draw masks too."""
    listed = subprocess.check_output(
        [sys.executable, "-m", "pytest", "--collect-only", *gpu.KERNELS], cwd=gpu.ROOT, text=True
    )
    assert all(f"{file}::" in listed for file in gpu.KERNELS[:2]) and "layer_norm" in listed and "max_pool" in listed


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("workload", gpu_steps.SIZES)
def test_forward_and_backward_can_be_recorded(workload, precision, tmp_path, capturing):
    """A second time: the first compiles."""
    from minigrad import autocast

    case = gpu_steps.Case(workload, precision, str(tmp_path / "model"), tiny=True)
    gpu_steps.save_model(case)
    _, loss_of = gpu_steps.model_of_minigrad(case)
    for second in (False, True):
        capturing(second)
        with autocast("bfloat16", enabled=precision == "bfloat16"):
            loss = loss_of()
        loss.backward()
