"""The smallest size of an object follows the diameter of the objects."""

import pytest

from napari_unet.objects.config import ObjectOptions
from napari_unet.weights.spec import changed_spec, untrained_spec

OPTIONS = ObjectOptions(threshold=0.4, min_size_px=40)
PLANES = changed_spec(untrained_spec("unet"), diameter_px=20.0, objects=OPTIONS)
VOLUMES = changed_spec(untrained_spec("unet", dims=3), diameter_px=20.0, objects=OPTIONS)
NETWORK = PLANES.network.model_copy(update={"out_channels": 5})
FLOWS = changed_spec(PLANES, network=NETWORK, activation="flows", objects=ObjectOptions(reach_px=3))


@pytest.mark.parametrize(("diameter", "plane", "volume"), [(20, 40, 40), (40, 160, 320), (10, 10, 5), (1, 1, 1)])
def test_areas_go_with_the_square_and_volumes_with_the_cube(diameter, plane, volume):
    assert PLANES.objects_at(diameter) == ObjectOptions(threshold=0.4, min_size_px=plane)
    assert VOLUMES.objects_at(diameter).min_size_px == volume


def test_without_two_diameters_nothing_changes():
    assert PLANES.objects_at(None) == OPTIONS
    assert changed_spec(PLANES, diameter_px=None).objects_at(5) == OPTIONS


@pytest.mark.parametrize(
    ("diameter", "reach", "step"), [(20, 3, 1), (40, 6, 2), (8, 1, 0.4), (320, 48, 16), (20 * 64, 100, 32)]
)
def test_pixels_go_and_end_as_far_apart_as_objects_are_large(diameter, reach, step):
    assert (FLOWS.objects_at(diameter).reach_px, FLOWS.objects_at(diameter).step_px) == (reach, step)
    assert (PLANES.objects_at(diameter).reach_px, PLANES.objects_at(diameter).step_px) == (OPTIONS.reach_px, 1)
