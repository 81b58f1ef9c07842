"""The program that reads all of an HDF5 file once, to see whether that can be done; run by `try_elsewhere`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import h5py

from napari_unet.errors import ModelError
from napari_unet.weights.formats.hdf5 import Hdf5, open_here

NAMES = ("layer_names", "weight_names")
TEXTS = ("model_config", "keras_version")


def main(arguments: Sequence[str]) -> None:
    """Read the file of this path, or what comes on standard input for "-".

    What is merely refused ends well: whoever asked finds the same fault and has the words for it.
    """
    (place,) = arguments
    content = sys.stdin.buffer.read() if place == "-" else None
    try:
        with open_here(Path(place), content) as hdf5:
            _read_all(hdf5)
    except ModelError:
        return


def _read_all(hdf5: Hdf5) -> None:
    groups: set[str] = {"/"}
    for path, dataset in hdf5.datasets(hdf5.file):
        parts = path.split("/")[:-1]
        groups.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        if dataset.dtype.kind in "fiu":
            hdf5.read(dataset)
    for name in groups:
        group = hdf5.file if name == "/" else hdf5.find(hdf5.file, name)
        if isinstance(group, h5py.Group):
            for attribute in NAMES:
                hdf5.names(group, attribute)
            for attribute in TEXTS:
                hdf5.text(group, attribute)


if __name__ == "__main__":
    main(sys.argv[1:])
