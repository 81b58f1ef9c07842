"""One controller per viewer: what the buttons of all panels call."""

from __future__ import annotations

import weakref

from napari.components import ViewerModel
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_unet.gui.adapting import Adapting
from napari_unet.gui.batching import Batching
from napari_unet.gui.browsing import Browsing
from napari_unet.gui.choosing import Choosing
from napari_unet.gui.correcting import Correcting
from napari_unet.gui.costing import Costing
from napari_unet.gui.desk import Desk
from napari_unet.gui.exporting import Exporting
from napari_unet.gui.finetuning import FineTuning
from napari_unet.gui.halting import Halting
from napari_unet.gui.importing import Importing
from napari_unet.gui.keeping import Keeper
from napari_unet.gui.lineage import Lineage
from napari_unet.gui.merging import Merging
from napari_unet.gui.modelling import Modelling
from napari_unet.gui.object_table import ObjectTable
from napari_unet.gui.opening import Opener
from napari_unet.gui.recipes import Recipes
from napari_unet.gui.reviewing import Reviewing
from napari_unet.gui.segmenting import Segmenting
from napari_unet.gui.sharing import Sharing
from napari_unet.gui.sizing import Sizing
from napari_unet.gui.state import ViewerState
from napari_unet.gui.tasks import Client
from napari_unet.gui.tools.toolbox import Toolbox
from napari_unet.gui.vouching import Vouching
from napari_unet.gui.warming import warm_up
from napari_unet.jobs.client import JobClient
from napari_unet.jobs.scratch import Scratch


class Controller:
    """The five steps of the loop over one state.

    Parameters
    ----------
    viewer : ViewerModel
        Held weakly.
    client : Client, optional
        The background process.
    """

    def __init__(self, viewer: ViewerModel, client: Client | None = None) -> None:
        self.state = ViewerState()
        self._desk = desk = Desk(viewer, self.state, client or JobClient(), Scratch())
        self.choosing = Choosing(desk)
        self.modelling = Modelling(desk)
        self.browsing = Browsing(desk)
        self.opening = Opener(desk, self.modelling, self.browsing)
        self.sharing = Sharing(desk)
        self.segmenting = Segmenting(desk, Merging(desk))
        self.sizing = Sizing(desk)
        self.keeper = Keeper(desk)
        self.correcting = Correcting(desk, self.keeper)
        self.importing = Importing(desk, self.correcting)
        self.tools = Toolbox(desk, lambda: self.segmenting.kept)
        self.objects = ObjectTable(desk)
        self.vouching = Vouching(desk)
        self.correcting.marked.connect(self.vouching.settle)
        self.reviewing = Reviewing(desk, self.segmenting, self.vouching, self.keeper)
        self.lineage = Lineage(desk, self.modelling, self.keeper)
        self.halting = Halting(desk)
        self.finetuning = FineTuning(desk, self.modelling, self.segmenting, self.lineage, self.halting)
        self.adapting = Adapting(desk, self.finetuning)
        self.exporting = Exporting(desk, lambda: self.segmenting.kept)
        self.recipes = Recipes(desk, self.modelling, self.opening, self.segmenting, self.exporting)
        self.batching = Batching(desk, self.recipes, self.choosing, self.correcting)
        self.costing = Costing(desk)
        self.modelling.list_models()
        desk.attempt(desk.runner.start_process)
        warm_up()

    def cancel(self) -> None:
        """Ask the running work to end."""
        self._desk.cancel()

    def close(self) -> None:
        """End all work and the background process; remove the scratch files."""
        self.costing.close()
        self.batching.close()
        self.objects.close()
        self.tools.close()
        self.correcting.close()
        self.reviewing.close()
        self.vouching.close()
        self.keeper.close()
        self._desk.close()


_CONTROLLERS: weakref.WeakKeyDictionary[ViewerModel, Controller] = weakref.WeakKeyDictionary()


def controller_of(viewer: ViewerModel) -> Controller:
    """Return the controller of a viewer; panels of one viewer share it.

    napari hands every panel its own proxy of the viewer: the viewer behind it is the key.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _CONTROLLERS:
        _CONTROLLERS[viewer] = Controller(viewer)
    return _CONTROLLERS[viewer]


def close_with_window(controller: Controller, panel: QWidget) -> None:
    """End the controller's work when the main window around a panel is destroyed."""
    window: QWidget | None = panel
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parentWidget()
    if window is not None:
        window.destroyed.connect(controller.close)
