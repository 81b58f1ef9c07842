"""An interrupted prediction goes on from what was written: with less work, and to the same result."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

import napari_unet as nu
from napari_unet.errors import ImageError
from napari_unet.events import Notice, TileDone
from napari_unet.imaging.image import open_image
from napari_unet.inference import resuming
from napari_unet.inference.canvas import Reordered
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.pipeline import predict_events
from napari_unet.inference.resuming import NAME, Record, record_for

RNG = np.random.default_rng(0)
TILE = InferenceConfig(tile=32)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Short runs leave records, too."""
    monkeypatch.setattr(resuming, "PATIENCE_S", 0.0)


@pytest.fixture(scope="module")
def small():
    return nu.new_model("unet", width=4, depth=2)


@pytest.fixture(scope="module")
def image():
    return RNG.integers(0, 4000, (3, 150, 130), dtype=np.uint16)


@pytest.fixture
def out(tmp_path, image):
    return zarr.create_array(tmp_path / "out.zarr", shape=(3, *image.shape), chunks=(3, 1, 64, 64), dtype="f4")


def interrupted(model, image, out, config=TILE, pieces=30, axes="ZYX"):
    """Predict some pieces and stop."""
    target = Reordered(out, axes)
    work = predict_events(model, open_image(image, axes), config, target, record=record_for(target))
    for event in work:
        if isinstance(event, TileDone) and event.done == pieces:
            break
    work.close()


def resumed(model, image, out, config=TILE, axes="ZYX"):
    """Go on; return how many pieces that took, and what was said."""
    target = Reordered(out, axes)
    events = list(
        predict_events(model, open_image(image, axes), config, target, record=record_for(target, resume=True))
    )
    pieces = max((event.done for event in events if isinstance(event, TileDone)), default=0)
    return pieces, [event.text for event in events if isinstance(event, Notice)]


def test_less_is_computed_and_the_result_is_the_same(small, image, out):
    interrupted(small, image, out)
    pieces, told = resumed(small, image, out)
    assert pieces < 60  # of 75
    assert re.match(r"(3\d|40) % of the result had been written before", told[0])
    assert np.allclose(out[:], nu.predict(small, image), atol=1e-6)
    assert not (Path(out.store.root) / NAME).exists()


def test_by_default_all_is_computed_anew(small, image, out):
    interrupted(small, image, out)
    out[:] = 77
    nu.predict(small, image, out=out, tile=32)
    assert np.allclose(out[:], nu.predict(small, image), atol=1e-6)
    assert not (Path(out.store.root) / NAME).exists()


def test_the_public_face_warns_what_it_resumed(small, image, out):
    interrupted(small, image, out)
    with pytest.warns(UserWarning, match="had been written before"):
        nu.predict(small, image, out=out, tile=32, resume=True)
    assert np.allclose(out[:], nu.predict(small, image), atol=1e-6)


def test_a_rescaled_image_is_resumed(small, image, out):
    model, config = small.with_spec(diameter_px=10.0), InferenceConfig(tile=32, diameter_px=14)
    interrupted(model, image, out, config, pieces=22)
    pieces, _ = resumed(model, image, out, config)
    assert pieces < 30
    assert np.allclose(out[:], nu.predict(model, image, diameter=14), atol=1e-5)


def test_any_order_of_axes_is_resumed(small, image, tmp_path):
    turned = np.transpose(image, (2, 0, 1))
    out = zarr.create_array(tmp_path / "out.zarr", shape=(3, *turned.shape), chunks=(1, 64, 1, 64), dtype="u1")
    interrupted(small, turned, out, axes="XZY")
    assert resumed(small, turned, out, axes="XZY")[0] < 60
    assert np.abs(out[:] - 255 * nu.predict(small, turned, axes="XZY")).max() <= 0.51


@pytest.mark.parametrize("changed", ["weights", "pixels", "settings", "axes", "version"])
def test_a_result_of_other_circumstances_is_begun_anew(small, image, out, changed, monkeypatch):
    model, config, axes = nu.new_model("unet", width=4, depth=2), TILE, "ZYX"
    model.network.load_state_dict(small.network.state_dict())
    interrupted(model, image, out)
    if changed == "weights":
        next(model.network.parameters()).data.mul_(1.1)
    elif changed == "pixels":
        image = image + np.uint16(1)
    elif changed == "settings":
        config = InferenceConfig(tile=32, precision="float32")
    elif changed == "axes":
        axes = "TYX"
    else:
        monkeypatch.setattr("napari_unet.inference.resuming._version", lambda: "other")
    pieces, told = resumed(model, image, out, config, axes)
    assert pieces == 75
    assert "of another image or with other settings" in told[0]


def test_a_record_that_is_damaged_is_no_record(small, image, out):
    interrupted(small, image, out)
    path = Path(out.store.root) / NAME
    for content in (b"", b"[]", b'{"fingerprint": 3}'):
        path.write_bytes(content)
        assert Record(path, resume=True)._read() is None
    path.write_bytes(content[:-9])
    assert resumed(small, image, out)[0] == 75


def test_records_stay_short(small, image, out):
    interrupted(small, image, out, pieces=60)
    assert len(json.loads((Path(out.store.root) / NAME).read_bytes())["written"]) < 6


def test_only_files_can_be_resumed(small, image):
    for out in (None, np.zeros((3, *image.shape), np.float32), zarr.zeros((3, *image.shape), dtype="f4")):
        with pytest.raises(ImageError, match="Only a result in a Zarr array on a disk can be resumed"):
            nu.predict(small, image, out=out, resume=True)


def test_short_runs_leave_no_record(small, image, out, monkeypatch):
    monkeypatch.setattr(resuming, "PATIENCE_S", 60.0)
    interrupted(small, image, out)
    assert not (Path(out.store.root) / NAME).exists()
    assert resumed(small, image, out) == (75, [])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")
def test_a_process_may_be_killed_at_any_moment(tmp_path):
    seeds = ["1", "2"]
    image = RNG.integers(0, 4000, (4, 128, 128), dtype=np.uint16)
    np.save(tmp_path / "image.npy", image)
    nu.new_model("unet", width=4, depth=2).save(tmp_path / "model.safetensors")
    script = Path(__file__).with_name("killed_predictions.py")
    subprocess.run([sys.executable, str(script), str(tmp_path), *seeds], check=True, timeout=100)
    whole = zarr.open_array(tmp_path / "whole.zarr", mode="r")[:]
    full = 4 * 4 * 4
    saved = []
    for seed in seeds:
        out = zarr.open_array(tmp_path / f"{seed}.zarr", mode="r+")
        stored = nu.load_model(tmp_path / "model.safetensors")
        pieces, told = resumed(stored, np.load(tmp_path / "image.npy", mmap_mode="r"), out)
        saved.append(full - pieces)
        assert (pieces < full) == bool(told)
        assert np.allclose(out[:], whole, atol=1e-5)
    assert max(saved) > 0
