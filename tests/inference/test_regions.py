"""Windows cut out of windows: every pixel once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.inference.exact.intervals import Interval
from napari_unet.inference.regions import overlap, subtract

SIZE = (7, 8, 9)
intervals = [
    st.tuples(st.integers(0, n - 1), st.integers(1, n))
    .filter(lambda ends: ends[0] < ends[1])
    .map(lambda e: Interval(*e))
    for n in SIZE
]
windows = st.tuples(*intervals)


def counted(parts):
    counts = np.zeros(SIZE, int)
    for part in parts:
        counts[tuple(slice(*interval) for interval in part)] += 1
    return counts


@given(windows, st.lists(windows, max_size=5))
def test_what_is_left_and_what_is_done_make_up_the_whole(window, done):
    left = counted(subtract(window, done))
    assert (left == (counted([window]) > 0) * (counted(done) == 0)).all()
    assert all(part.length > 0 for piece in subtract(window, done) for part in piece)


@given(windows, windows)
def test_an_overlap_is_what_both_have(a, b):
    shared = overlap(a, b)
    both = (counted([a]) > 0) & (counted([b]) > 0)
    assert (counted([shared] if shared else []) == both).all()
    assert shared == overlap(b, a)


@given(windows)
def test_nothing_is_left_of_what_is_done(window):
    assert subtract(window, [window]) == []
    assert subtract(window, []) == [window]
