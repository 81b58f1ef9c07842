"""Flows on their way from the network to objects: tiles, turns, other scales, bytes and files."""

import numpy as np
import pytest
import torch
import zarr

import napari_unet as nu
from napari_unet.events import finish
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import open_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.flipping import flip_events
from napari_unet.inference.pipeline import predict_events
from napari_unet.inference.segmentation import segment_events
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import decode
from napari_unet.weights.flows import with_flows

RAW = Normalization(method="fixed", low=(0.0,), high=(1.0,))


@pytest.fixture(scope="module")
def model():
    """A network whose flows depend on all that it sees, by chance."""
    made = with_flows(nu.new_model("unet", width=4, depth=3)).with_spec(normalization=RAW, trained=True)
    generator = torch.Generator().manual_seed(1)
    for parameter in made.network.parameters():
        spread = 0.5 if len(parameter) == 5 else 0.3 * (parameter.ndim == 1)
        parameter.data.add_(torch.empty_like(parameter).normal_(0, 1, generator=generator) * spread)
    return made


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).normal(size=(90, 120)).astype(np.float32)


def maps_of(model, picture, **how):
    return finish(predict_events(model, open_image(picture), InferenceConfig(**how))).probabilities[:, 0, 0]


def whole_pass(model, picture):
    """Classes (3, Y, X), and flows (2, Y, X) from -1 to 1, of the whole image at once."""
    with torch.no_grad():
        logits = model.network.eval().on_grid(torch.from_numpy(picture.copy())[None, None])[0]
    return torch.softmax(logits[:3], 0).numpy(), torch.tanh(logits[3:] / 2).numpy()


def test_tiles_give_the_flows_of_the_whole_image(model, picture):
    found = maps_of(model, picture, tile=32)
    classes, flows = whole_pass(model, picture)
    assert np.abs(found[:3] - classes).max() < 1e-5
    assert np.abs(2 * found[3:] - 1 - flows).max() < 1e-5
    assert flows.std() > 0.05


@pytest.mark.parametrize("turns", ["flips", "all"])
def test_flows_of_turned_images_point_where_they_do_in_the_image(model, picture, turns):
    vectors = []
    for quarter in (0, 1, 2, 3) if turns == "all" else (0, 2):
        for mirrored in (False, True):
            turned = np.rot90(picture, quarter)
            along_y, along_x = whole_pass(model, turned[:, ::-1] if mirrored else turned)[1]
            if mirrored:
                along_y, along_x = along_y[:, ::-1], -along_x[:, ::-1]
            along_y, along_x = np.rot90(along_y, -quarter), np.rot90(along_x, -quarter)
            for _ in range(quarter):  # a quarter turn takes what points down to what points right
                along_y, along_x = along_x, -along_y
            vectors.append(np.stack([along_y, along_x]))
    found = 2 * maps_of(model, picture, turns=turns)[3:] - 1
    assert np.abs(found - np.mean(vectors, axis=0)).max() < 1e-5


def test_objects_are_those_that_the_flows_make(model, picture):
    options = ObjectOptions(threshold=0.3, min_size_px=4, reach_px=1)
    maps = maps_of(model, picture)
    expected, count = decode(maps, model.spec, options)
    found = finish(segment_events(model, open_image(picture), InferenceConfig(tile=32), options))
    assert found.count == count > 1
    np.testing.assert_array_equal(found.labels[0, 0], expected)
    other = model.with_spec(objects=options.model_copy(update={"reach_px": 12}))
    assert nu.segment(other, picture).max() < count


def test_a_file_holds_the_classes_alone(model, picture, tmp_path):
    array = zarr.create_array(tmp_path / "maps.zarr", shape=(3, 90, 120), chunks=(3, 32, 32), dtype="uint8")
    nu.predict(model, picture, out=array)
    assert np.abs(array[:] / 255 - whole_pass(model, picture)[0]).max() < 0.003


def test_another_scale_gives_flows_on_the_grid_of_the_image(model, picture):
    sized = model.with_spec(diameter_px=10.0)
    found = maps_of(sized, picture, diameter_px=20.0)
    assert found.shape == (5, 90, 120)
    assert found[3:].min() >= 0
    assert found[3:].max() <= 1


def test_stability_is_that_of_the_classes(model, picture):
    gains = np.zeros((1, 4), np.float32)
    finish(flip_events(model, open_image(picture), InferenceConfig(), [((0, 1), (0, 1), (0, 64), (0, 64))], gains))
    assert gains[0, 1:].sum() == pytest.approx(1, abs=1e-4)
