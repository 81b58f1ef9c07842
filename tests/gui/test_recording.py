"""Whatever is done to a label layer, a recorder and a session keep the same as the layer shows."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_unet.gui.editing import apply_changes
from napari_unet.gui.recording import STROKE, Recorder, boxes_of
from napari_unet.objects.editing.changes import Change
from napari_unet.session.identity import ImageIdentity
from napari_unet.session.project import open_project
from napari_unet.session.recovery import restore
from napari_unet.session.session import Session

SHAPE = (4, 60, 80)
KINDS = [
    "paint",
    "stroke",
    "given up",
    "ball",
    "erase",
    "fill",
    "polygon",
    "items",
    "ours",
    "undo",
    "redo",
    "data",
    "raw",
]


@pytest.fixture
def kept(tmp_path, qapp):
    """A layer, its recorder, its session and its project."""
    image = ImageIdentity(name="cells", shape=SHAPE, dtype="<u2", fingerprint="00")
    project = open_project(image, tmp_path / "cells.napari-unet")
    layer, session, told = Labels(np.zeros(SHAPE, np.uint32)), Session(project), []

    def record(kind, boxes):
        told.append(kind)
        if kind == "data":
            session.replace_array("correction", layer.data)
        else:
            session.record("correction", kind, boxes, ended=kind != STROKE)

    session.add_layer("correction", layer.data, {})
    recorder = Recorder(layer, record, strokes=True)
    recorder.look_over()
    recorder.told = told
    yield layer, recorder, session, project
    recorder.close()
    session.close()


def place(rng):
    return tuple(int(rng.integers(0, n)) for n in SHAPE)


def act(layer, kind, rng, label):  # noqa: C901  # one line for each kind
    """Do something to the layer."""
    at = place(rng)
    if kind == "stroke":
        with layer.block_history():
            for step in range(4):
                layer.paint((at[0], at[1], min(79, at[2] + 5 * step)), label)
    elif kind == "given up":
        layer._begin_stroke()
        layer.paint(at, label)
        layer._abort_stroke()
    elif kind == "ball":
        layer.n_edit_dimensions = 3
        layer.paint(at, label)
        layer.n_edit_dimensions = 2
    elif kind in {"paint", "erase"}:
        layer.paint(at, 0 if kind == "erase" else label)
    elif kind == "fill":
        layer.fill(at, label)
    elif kind == "polygon":
        layer.paint_polygon([(at[0], *place(rng)[1:]) for _ in range(4)], label)
    elif kind == "items":
        layer.data_setitem(tuple(np.array(axis) for axis in zip(at, place(rng), strict=True)), label)
    elif kind == "ours":
        boxes = [((at[0], at[0] + 1), (y, y + 5), (x, x + 6)) for y, x in ((3, 4), (6, 7), (50, 70))]
        apply_changes(layer, [Change(box, np.full((1, 5, 6), label, np.uint32)) for box in boxes])
    elif kind == "data":
        layer.data = np.where(rng.random(SHAPE) < 0.1, label, layer.data).astype(np.uint32)
    elif kind == "raw":
        layer.data[0, at[1] :, at[2] :] = label
    else:
        getattr(layer, kind)()


@pytest.mark.parametrize("seed", range(12))
def test_what_is_restored_is_what_the_layer_shows(kept, seed):
    layer, recorder, session, project = kept
    rng = np.random.default_rng(seed)
    layer.brush_size = 7
    for label in range(1, 31):
        kind = str(rng.choice(KINDS))
        act(layer, kind, rng, label)
        if kind == "raw":
            recorder.look_over()
        recorder.flush()
        if label % 6 == 0:
            assert session.wait()
            assert np.array_equal(restore(project).layers["correction"].array, layer.data), kind
        if rng.random() < 0.1:
            session.snapshot()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_edit_is_told(kept, kind, qtbot):
    layer, recorder, session, project = kept
    rng = np.random.default_rng(5)
    for plane in range(SHAPE[0]):
        layer.fill((plane, 5, 5), 9)
    if kind == "redo":
        layer.undo()
    recorder.flush()
    recorder.told.clear()
    act(layer, kind, rng, 30)
    wanted = {"given up": "undo"}.get(kind, kind if kind in {"undo", "redo", "data", "raw"} else "paint")
    qtbot.waitUntil(lambda: recorder.told[:1] == [wanted], timeout=10_000)
    assert session.wait()
    assert np.array_equal(restore(project).layers["correction"].array, layer.data)


def test_a_write_by_others_right_after_a_stroke_is_seen(kept):
    layer, recorder, session, project = kept
    layer.paint((0, 20, 20), 9)
    recorder.flush()
    layer.data[0, 5, 5] = 77
    recorder.look_over()
    assert recorder.told[-1] == "raw"
    assert session.wait()
    assert restore(project).layers["correction"].array[0, 5, 5] == 77


@pytest.mark.parametrize("how", ["_commit_stroke", "_abort_stroke"])
def test_a_stroke_is_kept_while_it_is_painted(kept, how):
    layer, recorder, session, project = kept

    def there():
        assert session.wait()
        return restore(project).layers["correction"].array

    layer.paint((0, 30, 30), 9)
    recorder.flush()
    recorder.told.clear()
    layer._begin_stroke()
    for number, column in enumerate(range(10, 70, 10), start=1):
        layer.paint((0, 20, column), 5)
        assert recorder.owes
        recorder._sweep()
        assert not recorder.owes
        assert recorder.told == [STROKE] * number
        assert np.array_equal(there(), layer.data)
    layer.paint((0, 20, 75), 5)
    getattr(layer, how)()
    recorder.flush()
    assert recorder.told[-1] == ("paint" if how == "_commit_stroke" else "undo")
    assert np.array_equal(there(), layer.data)
    assert (5 in layer.data) == (how == "_commit_stroke")
    layer.undo()
    assert np.array_equal(there(), layer.data)


def test_a_write_by_others_right_after_an_edit_of_many_planes_is_seen(tmp_path, qapp):
    layer, told = Labels(np.zeros((9, 60, 80), np.uint32)), []
    recorder = Recorder(layer, lambda kind, _boxes: told.append(kind))
    recorder.look_over()
    layer.n_edit_dimensions, layer.brush_size = 3, 21
    layer.paint((4, 30, 30), 5)
    recorder.flush()
    layer.data[round(float(layer._slice_input.world_slice.point[0])), 5, 5] = 77
    recorder.look_over()
    assert told == ["paint", "raw"]
    recorder.close()


def test_a_write_by_others_right_before_a_stroke_is_seen(kept):
    layer, recorder, session, project = kept
    for change in (lambda: layer.paint((0, 40, 40), 9), layer.undo, layer.redo):
        value = int(layer.data[0, 5, 5]) + 70
        layer.data[0, 5, 5] = value
        change()
        recorder.flush()
        assert session.wait()
        assert restore(project).layers["correction"].array[0, 5, 5] == value
        assert recorder.told[-2] == "raw"
    recorder.look_over()
    assert recorder.told[-1] != "raw"


def test_a_stroke_is_not_taken_for_a_write_by_others(kept):
    layer, recorder, *_ = kept
    told = []
    other = Recorder(layer, lambda kind, _boxes: told.append(kind))
    other.look_over()
    with layer.block_history():
        for column in (20, 40):
            layer.paint((0, 20, column), 9)
            other._sweep()
            recorder._sweep()
    other.flush()
    for one in (other, recorder):
        one.look_over()
    assert told == ["paint"]
    assert "raw" not in recorder.told
    other.close()


def test_two_recorders_may_end_in_any_order(kept):
    layer, recorder, *_ = kept
    for first_ends_first in (True, False):
        told = []
        first, second = (Recorder(layer, lambda kind, _boxes, told=told: told.append(kind)) for _ in range(2))
        layer.paint((0, 20, 20), int(layer.data[0, 20, 20]) + 1)
        ending, staying = (first, second) if first_ends_first else (second, first)
        ending.close()
        staying.flush()
        told.clear()
        layer.undo()
        assert told == ["undo"]
        staying.close()
        told.clear()
        layer.redo()
        assert not told
    recorder.flush()


def test_napari_still_keeps_its_history_as_we_read_it():
    layer = Labels(np.zeros((30, 30), np.uint8))
    layer.paint((10, 10), 3)
    (atom,) = layer._undo_history[-1]
    assert boxes_of([atom])[0][0][0] <= 10 < boxes_of([atom])[0][0][1]
    layer.undo()
    assert len(layer._redo_history) == 1
