"""Images as TIFF keep their values, axes and pixel size, or are refused."""

import numpy as np
import pytest
import tifffile

from napari_unet.axes import PixelSize
from napari_unet.errors import ExportError
from napari_unet.export.images import save_image
from napari_unet.imaging.image import open_image
from napari_unet.imaging.reading import read_image


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, ">u2"])
def test_an_image_comes_back_as_it_was(tmp_path, kind):
    values = np.arange(2 * 3 * 2 * 10 * 12).reshape(2, 3, 2, 10, 12).astype(kind)
    image = open_image(values, "TZCYX", PixelSize(1.5, 0.5, 0.25))
    found = read_image(save_image(tmp_path / "image.tif", image))
    assert found.axes == "TZCYX"
    assert found.dtype == np.dtype(kind).newbyteorder("=")
    assert np.array_equal(found.array, values)
    assert found.pixel_size.along("ZYX") == pytest.approx((1.5, 0.5, 0.25))


def test_booleans_and_halves_become_what_programs_open(tmp_path):
    for kind, expected in ((bool, np.uint8), (np.float16, np.float32)):
        path = save_image(tmp_path / f"{expected.__name__}.tif", open_image(np.eye(8, dtype=kind)))
        assert tifffile.imread(path).dtype == expected
        assert np.array_equal(tifffile.imread(path), np.eye(8))


@pytest.mark.parametrize("kind", [np.int16, np.uint32, np.int64, np.float64])
def test_nothing_is_cast_with_a_loss(tmp_path, kind):
    with pytest.raises(ExportError, match="TIFF programs open uint8, uint16 and float32"):
        save_image(tmp_path / "image.tif", open_image(np.zeros((8, 8), kind)))
    assert not list(tmp_path.iterdir())
