"""Models that are shown neighbouring slices, as files for others."""

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.errors import ExportError
from napari_unet.events import finish
from napari_unet.export.package.card import PackageCard
from napari_unet.export.sharing import ShareOptions, share_events


@pytest.fixture(scope="module")
def model():
    return nu.new_model("unet", slices=3, width=4, depth=2).with_spec(trained=True)


def test_a_package_that_could_not_say_it_is_refused(model, tmp_path):
    with pytest.raises(ExportError, match="cannot tell of 3 slices that are shown at once"):
        nu.save_package(tmp_path / "model.zip", model, PackageCard(authors=("Ada",)))
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is:DeprecationWarning")
def test_a_program_takes_the_slices_as_channels_and_the_user_is_told(model, tmp_path):
    shared = finish(share_events(tmp_path / "model.pt", model, ShareOptions(format="torchscript", output="logits")))
    assert "3 slices in a row as the channels of the middle one" in shared.notes[0]
    image = torch.rand(1, 3, 64, 64)
    found = torch.jit.load(shared.path)(image)
    assert np.allclose(found.detach().numpy(), model.network.eval()(image).detach().numpy(), atol=1e-4)


def test_our_own_file_keeps_them(model, tmp_path):
    shared = finish(share_events(tmp_path / "model.safetensors", model, ShareOptions(format="model")))
    assert nu.load_model(shared.path).spec.slices == 3
