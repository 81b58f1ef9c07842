"""How probabilities become labels."""

from __future__ import annotations

from pydantic import Field

from napari_unet.networks.spec import Config

MOST_REACH_PX = 50


class ObjectOptions(Config):
    """Settings that can be changed without running the network again.

    Attributes
    ----------
    threshold : float
        A pixel is foreground where its probability of not being background exceeds this.
    seed_threshold : float
        Connected pixels whose probability of being interior exceeds this seed one object. Not used with flows.
    reach_px : int
        With flows: places where pixels end are of one object if they are at most so many pixels apart along Y or X.
        Higher values join what lower ones part.
    min_size_px : int
        Smaller objects are dropped; pixels in 2D (per slice), voxels in 3D, of the image as it was given.
    fill_holes : bool
        Fill background that an object encloses.
    join_z : bool
        With a 2D model on a stack: join objects of neighbouring slices that overlap.
    join_overlap : float
        How much of the smaller of two such objects must lie on the other.
    close_gaps : bool
        Of classes: continue walls, such as membranes, across gaps, so that the cells between them stay apart.
    """

    threshold: float = Field(default=0.5, gt=0, lt=1)
    seed_threshold: float = Field(default=0.5, gt=0, lt=1)
    reach_px: int = Field(default=3, ge=1, le=MOST_REACH_PX)
    min_size_px: int = Field(default=20, ge=0)
    fill_holes: bool = True
    join_z: bool = True
    join_overlap: float = Field(default=0.75, gt=0, le=1)
    close_gaps: bool = False
