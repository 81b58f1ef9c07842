"""A shown viewer with a correction layer, and a hand on it."""

import numpy as np
from pointer import Pointer

from napari_unet.gui import layers
from napari_unet.gui.segmenting import Kept
from napari_unet.weights.spec import untrained_spec


def disks(shape, *found):
    """Labels 1, 2, ... at (y, x, radius)."""
    labels = np.zeros(shape, np.uint32)
    y, x = np.ogrid[: shape[0], : shape[1]]
    for number, (cy, cx, radius) in enumerate(found, start=1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = number
    return labels


FLAT = disks((100, 140), (30, 30, 14), (30, 60, 14), (30, 105, 14), (75, 40, 14), (75, 100, 10))


class Scene:
    """A viewer with a correction layer, and a hand on it."""

    def __init__(self, viewer, controller, qtbot, labels):
        self.viewer, self.controller, self.qtbot = viewer, controller, qtbot
        controller.correcting.start()
        self.layer = controller._desk.correction()[0]
        self.layer.data_setitem(np.nonzero(labels), labels[labels > 0])
        self.layer._undo_history.clear()
        self.settle()
        viewer.reset_view()
        qtbot.wait(30)
        self.hand = Pointer(viewer, self.layer)

    def settle(self):
        bench = self.controller.tools.bench()
        self.qtbot.waitUntil(lambda: bench.known.index.complete and bench.known.settled)

    def finish(self):
        self.qtbot.waitUntil(lambda: not self.controller.tools.busy)

    def keep(self, probabilities):
        """Keep (class, Y, X) probabilities of the image, as after segmenting it."""
        desk, segmenting = self.controller._desk, self.controller.segmenting
        ref = desk.scratch.stage(probabilities[:, None, None].astype(np.float32))
        image = desk.image_layer()
        segmenting._keep(Kept(layers.layer_id(image), ref, untrained_spec("unet-small"), layers.frame_of(image, "YX")))

    @property
    def labels(self):
        self.finish()
        return self.layer.data.copy()

    @property
    def said(self):
        self.finish()
        return self.controller.state.message.text

    def one_step(self, before):
        """Whether Ctrl+Z and Ctrl+Shift+Z go one step back and forth."""
        after = self.labels
        assert not np.array_equal(after, before)
        self.hand.undo()
        assert np.array_equal(self.layer.data, before)
        self.hand.redo()
        assert np.array_equal(self.layer.data, after)
        return after


SCALED = {"scale": (0.5, 0.25), "translate": (100, -20)}
STACK = np.stack([FLAT] * 6)
