"""What cannot work is refused in a sentence, whatever the library below raises."""

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

import napari_unet as nu
from napari_unet.errors import ExportError, ImageError, NapariUnetError

IMAGE = np.random.default_rng(0).random((20, 30)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return nu.new_model("unet", width=4, depth=1)


def unreadable(shape, chunks):
    """A lazy image whose disk is gone."""

    def fail(block):
        raise OSError(5, "Input/output error")

    return da.zeros(shape, chunks=chunks, dtype="f4").map_blocks(fail, dtype="f4", meta=np.zeros((0, 0), "f4"))


@pytest.mark.parametrize(("shape", "chunks"), [((20, 30), 16), ((5000, 5000), 2500)])
def test_image_that_cannot_be_read_is_a_sentence_however_large_it_is(model, shape, chunks):
    with pytest.raises(ImageError, match=r'"image" cannot be read \(Input/output error\)'):
        nu.predict(model, unreadable(shape, chunks), dtype="uint8")


@pytest.mark.parametrize("settings", [{"tile": 0}, {"diameter": -3}, {"turns": "twice"}])
@pytest.mark.parametrize("run", [nu.predict, nu.segment])
def test_settings_that_are_not_allowed_are_a_sentence(model, run, settings):
    with pytest.raises(NapariUnetError, match=r"is not allowed for (tile|diameter_px|turns): .* Choose another value"):
        run(model, IMAGE, **settings)


@pytest.mark.parametrize("image", ["image.tif", [[1, 2], [3, 4]], torch.zeros(20, 30)])
def test_what_is_no_array_is_a_sentence(model, image):
    with pytest.raises(ImageError, match="An array is needed"):
        nu.predict(model, image)


def test_lazy_image_of_unknown_shape_is_a_sentence(model):
    image = da.from_array(IMAGE, chunks=10)
    with pytest.raises(ImageError, match="compute_chunk_sizes"):
        nu.segment(model, image[image[:, 0] > 0.5])


def test_labels_are_not_written_as_floats(model):
    with pytest.raises(ImageError, match=r"float32\. Give an array that fits"):
        nu.segment(model, IMAGE, out=np.zeros(IMAGE.shape, np.float32))


@pytest.mark.parametrize(("run", "shape", "kind"), [(nu.predict, (3, 20, 30), "f4"), (nu.segment, (20, 30), "u4")])
def test_results_that_can_only_be_read_are_a_sentence(model, run, shape, kind, tmp_path):
    array = np.zeros(shape, kind)
    array.setflags(write=False)
    with pytest.raises(ImageError, match="can only be read"):
        run(model, IMAGE, out=array)
    zarr.create_array(tmp_path / "out.zarr", shape=shape, chunks=shape, dtype=kind)
    with pytest.raises(ExportError, match="could not be written"):
        run(model, IMAGE, out=zarr.open_array(tmp_path / "out.zarr", mode="r"))
