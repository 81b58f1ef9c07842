"""Knowing an image again by its pixels, whatever it is called."""

from __future__ import annotations

import hashlib

import numpy as np

from napari_unet.imaging.image import Image

MOST_CHANNELS = 8
_BAND_PX, _WIDTH_PX = 8, 1024


def fingerprints(image: Image) -> tuple[str, ...]:
    """Fingerprint each channel of an image by a few rows of its first time point and middle slice.

    Little is read, so that images of any size can be looked at. The same pixels give the same fingerprint in any
    integer or float type that holds them.

    Parameters
    ----------
    image : Image

    Returns
    -------
    tuple of str
        Of at most 8 channels, without those that are blank there. Empty if all are: then only the name can tell.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    size = image.sizes
    middle = size["Z"] // 2
    left = max(0, (size["X"] - _WIDTH_PX) // 2)
    rows = sorted({size["Y"] * quarter // 4 for quarter in (1, 2, 3)})
    channels = range(min(size["C"], MOST_CHANNELS))
    bands = [
        image.read(
            0,
            slice(middle, middle + 1),
            slice(row, min(row + _BAND_PX, size["Y"])),
            slice(left, min(left + _WIDTH_PX, size["X"])),
            channels,
        )
        for row in rows
    ]
    seen = np.concatenate(bands, axis=2).astype(np.float32)  # (C, 1, Y, X)
    found = [
        hashlib.sha256(f"{size['Y']} x {size['X']}".encode() + channel.tobytes()).hexdigest()[:16]
        for channel in seen
        if (channel != channel.flat[0]).any()
    ]
    return tuple(dict.fromkeys(found))
