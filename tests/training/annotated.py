"""Images with known objects, sorted as the benchmark of annotation wants them."""

import numpy as np
import tifffile


def squares(seed, size=72):
    """Bright squares of 10 pixels on dark ground, in the cells of a grid."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), np.uint16)
    for number, (y, x) in enumerate(np.ndindex(4, 4), start=1):
        dy, dx = rng.integers(0, 6, 2)
        labels[18 * y + dy : 18 * y + dy + 10, 18 * x + dx : 18 * x + dx + 10] = number
    return ((labels > 0) * 150 + rng.integers(0, 30, labels.shape)).astype(np.uint8), labels


def write_squares(root, kinds):
    """Write three training images and one test image of each kind."""
    for number, split in enumerate(("train", "train", "train", "test")):
        pixels, labels = squares(number)
        for kind in kinds:
            for name, array in (("images", pixels), ("labels", labels)):
                place = root / "nuclei" / split / kind / name
                place.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(place / f"{number}.tif", array)
    return root
