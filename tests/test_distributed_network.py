"""How long a network takes, by a formula that is worked out by hand."""

import pytest

from minigrad.distributed.network import LINKS, Link, Network, last_end

FAST, SLOW = Link(100.0, 0.5), Link(10.0, 2.0)


def test_one_rank_sends_nothing():
    network = Network(FAST, SLOW, 4)
    assert network.all_reduce(1000, 1) == network.reduce(1000, 1) == 0


def test_ranks_of_one_machine_use_its_link_alone():
    # two ways of log2(4) = 2 rounds, on each of which a rank sends 3/4 of the bytes
    assert Network(FAST, SLOW, 4).all_reduce(1000, 4) == pytest.approx(2 * (2 * 0.5 + 750 / 100))
    assert Network(FAST, SLOW, 4).reduce(1000, 4) == pytest.approx(2 * 0.5 + 1000 / 100)


def test_machines_exchange_a_part_for_each_of_their_ranks():
    inside, between = 2 * 0.5 + 750 / 100, 1 * 2.0 + 250 / 2 / 10
    assert Network(FAST, SLOW, 4).all_reduce(1000, 8) == pytest.approx(2 * (inside + between))
    assert Network(FAST, SLOW, 4).broadcast(1000, 8) == pytest.approx(3 * 2.0 + 1000 / 10)


def test_bytes_per_rank_grow_to_twice_the_size_and_rounds_with_the_logarithm():
    link = LINKS["infiniband400"]
    times = [Network(link, link, 1).all_reduce(1e9, n) for n in (2, 4, 1024)]
    assert times == sorted(times) and times[-1] == pytest.approx(2e9 / link.bandwidth, rel=0.01)


def test_calls_wait_for_what_they_send_and_for_each_other():
    assert last_end([1, 2, 3], [0.5, 0.5, 0.5]) == 3.5
    assert last_end([1, 1, 1], [2, 2, 2]) == 7
    assert last_end([], []) == 0
