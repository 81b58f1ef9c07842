"""Tile plans, whatever the shape."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.inference.tiles import plan_tiles

strides = st.sampled_from([1, 2, 4, 8, 16])


@st.composite
def plans(draw):
    stride = draw(strides)
    shape = tuple(draw(st.lists(st.integers(1, 70), min_size=1, max_size=3)))
    starts = [draw(st.integers(0, size - 1)) for size in shape]
    window = [slice(a, draw(st.integers(a + 1, size))) for a, size in zip(starts, shape, strict=True)]
    halo = stride * draw(st.integers(0, 3))
    return shape, draw(st.integers(1, 80)), halo, stride, draw(st.sampled_from([None, window]))


@given(plans())
def test_write_regions_partition_the_window(plan):
    shape, tile, halo, stride, window = plan
    written = np.zeros(shape, int)
    for part in plan_tiles(shape, tile, halo, stride, window):
        written[part.write] += 1
    inside = np.zeros(shape, int)
    inside[tuple(window) if window else ...] = 1
    assert (written == inside).all()


@given(plans())
def test_stitching_the_identity_returns_the_image(plan):
    shape, tile, halo, stride, window = plan
    image = np.arange(np.prod(shape)).reshape(shape)
    out = np.full(shape, -1)
    for part in plan_tiles(shape, tile, halo, stride, window):
        out[part.write] = image[part.read][part.crop]
    inside = tuple(window) if window else ...
    assert (out[inside] == image[inside]).all()


@given(plans())
def test_reads_start_on_the_grid_and_keep_their_halo(plan):
    shape, tile, halo, stride, window = plan
    for part in plan_tiles(shape, tile, halo, stride, window):
        for read, write, size in zip(part.read, part.write, shape, strict=True):
            assert read.start % stride == 0
            assert 0 <= read.start <= max(0, write.start - halo)
            assert min(size, write.stop + halo) <= read.stop <= size


@given(plans())
def test_tiles_are_no_larger_than_asked_for(plan):
    shape, tile, halo, stride, window = plan
    limit = -(-tile // stride) * stride
    for part in plan_tiles(shape, tile, halo, stride, window):
        assert all(write.stop - write.start <= limit for write in part.write)
