"""What the chosen network costs on the chosen image."""

from __future__ import annotations

from qtpy.QtCore import QObject, QTimer

from napari_unet.errors import NapariUnetError
from napari_unet.gui.desk import Desk
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.requests import CostRequest, CostResult
from napari_unet.networks.registry import is_buildable

# Whoever looks through a list is only asked about where they stop.
DELAY_MS = 400
TILE_SIZE = (1, 1, 1024, 1024)
VOLUME_SIZE = (1, 32, 256, 256)


class Costing(QObject):  # type: ignore[misc]
    """Keeps `state.cost` true for the model, image and device that are chosen; never blocks other work."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._asked: CostRequest | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self._ask)
        events = desk.state.events
        for field in ("model", "image", "axes", "device", "turns", "activity"):
            getattr(events, field).connect(self._changed, max_args=0)

    def _changed(self) -> None:
        state = self._desk.state
        if state.busy:
            self._timer.stop()
            return
        wanted = self._request()
        if wanted != self._asked:
            state.cost, state.measuring = None, wanted is not None
            self._timer.start()

    def _request(self) -> CostRequest | None:
        """Describe the question, for an image of usual size where none is chosen."""
        state = self._desk.state
        if state.model is None or not is_buildable(state.model.spec.network.variant):
            return None
        size = VOLUME_SIZE if state.model.spec.dims == 3 else TILE_SIZE
        try:
            sizes = self._desk.chosen_image().sizes
            size = (sizes["T"], sizes["Z"], sizes["Y"], sizes["X"])
        except NapariUnetError:
            pass
        config = InferenceConfig(device=state.device, turns=state.turns)
        return CostRequest(network=state.model.spec.network, size=size, inference=config)

    def close(self) -> None:
        """Ask no more."""
        self._timer.stop()

    def _ask(self) -> None:
        if not self._desk.open:
            return
        self._asked = request = self._request()
        if request is None or self._desk.state.busy:
            self._asked = None
            return
        self._desk.attempt(lambda: self._desk.runner.ask(request, self._show))

    def _show(self, result: CostResult | None) -> None:
        self._desk.state.measuring = False
        self._desk.state.cost = None if result is None else result.cost
