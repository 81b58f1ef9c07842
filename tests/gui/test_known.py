"""What is known of the objects of a layer, whatever is done while they are looked for."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_unet.gui.tools.known import Known


@pytest.mark.parametrize("step", ["undo", "redo"])
def test_what_undoing_brings_back_keeps_its_id(qtbot, monkeypatch, step):
    start = Known._start
    monkeypatch.setattr(Known, "_start", lambda _known: None)  # the objects are not looked for yet
    layer = Labels(np.zeros((40, 50), np.uint32))
    layer.data[2:9, 3:9] = 7
    known = Known(layer)
    layer.data_setitem(np.nonzero(layer.data), 0)
    if step == "redo":
        layer.undo()
        layer.data_setitem((np.array([20, 20]), np.array([30, 31])), 9)
        layer.undo()
    qtbot.wait(20)
    start(known)
    qtbot.waitUntil(lambda: known.index.complete and known.settled)
    getattr(layer, step)()
    assert next(known.new_ids()) > layer.data.max()
    known.close()
