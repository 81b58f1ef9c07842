"""Images of any kind, read region by region."""

import dask.array
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.axes import CANONICAL, PixelSize
from napari_unet.errors import AxesError, ChannelError, ImageError
from napari_unet.imaging.image import check_channels, from_canonical, open_image, to_canonical

SIZES = {"T": 2, "C": 3, "Z": 4, "Y": 5, "X": 6}


@st.composite
def some_axes(draw):
    """Draw Y and X, some of T, C and Z, in any order."""
    others = draw(st.sets(st.sampled_from("TCZ")))
    return "".join(draw(st.permutations(sorted(others | {"Y", "X"}))))


def some_array(axes):
    shape = [SIZES[axis] for axis in axes]
    return np.arange(np.prod(shape)).reshape(shape)


@given(some_axes())
def test_canonical_round_trip(axes):
    array = some_array(axes)
    canonical = to_canonical(array, axes)
    assert canonical.shape == tuple(SIZES[axis] if axis in axes else 1 for axis in CANONICAL)
    assert np.shares_memory(canonical, array)
    np.testing.assert_array_equal(from_canonical(canonical, axes), array)


@given(some_axes(), st.data())
def test_reading_a_region_is_slicing_the_canonical_array(axes, data):
    array = some_array(axes)
    image = open_image(array, axes)
    size = image.sizes
    t = data.draw(st.integers(0, size["T"] - 1))
    region = [
        slice(*sorted(data.draw(st.lists(st.integers(0, size[axis]), min_size=2, max_size=2, unique=True))))
        for axis in "ZYX"
    ]
    channels = data.draw(st.none() | st.lists(st.integers(0, size["C"] - 1), min_size=1, max_size=4))
    expected = to_canonical(array, axes)[t][(slice(None), *region)]
    if channels is not None:
        expected = expected[channels]
    np.testing.assert_array_equal(image.read(t, *region, channels), expected)


@given(some_axes())
def test_labels_have_the_axes_of_the_image_without_channels(axes):
    image = open_image(some_array(axes), axes)
    assert image.label_axes == axes.replace("C", "")
    assert image.label_shape == tuple(SIZES[axis] for axis in image.label_axes)


class Counting:
    """An array that counts how much of it is read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __getitem__(self, key):
        part = self.array[key]
        self.read += part.size
        return part


def test_only_the_region_is_read():
    array = Counting(some_array("TZCYX"))
    image = open_image(array, "TZCYX")
    assert array.read == 0
    image.read(1, slice(0, 2), slice(1, 3), slice(2, 5))
    assert array.read == 2 * 3 * 2 * 3


@pytest.mark.parametrize("kind", ["numpy", "zarr", "dask", "memmap", "big-endian"])
def test_arrays_of_any_kind(tmp_path, kind):
    plain = some_array("ZYX").astype(np.uint16)
    stored = tmp_path / "a.npy"
    np.save(stored, plain)
    array = {
        "numpy": lambda: plain,
        "zarr": lambda: zarr.create_array(tmp_path / "a.zarr", data=plain, chunks=(1, 2, 3)),
        "dask": lambda: dask.array.from_array(plain, chunks=2),
        "memmap": lambda: np.load(stored, mmap_mode="r"),
        "big-endian": lambda: plain.astype(">u2"),
    }[kind]()
    block = open_image(array).read(0, slice(1, 3), slice(0, 5), slice(2, 4))
    assert isinstance(block, np.ndarray)
    np.testing.assert_array_equal(block, plain[None, 1:3, :, 2:4])


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (3, 0, 4)])
def test_no_pixels(shape):
    with pytest.raises(ImageError, match="no pixels"):
        open_image(np.zeros(shape))


@pytest.mark.parametrize("dtype", [complex, "U3", object, "datetime64[s]"])
def test_values_that_are_no_numbers(dtype):
    with pytest.raises(ImageError, match="only integer, float and boolean"):
        open_image(np.zeros((3, 4), dtype), name="strange.tif")


def test_axes_are_checked():
    with pytest.raises(AxesError):
        open_image(np.zeros((3, 4, 5, 6)))
    with pytest.raises(AxesError):
        open_image(np.zeros((3, 4)), "ZYX")


def test_defaults():
    image = open_image(np.zeros((3, 4, 5)))
    assert (image.axes, image.pixel_size, image.name) == ("ZYX", PixelSize(), "image")


def test_channels():
    image = open_image(some_array("YXC"), "YXC", name="cells.png")
    assert check_channels(image, None) == (0, 1, 2)
    assert check_channels(image, [2, 0]) == (2, 0)
    for wrong in ([3], [-1], []):
        with pytest.raises(ChannelError, match=r'"cells.png" has 3 channels.*Choose'):
            check_channels(image, wrong)
    assert check_channels(open_image(np.zeros((3, 4))), None) == (0,)
