"""Three real images of nuclei with corrected labels, small enough to come with the package.

They are from the set that the bundled model was tested on, never trained on: the 2018 Data Science
Bowl, BBBC038v1 (https://bbbc.broadinstitute.org/BBBC038, Caicedo et al. 2019,
https://doi.org/10.1038/s41592-019-0612-7), CC0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import tifffile

FOLDER = Path(__file__).parent / "sample_images"
SampleName = Literal["fluorescence", "tissue", "brightfield"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A real image and what is in it.

    Attributes
    ----------
    image : (Y, X) or (Y, X, C) uint8
    axes : "YX" | "YXC"
    truth : (Y, X) uint8
        Instance labels from 1 without gaps; 0 is background.
    """

    image: npt.NDArray[Any]
    axes: str
    truth: npt.NDArray[Any]


def open_sample(name: SampleName) -> Sample:
    """Open a real sample: nuclei in fluorescence, of stained tissue (in colour), or in brightfield."""
    image = tifffile.imread(FOLDER / f"{name}.tif")
    truth = tifffile.imread(FOLDER / f"{name}_labels.tif")
    return Sample(image, "YX" if image.ndim == 2 else "YXC", truth)
