"""What is slow the first time, done in a thread before anybody waits for it.

The first label layer of a napari session makes napari import pandas and compile its colour lookup,
0.7 s in which the window would stand still just when a prediction arrives; importing pyqtgraph
takes another half.
"""

from __future__ import annotations

import os
import threading
from functools import cache
from types import ModuleType

import numpy as np
import pint
from napari.layers import Labels
from qtpy import API_NAME


@cache
def warm_up() -> threading.Thread:
    """Begin, once in a session; it ends by itself."""
    # Layers have units, and two threads must not fill pint's registry of units at once.
    pint.get_application_registry().parse_units("pixel")  # type: ignore[no-untyped-call]
    thread = threading.Thread(target=_warm_up, name="napari-unet warming up", daemon=True)
    thread.start()
    return thread


def _warm_up() -> None:
    Labels(np.zeros((4, 4), np.uint32))
    load_pyqtgraph()


def load_pyqtgraph() -> ModuleType:
    """Import pyqtgraph, which otherwise takes the first Qt binding that it finds."""
    os.environ.setdefault("PYQTGRAPH_QT_LIB", API_NAME)
    import pyqtgraph

    module: ModuleType = pyqtgraph
    return module
