"""The background process tells how large objects are."""

import numpy as np
import pytest

from napari_unet.events import finish
from napari_unet.jobs.messages import JobDone, decode, encode
from napari_unet.jobs.requests import ImageRef, ModelRef
from napari_unet.jobs.scratch import Scratch
from napari_unet.jobs.sizing import DiameterRequest
from napari_unet.jobs.work import work_for


@pytest.fixture
def scratch(tmp_path):
    scratch = Scratch(tmp_path)
    yield scratch
    scratch.close()


def test_the_diameter_of_discs_is_answered(scratch):
    y, x = np.indices((96, 128))
    inside = np.hypot(y % 30 - 15, x % 30 - 15) < 8
    pixels = np.where(inside, 180, 20) + np.random.default_rng(0).normal(0, 3, inside.shape)
    image = ImageRef(array=scratch.stage(pixels.astype("uint8")), axes="YX", name="discs")
    request = DiameterRequest(model=ModelRef(source="nuclei"), image=image, around=((0, 1), (0, 1), (0, 10), (0, 10)))
    result = finish(work_for(request))
    assert result.diameter_px == pytest.approx(16, rel=0.15)
    assert decode(encode(JobDone(1, result))) == JobDone(1, result)
