"""The background process writes models for other programs."""

import time

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.events import finish
from napari_unet.export.package import writing
from napari_unet.export.package.card import PackageCard
from napari_unet.export.sharing import ShareOptions
from napari_unet.jobs.client import JobClient
from napari_unet.jobs.messages import JobCancelled, JobDone, JobEvent, JobFailed, decode, encode
from napari_unet.jobs.references import ImageRef, ModelRef
from napari_unet.jobs.scratch import Scratch
from napari_unet.jobs.sharing import ShareRequest
from napari_unet.jobs.work import work_for


@pytest.fixture
def learnt(tmp_path):
    """A thin model that counts as trained."""
    return nu.new_model("unet", width=4, depth=2).with_spec(trained=True).save(tmp_path / "learnt.safetensors")


def test_a_package_with_a_test_image_of_the_user(tmp_path, learnt, monkeypatch):
    monkeypatch.setattr(writing, "LIBRARIES", ("a_library_that_nobody_has",))
    scratch = Scratch(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 200, (2, 60, 70)).astype("uint8")
    request = ShareRequest(
        model=ModelRef(source=str(learnt)),
        path=str(tmp_path / "a.zip"),
        options=ShareOptions(format="package", card=PackageCard(authors=("Ada",))),
        image=ImageRef(array=scratch.stage(pixels), axes="CYX", name="mine"),
        channels=(1,),
    )
    result = finish(work_for(request))
    scratch.close()
    assert any("no ONNX file" in note for note in result.notes)
    assert decode(encode(JobDone(1, result))) == JobDone(1, result)
    assert nu.load_model(result.path).sha256 == nu.load_model(learnt).sha256


def test_a_process_of_its_own_writes_torchscript(tmp_path, learnt):
    client = JobClient()
    client.start()
    options = ShareOptions(format="torchscript")
    client.submit(ShareRequest(model=ModelRef(source=str(learnt)), path=str(tmp_path / "a.pt"), options=options))
    messages, end = [], time.monotonic() + 300
    try:
        while not any(isinstance(message, JobDone | JobFailed | JobCancelled) for message in messages):
            assert time.monotonic() < end, messages
            time.sleep(0.02)
            messages += client.poll()
    finally:
        client.close()
    assert isinstance(messages[-1], JobDone), messages
    assert any(isinstance(message, JobEvent) for message in messages)
    image = np.random.default_rng(0).random((40, 44), dtype=np.float32)
    again = nu.load_model(tmp_path / "a.pt", trust=True)
    np.testing.assert_allclose(nu.predict(again, image), nu.predict(nu.load_model(learnt), image), atol=1e-3)
