"""How filters are cut and images into pieces: all of each once."""

import math

import numpy as np
import pytest
from test_ops_window import TIGHT, R

from minigrad.backend.cpu import cores, im2col
from minigrad.backend.cpu.im2col import Walk
from minigrad.backend.shared.geometry import Geometry

SHAPES = [(6, 8, 2), (12, 4, 1), (64, 64, 1)]  # channels, outputs, groups


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("channels, outputs, groups", SHAPES)
def test_filters_are_cut_and_put_together_again(channels, outputs, groups, whole, monkeypatch):
    monkeypatch.setattr(Walk, "_at_once", lambda self: whole)
    walk, weight = (
        Walk(Geometry((9, 9), TIGHT), 4, channels, outputs, groups, True),
        R(outputs, channels // groups, 3, 3),
    )
    filters = walk.filters(weight)
    assert filters.shape == (walk.steps, groups, outputs // groups, walk.height) and filters.size == weight.size
    again = walk.weight(filters.swapaxes(2, 3).copy().swapaxes(2, 3))
    np.testing.assert_array_equal(again, weight)
    assert again.flags.c_contiguous  # an optimiser takes ten times as long else


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("samples, size", [(1, 9), (7, 30), (64, 14), (16, 1), (33, 112)])
def test_pieces_are_all_places_and_small(samples, size, beside, monkeypatch):
    monkeypatch.setattr(cores, "CORES", 2)
    walk, seen = Walk(Geometry((size, size), TIGHT), samples, 32, 64, 1, beside), np.zeros((samples, size), int)
    for some, rows in walk.pieces():
        seen[some, rows] += 1
        pixels = math.prod(part.stop - part.start for part in (some, rows)) * size
        assert pixels * 96 <= 2 * im2col.MAX_COLUMNS
    assert (seen == 1).all() and len(walk.pieces()) > 1 or samples == 1 == len(walk.pieces()) or size == 1


def test_when_filters_are_whole():
    at = Geometry((14, 14), TIGHT)
    assert Walk(at, 64, 3, 64, 1, True).whole  # pictures have few channels
    assert Walk(at, 2, 64, 512, 1, False).whole  # and few places many outputs
    assert not Walk(at, 64, 32, 64, 1, True).whole
    assert not Walk(Geometry((14, 14), TIGHT._replace(kernel=(1, 3))), 2, 3, 512, 1, False).whole
