"""File > Open Sample."""

import numpy as np
import pytest

PLUGIN = "napari-unet"


@pytest.fixture
def only_us(npe2pm):
    with npe2pm.tmp_plugin(package=PLUGIN):
        yield


@pytest.mark.usefixtures("only_us")
@pytest.mark.parametrize(
    ("key", "name", "shape"),
    [
        ("ihc", "ihc", (512, 512, 3)),
        ("fluorescence", "fluorescence", (520, 696)),
        ("tissue", "tissue", (256, 320, 3)),
        ("brightfield", "brightfield", (512, 512)),
        ("cell", "cell", (660, 550)),
        ("membranes", "membranes", (512, 512)),
        ("nuclei3d", "nuclei 3D", (24, 160, 160)),
    ],
)
def test_samples_open(viewer, key, name, shape):
    viewer.open_sample(PLUGIN, key)
    assert viewer.layers[name].data.shape == shape


@pytest.mark.usefixtures("only_us")
@pytest.mark.parametrize("key", ["fluorescence", "tissue", "brightfield"])
def test_real_samples_have_labels_that_fit(viewer, key):
    viewer.open_sample(PLUGIN, key)
    truth = viewer.layers[f"{key} truth"]
    assert truth.data.shape == viewer.layers[key].data.shape[:2]
    assert truth.data.max() > 40
    assert not truth.visible


@pytest.mark.usefixtures("only_us")
def test_the_stack_has_its_truth_and_pixel_size(viewer):
    viewer.open_sample(PLUGIN, "nuclei3d")
    image, truth = viewer.layers["nuclei 3D"], viewer.layers["nuclei 3D truth"]
    assert tuple(image.scale) == (1.0, 0.25, 0.25)
    assert [str(unit) for unit in image.units] == ["micrometer"] * 3
    assert np.array_equal(truth.scale, image.scale)
    assert truth.data.shape == image.data.shape
    assert truth.data.max() > 20
    assert not truth.visible
