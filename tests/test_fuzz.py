"""Some hundred damaged files on every run of the tests, and that the harness would notice; `python -m tests.fuzz` makes
more.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the harness forks")

FAULTS = """
import os, signal, sys, time
sys.path.insert(0, "tests")
import fuzz
from minigrad.pretrained.values import check

def forever(case):
    while True:
        pass

def asleep(case):
    time.sleep(60)

fuzz.SECONDS, fuzz.PATIENCE = 1, 5
fuzz.Case.asleep = asleep
fuzz.Case.killed = lambda case: os.kill(os.getpid(), signal.SIGKILL)
fuzz.Case.hang = forever
fuzz.Case.memory = lambda case: bytearray(2_000_000_000)
fuzz.Case.death = lambda case: fuzz.os.abort()
fuzz.Case.unnamed = lambda case: check("size", 0, "int", "no file")
fuzz.Case.foreign = lambda case: int(case.named)
fuzz.Case.other = lambda case: {}[case.named]
fuzz.Case.touched = lambda case: (case.victim / "thesis.txt").write_text("theirs")
fuzz.Case.refused = lambda case: check("size", 0, "int", case.named)
fuzz.Case.read = lambda case: None
fuzz.KINDS = sys.argv[1:]
fuzz.fuzz(2 * len(fuzz.KINDS))
"""


def test_hundreds_of_damaged_files():
    """No hang, no gigabytes, no raw error, nothing touched: the output says which case it was."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--cases", "330", "--seed", "7"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(
        "0 hangs over 5 s, 0 processes over 1.5 GB or dead, 0 raw errors, 0 changes of other files\n"
    )


def test_the_harness_notices():
    expected = {
        "hang": "hang: more than 1 s",
        "asleep": "hang: no answer for 5 s",
        "memory": "memory",
        "death": "death: the process ended",
        "killed": "death: killed after",
        "unnamed": "raw error",
        "foreign": "raw error",
        "other": "raw error",
        "touched": "touched",
        "refused": "",
        "read": "",
    }
    if not sys.platform.startswith("linux"):
        del expected["memory"]
    done = subprocess.run([sys.executable, "-c", FAULTS, *expected], cwd=ROOT, capture_output=True, text=True)
    for kind, fault in expected.items():
        told = [line.partition("): ")[2] for line in done.stdout.splitlines() if f" ({kind}): " in line]
        assert len(told) == 2 * bool(fault) and all(line.startswith(fault) for line in told), done.stdout + done.stderr
    assert "4 hangs over 1 s" in done.stdout and "6 raw errors, 2 changes of other files" in done.stdout
