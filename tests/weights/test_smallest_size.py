"""The smallest size of an object follows the diameter of the objects."""

import pytest

from napari_unet.objects.config import ObjectOptions
from napari_unet.weights.spec import changed_spec, untrained_spec

OPTIONS = ObjectOptions(threshold=0.4, min_size_px=40)
PLANES = changed_spec(untrained_spec("unet"), diameter_px=20.0, objects=OPTIONS)
VOLUMES = changed_spec(untrained_spec("unet", dims=3), diameter_px=20.0, objects=OPTIONS)


@pytest.mark.parametrize(("diameter", "plane", "volume"), [(20, 40, 40), (40, 160, 320), (10, 10, 5), (1, 1, 1)])
def test_areas_go_with_the_square_and_volumes_with_the_cube(diameter, plane, volume):
    assert PLANES.objects_at(diameter) == ObjectOptions(threshold=0.4, min_size_px=plane)
    assert VOLUMES.objects_at(diameter).min_size_px == volume


def test_without_two_diameters_nothing_changes():
    assert PLANES.objects_at(None) == OPTIONS
    assert changed_spec(PLANES, diameter_px=None).objects_at(5) == OPTIONS
