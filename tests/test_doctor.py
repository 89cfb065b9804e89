"""The page says what is there, and for what is not, what to type."""

import configparser
import re
from pathlib import Path

import numpy as np

from minigrad import __version__, cli, doctor
from minigrad.backend import cuda

SETUP = Path(__file__).parents[1] / "setup.cfg"


def test_what_is_there():
    lines = dict(line.split(maxsplit=1) for line in doctor.report().splitlines())
    assert lines["minigrad"].startswith(f"{__version__}, Python 3.")
    assert re.match(
        rf"NumPy {re.escape(np.__version__)}, "
        r"products by \S+ \d\S*, (compiled|NumPy.s) kernels(, which multiply large matrices)?, "
        r"\d+ threads on \d+ cores.*(GiB free|unknown)$",
        lines["cpu"],
    )
    assert lines["[testing]"].endswith(f"pytest {doctor.installed('pytest')}")


def test_what_is_missing(monkeypatch):
    monkeypatch.setattr(cuda, "missing", lambda: "the driver sees no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(doctor, "installed", lambda package: None)
    page = doctor.report()
    assert "cuda       not available: the driver sees no GPU: check nvidia-smi" in page
    for extra in doctor.EXTRAS:
        assert f'pip install "minigrad-learn[{extra}]"' in page
    monkeypatch.delattr("os.sysconf")
    assert doctor.memory() == "memory unknown"


def test_limits_of_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert " because of " in doctor.cpu() and "OMP_NUM_THREADS=1" in doctor.cpu()


def test_extras_are_those_of_the_package():
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    extras = setup["options.extras_require"]
    for extra, (_, packages) in doctor.EXTRAS.items():
        assert [re.split(r"[\[;>]", line)[0] for line in extras[extra].split("\n") if line] == packages
    assert {"cuda12", "cuda13"} <= extras.keys() and all(f"[{extra}]" in cuda.INSTALL for extra in ("cuda12", "cuda13"))


def test_the_command(capsys):
    assert cli.main(["doctor"]) == 0
    # what is free may have changed
    assert capsys.readouterr().out.strip() == doctor.report() or "GiB" in doctor.memory()


def test_versions():
    assert cuda.version(13020) == "13.2" and doctor.gibibytes(3 << 29) == "1.5 GiB"
