"""GeoJSON for QuPath: what its importer looks at."""

import json
import uuid

import numpy as np
import pytest

from napari_unet.axes import PixelSize
from napari_unet.errors import ExportError, LabelsError
from napari_unet.export import geojson
from napari_unet.export.geojson import save_geojson
from napari_unet.objects.measuring import measure

PLANE = np.zeros((20, 30), np.uint32)
PLANE[5, 3] = 70_000
PLANE[10:15, 10:15] = 2
PLANE[12, 12] = 0
PLANE[0, 0] = PLANE[19, 29] = 3


def features_of(path):
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["type"] == "FeatureCollection"
    return {feature["properties"]["name"]: feature for feature in found["features"]}


def test_a_detection_for_each_object(tmp_path):
    features = features_of(save_geojson(tmp_path / "Zellen α.geojson", PLANE))
    assert set(features) == {"2", "3", "70000"}
    for feature in features.values():
        assert feature["type"] == "Feature"
        assert feature["properties"]["objectType"] == "detection"
        assert str(uuid.UUID(feature["id"])) == feature["id"]
    assert len({feature["id"] for feature in features.values()}) == 3


def test_rings_are_closed_and_follow_the_corners_of_pixels(tmp_path):
    geometry = features_of(save_geojson(tmp_path / "a.geojson", PLANE))["70000"]["geometry"]
    assert geometry["type"] == "Polygon"
    (ring,) = geometry["coordinates"]
    assert ring[0] == ring[-1]
    assert sorted(map(tuple, ring[:-1])) == [(3, 5), (3, 6), (4, 5), (4, 6)]


def test_holes_and_pieces(tmp_path):
    features = features_of(save_geojson(tmp_path / "a.geojson", PLANE))
    assert features["2"]["geometry"]["type"] == "Polygon"
    assert len(features["2"]["geometry"]["coordinates"]) == 2
    assert features["3"]["geometry"]["type"] == "MultiPolygon"
    assert [len(polygon) for polygon in features["3"]["geometry"]["coordinates"]] == [1, 1]


def test_measurements_have_units_in_their_names(tmp_path):
    features = features_of(save_geojson(tmp_path / "a.geojson", PLANE, pixel_size=PixelSize(None, 0.5, 0.5)))
    measured = features["2"]["properties"]["measurements"]
    assert measured["area_px"] == 24
    assert measured["area_um2"] == 6
    assert all(isinstance(value, int | float) for value in measured.values())


def test_a_table_that_is_given_is_used_and_what_is_no_number_left_out(tmp_path):
    table = {"label": np.array([2, 3]), "t": np.array([0, 0]), "mean": np.array([1.5, np.nan])}
    features = features_of(save_geojson(tmp_path / "a.geojson", PLANE, table=table))
    assert features["2"]["properties"]["measurements"] == {"mean": 1.5}
    assert "measurements" not in features["3"]["properties"]
    bare = features_of(save_geojson(tmp_path / "a.geojson", PLANE, table={}))
    assert "measurements" not in bare["2"]["properties"]


def test_planes_of_a_stack(tmp_path):
    labels = np.zeros((2, 3, 9, 9), int)
    labels[:, :, 2:5, 2:5] = 4
    path = save_geojson(tmp_path / "a.json", labels, "TZYX", PixelSize(2, 1, 1))
    features = json.loads(path.read_text())["features"]
    planes = [feature["geometry"].get("plane") for feature in features]
    assert planes[0] is None  # QuPath's own plane
    assert planes[1:3] == [{"c": -1, "z": 1, "t": 0}, {"c": -1, "z": 2, "t": 0}]
    assert planes[5] == {"c": -1, "z": 2, "t": 1}
    assert len({feature["id"] for feature in features}) == 6
    volume = measure(labels, PixelSize(2, 1, 1))["volume_um3"][0]
    assert {feature["properties"]["measurements"]["volume_um3"] for feature in features} == {volume}


def test_classes_become_classifications(tmp_path):
    features = features_of(save_geojson(tmp_path / "a.geojson", PLANE, classes=("tissue", "Gefäß")))
    assert features["2"]["properties"]["classification"] == {"name": "Gefäß"}
    assert "classification" not in features["3"]["properties"]


def test_the_same_labels_give_the_same_file(tmp_path):
    one = save_geojson(tmp_path / "a.geojson", PLANE).read_bytes()
    assert save_geojson(tmp_path / "a.geojson", PLANE).read_bytes() == one


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(ExportError, match="geojson"):
        save_geojson(tmp_path / "a.txt", PLANE)
    with pytest.raises(LabelsError, match="empty"):
        save_geojson(tmp_path / "a.json", np.zeros((4, 4), int))
    with pytest.raises(LabelsError, match="whole numbers"):
        save_geojson(tmp_path / "a.json", np.zeros((4, 4)))
    assert not list(tmp_path.iterdir())


def test_a_disk_that_changes_what_is_written_is_noticed(tmp_path, monkeypatch):
    path = save_geojson(tmp_path / "a.json", PLANE)
    before = path.read_bytes()
    write = geojson._write

    def damage(target, *rest):
        write(target, *rest)
        target.write_bytes(target.read_bytes()[:-5])

    monkeypatch.setattr(geojson, "_write", damage)
    with pytest.raises(ExportError, match="differs from what was written"):
        save_geojson(path, PLANE * 2)
    assert path.read_bytes() == before
