"""The benchmarks of several ranks compute what they say, and the failures that they inject end all ranks."""

import pytest
from mpi import needs_mpi

from benchmarks import failures, ranks

STEP = {"forward": [(0.0, 1.0)], "backward": [(1.0, 3.0)], "update": [(3.0, 4.5)]}


def test_what_is_summed_before_the_backward_pass_ends_is_hidden():
    sums = [(1.5, 1.5, 2.5, 8), (2.0, 2.5, 3.5, 8), (2.9, 3.5, 4.0, 8)]
    assert ranks.hidden({**STEP, "sums": sums}) == (1 + 0.5) / (1 + 1 + 0.5)


def test_ranks_are_as_fast_as_the_network_lets_them_be():
    curves = ranks.curves({**STEP, "sums": [(2.0, 2.0, 2.5, 1 << 30), (3.0, 3.0, 4.0, 8)]})
    for same_each, same_all in curves.values():
        assert same_each[0] == same_all[0] == 1
        assert all(fast <= n for fast, n in zip(same_each, ranks.CURVE))
        assert all(part < each for part, each in zip(same_all[1:], same_each[1:]))
    assert curves["infiniband400"][0][-1] > 60, "a sum of 43 ms, while the backward pass goes on for another second"
    assert curves["ethernet1"][0][-1] < 20


@needs_mpi
@pytest.mark.slow
def test_ranks_that_fail_end_all_and_the_run_goes_on(tmp_path):
    """A few kinds of failure at fixed moments; `python -m benchmarks.failures` draws a hundred."""
    for what, rank in (("raises", 1), ("is killed", 0), ("hangs", 1), ("has another version", 1)):
        found = failures.inject(tmp_path / "run", 2, what, rank, 0.1)
        assert not found.reached_the_end and not found.hung and not found.torn and found.told, str(found)
    assert failures.inject(tmp_path / "run", 2, "nothing", 0, 0.0).reached_the_end
    assert failures.inject(tmp_path / "whole", 2, "nothing", 0, 0.0).reached_the_end
    ends = [tmp_path / name / f"checkpoint-{failures.STEPS}" for name in ("run", "whole")]
    assert failures.furthest(*ends) == 0
