"""Small networks that are programs."""

import pytest


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setattr("napari_unet.weights.isolated.client._threads", lambda: 1)
