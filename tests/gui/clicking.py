"""What the tests of fine-tuning share."""

from qtpy.QtCore import Qt

from napari_unet.gui import layers


def click(qtbot, button):
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def preview(viewer):
    return next(layers.with_role(viewer, "preview"), None)
