"""What the panel knows about segmenting many images."""

from __future__ import annotations

from typing import Literal

from napari_unet.networks.spec import Config

Status = Literal["waiting", "running", "done", "skipped", "failed"]


class BatchRow(Config):
    """An image of many.

    Attributes
    ----------
    name : str
        Of its results, with the folder below which they are put.
    path : str
        Of the image.
    folder : str
        Of its results, relative to that of all results.
    status : "waiting" | "running" | "done" | "skipped" | "failed"
        "skipped" is what had been done before.
    share : float
        Of the network's work on it that is done.
    objects : int, optional
        How many were found; None where that is not known.
    text : str
        How it was done, or why not.
    files : tuple of str
        That were written.
    """

    name: str
    path: str
    folder: str = ""
    status: Status = "waiting"
    share: float = 0.0
    objects: int | None = None
    text: str = ""
    files: tuple[str, ...] = ()


class Batch(Config):
    """Many images, and what has become of them.

    Attributes
    ----------
    folder : str
        Whose images they are; empty if files were chosen one by one, or nothing yet.
    files : tuple of str
        That were chosen one by one.
    below : bool
        Whether the images in folders below count, too.
    results : str
        Folder for the results; empty as long as it was not chosen.
    estimates : bool
        Whether the diameter is estimated for each image.
    overwrite : bool
        Whether all images are done again, and files that are there are replaced.
    rows : tuple of BatchRow
    trouble : str
        Why there are none; empty if nobody knows a reason.
    """

    folder: str = ""
    files: tuple[str, ...] = ()
    below: bool = False
    results: str = ""
    estimates: bool = False
    overwrite: bool = False
    rows: tuple[BatchRow, ...] = ()
    trouble: str = ""

    def count(self, *statuses: Status) -> int:
        """Return how many images have one of these statuses."""
        return sum(row.status in statuses for row in self.rows)
