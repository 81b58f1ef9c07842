"""A program that paints, says what is saved, and is killed: run by the tests in a process of its own."""

import sys
import time
from pathlib import Path

import numpy as np

from napari_unet.session.identity import ImageIdentity
from napari_unet.session.project import open_project
from napari_unet.session.recovery import restore
from napari_unet.session.session import Session

SHAPE = (3, 96, 128)
IMAGE = ImageIdentity(name="image", shape=SHAPE, dtype="<u2", fingerprint="0123")


def edit(array, number):
    """Paint the edit of this number; return its boxes."""
    rng = np.random.default_rng(number)
    z, y, x = (int(rng.integers(0, n)) for n in SHAPE)
    if number % 37 == 0:  # something large, such as a new prediction
        array[...] = np.where(rng.random(SHAPE) < 0.3, number, array)
        return [tuple((0, n) for n in SHAPE)]
    box = ((z, z + 1), (y, min(SHAPE[1], y + 21)), (x, min(SHAPE[2], x + 21)))
    array[tuple(slice(*part) for part in box)] = number
    return [box]


def after(count):
    """The layer after so many edits."""
    array = np.zeros(SHAPE, np.uint32)
    for number in range(1, count + 1):
        edit(array, number)
    return array


def main():
    """Open the project, recover it, and go on painting; print the number of each edit that is on the disk."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    project = open_project(IMAGE, folder)
    assert project.writable, project.obstacle
    found = restore(project)
    array = found.layers["correction"].array if "correction" in found.layers else np.zeros(SHAPE, np.uint32)
    session = Session(project, found.number)
    session.add_layer("correction", array, {"role": "correction"})
    sys.stdout.write(f"open {found.number}\n")
    for number in range(found.number + 1, found.number + count + 1):
        told = session.record("correction", "paint", edit(array, number))
        assert told == number
        if number % 10 == 0:
            session.snapshot()
        if number % 3 == 0 and session.wait(5):
            sys.stdout.write(f"saved {number}\n")
            sys.stdout.flush()
        time.sleep(0.001)
    session.close()
    sys.stdout.write("closed\n")


if __name__ == "__main__":
    main()
