"""What every test shares. The environment is set before anything imports napari or torch."""

import os

# Otherwise napari's test fixtures overwrite the settings of whoever runs the tests.
os.environ["NAPARI_CONFIG"] = ""
# Tests start child processes; with all cores each, they would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, min(4, (os.cpu_count() or 2) // 2))))

import pytest
from hypothesis import settings

# A busy machine is no bug: examples may take as long as they need.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """Keep models that a test saves for the user out of the user's own folder."""
    home = tmp_path_factory.mktemp("napari-unet-home")
    monkeypatch.setenv("NAPARI_UNET_HOME", str(home))
    return home


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")
