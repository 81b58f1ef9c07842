"""What a run over many images has made is opened in the viewer, and is what the viewer would make."""

import numpy as np
import pytest
import tifffile
from batch_steps import double_click, pixels, run, run_until, statuses
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

import napari_unet as nu
from napari_unet.gui import layers
from napari_unet.jobs.work import work_for


@pytest.fixture
def installed(npe2pm):
    with npe2pm.tmp_plugin(package="napari-unet"):
        yield


@pytest.mark.usefixtures("installed")
def test_a_double_click_opens_the_image_with_its_masks_to_be_corrected(listed, viewer, chosen, folder, idle, qtbot):
    run(qtbot, listed, idle)
    double_click(qtbot, listed, 2)
    qtbot.waitUntil(lambda: any(layers.with_role(viewer, "correction")), timeout=20_000)
    correction = next(layers.with_role(viewer, "correction"))
    assert np.array_equal(correction.data, tifffile.imread(folder / "results" / "well 2_masks.tif"))
    image = layers.by_id(viewer, chosen.state.image)
    assert np.array_equal(image.data, pixels(2))
    assert f"{chosen.state.batch.rows[2].objects} objects" in chosen.state.message.text
    other = viewer.add_image(np.zeros((9, 9)))
    count = len(viewer.layers)
    correction.data_setitem((np.array([0]), np.array([0])), 99)
    listed.table.setFocus()
    QTest.keyClick(listed.table, Qt.Key.Key_Return)
    assert len(viewer.layers) == count
    assert correction.data[0, 0] == 99
    assert (image.visible, correction.visible, other.visible) == (True, True, False)


@pytest.mark.usefixtures("installed")
def test_an_image_can_be_opened_while_others_are_segmented(listed, viewer, chosen, client, idle, qtbot):
    run_until(qtbot, listed, client, 2)
    qtbot.waitUntil(lambda: statuses(chosen)[:1] == ["done"], timeout=30_000)
    double_click(qtbot, listed, 0)
    qtbot.waitUntil(lambda: any(layers.with_role(viewer, "correction")), timeout=20_000)
    assert chosen.state.busy
    client.hold = False
    idle(60_000)
    assert statuses(chosen) == ["done"] * 4


@pytest.mark.usefixtures("installed")
def test_an_image_that_failed_says_so_when_it_is_opened(listed, viewer, chosen, folder, idle, qtbot):
    (folder / "well 0.tif").write_bytes(b"nothing")
    run(qtbot, listed, idle)
    double_click(qtbot, listed, 0)
    assert chosen.state.message.level == "error"
    assert "well 0.tif" in chosen.state.message.text
    assert not viewer.layers


@pytest.mark.usefixtures("installed")
def test_the_panel_a_folder_run_and_a_script_give_the_same_pixels(listed, viewer, chosen, client, folder, idle, qtbot):
    client._segment = work_for  # the network itself, and not the threshold that stands in for it elsewhere
    viewer.open(folder / "well 1.tif", plugin="napari-unet")
    chosen.segmenting.segment()
    idle(60_000)
    (prediction,) = layers.with_role(viewer, "prediction")
    assert prediction.data.max() > 1
    run(qtbot, listed, idle)
    assert np.array_equal(tifffile.imread(folder / "results" / "well 1_masks.tif"), prediction.data)
    chosen.recipes.save(str(folder / "mine.yaml"))
    idle()
    nu.run_recipe(folder / "mine.yaml", folder / "well 1.tif", folder / "again")
    assert np.array_equal(tifffile.imread(folder / "again" / "well 1_masks.tif"), prediction.data)
