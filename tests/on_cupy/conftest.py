"""Tests on CuPy: on the simulated one (`make test-cupy`), or on a real GPU where the variable MINIGRAD_GPU is set."""

import os

import pytest

if not os.environ.get("MINIGRAD_GPU"):
    import cupy_sim  # before anything imports CuPy


@pytest.fixture
def simulated():
    if os.environ.get("MINIGRAD_GPU"):
        pytest.skip("this can be asked of the simulation only")
    return cupy_sim


@pytest.fixture
def capturing(simulated):
    """A function that lets streams say that they are being recorded, or not."""
    yield simulated.capturing
    simulated.capturing(False)


@pytest.fixture
def downloads(simulated):
    """A function that tells how often anything was copied from the device to the host since it was last asked; and that
    nothing else was waited for."""
    copies, waits = (since_last_asked(simulated, what) for what in ("downloads", "waits"))

    def count():
        found = copies()
        assert waits() == found
        return found

    return count


@pytest.fixture
def uploads(simulated):
    """A function that tells how often anything was copied from the host to the device since it was last asked."""
    return since_last_asked(simulated, "uploads")


def since_last_asked(simulated, what):
    seen = simulated.count(what)

    def count():
        nonlocal seen
        before, seen = seen, simulated.count(what)
        return seen - before

    return count
