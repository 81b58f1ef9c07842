"""Side-cars: what made a file is found beside it, and nothing else is taken for it."""

from datetime import datetime

import numpy as np
import pytest
from pydantic import ValidationError

import napari_unet as nu
from napari_unet.axes import PixelSize
from napari_unet.errors import ExportError, ImageError
from napari_unet.export.provenance import (
    ImageOrigin,
    ModelOrigin,
    Provenance,
    provenance_now,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)
from napari_unet.imaging.image import open_image
from napari_unet.objects.config import ObjectOptions


def whole():
    model = nu.new_model("unet", width=4, depth=2)
    image = open_image(np.zeros((3, 8, 9), np.uint16), "ZYX", PixelSize(2, 0.5, None), "Zelle (α) 🔬.tif")
    return model, provenance_now(
        model=ModelOrigin.of(model, "nuclei"),
        image=ImageOrigin.of(image, "/somewhere/Zelle (α) 🔬.tif"),
        inference={"turns": "flips", "tile": 256},
        objects=ObjectOptions(threshold=0.4),
        corrected=True,
    )


def test_everything_comes_back(tmp_path):
    model, provenance = whole()
    path = write_sidecar(tmp_path / "Masken 3 (α).tif", provenance, "Numbers of objects.")
    assert path.name == "Masken 3 (α).tif.json"
    found = read_sidecar(tmp_path / "Masken 3 (α).tif")
    assert (found.file, found.values) == ("Masken 3 (α).tif", "Numbers of objects.")
    assert found.model.sha256 == model.sha256
    assert found.image.shape == (3, 8, 9)
    assert found.image.pixel_size_um == (2, 0.5, None)
    assert found.objects.threshold == 0.4
    assert found.version == nu.__version__
    assert datetime.fromisoformat(found.created).utcoffset().total_seconds() == 0
    assert found == provenance.model_copy(update={"file": found.file, "values": found.values})


def test_people_can_read_it(tmp_path):
    _, provenance = whole()
    text = write_sidecar(tmp_path / "m.tif", provenance).read_text(encoding="utf-8")
    assert "Zelle (α) 🔬.tif" in text
    assert text.count("\n") > 10


def test_files_that_differ_in_their_ending_do_not_share_one(tmp_path):
    assert sidecar_path(tmp_path / "a.tif") != sidecar_path(tmp_path / "a.csv")


def test_nothing_beside_a_file_is_no_error(tmp_path):
    assert read_sidecar(tmp_path / "m.tif") is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"napari": 1}', b"\xff\xfe", b"[]"])
def test_another_programs_file_is_named(tmp_path, content):
    (tmp_path / "m.tif.json").write_bytes(content)
    with pytest.raises(ImageError, match=r"m\.tif\.json"):
        read_sidecar(tmp_path / "m.tif")


def test_unknown_names_and_places_are_refused(tmp_path):
    with pytest.raises(ValidationError):
        provenance_now(net="nuclei")
    with pytest.raises(ExportError):
        write_sidecar(tmp_path / "none" / "m.tif", Provenance())
