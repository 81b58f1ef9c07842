"""Layouts: the one that most programs open, and a sentence about the one that will not."""

import numpy as np
import pytest

from napari_unet.export.layouts import choose_layout, layout_of_masks

SMALL = (1, 4, 1, 512, 512)
LARGE = (1, 2**12, 1, 2**10, 2**10)  # 8 GiB of 16 bits
BETWEEN = (1, 1860, 1, 2**10, 2**10)  # 3.63 GiB


@pytest.mark.parametrize(
    ("largest", "dtype", "kind"),
    [
        (0, "uint16", "imagej"),
        (255, "uint16", "imagej"),
        (65535, "uint16", "imagej"),
        (65536, "uint32", "ome"),
        (2**32 - 1, "uint32", "ome"),
    ],
)
def test_ids_decide(largest, dtype, kind):
    layout = layout_of_masks((4, 512, 512), "ZYX", largest)
    assert (layout.dtype, layout.kind, layout.bigtiff) == (np.dtype(dtype), kind, False)
    assert bool(layout.warning) == (kind == "ome")


def test_size_decides():
    assert choose_layout(BETWEEN, np.dtype(np.uint16)).kind == "ome"
    assert not choose_layout(BETWEEN, np.dtype(np.uint16)).bigtiff
    assert choose_layout(LARGE, np.dtype(np.uint16)).bigtiff
    assert choose_layout(LARGE, np.dtype(np.uint16)).dtype == np.uint16


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_masks_of_classes_and_probabilities_are_for_imagej(dtype):
    assert choose_layout(SMALL, np.dtype(dtype)).kind == "imagej"


@pytest.mark.parametrize(
    ("shape", "dtype", "largest", "words"),
    [
        (LARGE, "uint16", 9, "BigTIFF"),
        (LARGE, "uint32", 2**25, "BigTIFF"),
        (SMALL, "uint32", 2**24 + 1, "16777217"),
        (SMALL, "uint32", 70_000, "into floats"),
        (BETWEEN, "uint16", 9, "pixel size"),
    ],
)
def test_warning_names_the_reader_and_what_to_use(shape, dtype, largest, words):
    warning = choose_layout(shape, np.dtype(dtype), largest).warning
    assert words in warning
    assert warning.startswith("ImageJ's own reader")
    assert warning.endswith("Bio-Formats.")
    assert len(warning) < 250


@pytest.mark.parametrize("width", [1, 7, 512, 10_000, 200_000])
def test_strips_hold_whole_rows(width):
    layout = choose_layout((1, 1, 1, 3000, width), np.dtype(np.uint16))
    assert 1 <= layout.rows_per_strip <= 3000
    assert layout.rows_per_strip == 1 or layout.rows_per_strip * width * 2 <= 2**17
