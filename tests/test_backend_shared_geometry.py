"""Windows over axes, counted out one entry at a time."""

from hypothesis import given
from hypothesis import strategies as st

from minigrad.backend.shared.geometry import Geometry, overlap, phases
from minigrad.ops.window import Window

small = st.integers(1, 7)


def test_a_signal_is_an_image_of_width_one():
    at = Geometry((9,), Window((3,), (2,), ((1, 0),), (2,)))
    assert (at.kh, at.kw, at.sh, at.sw, at.top, at.left, at.height, at.width, at.H, at.W) == (
        3,
        1,
        2,
        1,
        1,
        0,
        9,
        1,
        3,
        1,
    )


@given(st.integers(-9, 9), st.integers(0, 9), st.integers(0, 9))
def test_overlap(first, count, size):
    there, here = overlap(first, count, size)
    common = [i for i in range(first, first + count) if 0 <= i < size]
    assert list(range(size)[there]) == common == list(range(first, first + count)[here])


@given(small, small, small)
def test_phases_name_each_entry_once_where_it_is(k, s, d):
    found = {}
    for entries, phase, shift, step in phases(k, s, d):
        for m, entry in enumerate(range(k)[entries]):
            found[entry] = phase + s * (shift + step * m)
    assert found == {entry: d * entry for entry in range(k)}
