"""What a model remembers of images that it learnt from: which part was learnt from, and which was held out."""

from __future__ import annotations

from typing import Literal

from napari_unet.networks.spec import Config

Span = tuple[int, int]
Planes = tuple[Span, Span]
"""(start, stop) along T and along Z."""


class Division(Config):
    """How an image was divided into a part to learn from and one that is held out, by all fine-tunings of a lineage.

    An image is divided in one of two ways: by whole planes (or volumes), or by strips that are the same in all
    planes. Pixels are those of the image, whatever scale the network saw it at.

    Attributes
    ----------
    name : str
        Of the image.
    sizes : tuple of int
        Along T, Z, Y and X.
    marks : tuple of str
        Fingerprints of its channels; see `napari_unet.imaging.fingerprints`.
    train_planes, held_planes : tuple of ((start, stop) along T, (start, stop) along Z)
        Whole planes that were learnt from, and that were held out.
    axis : "Y" | "X", optional
        Along which the image is divided into strips; None if it is not.
    train_spans, held_spans : tuple of (start, stop)
        Along that axis: strips that hold everything that was learnt from, and that were held out.
    box : ((start, stop) along Y, (start, stop) along X), optional
        What was learnt from in an image of which nothing could be held out yet; beyond it something may be.
    """

    name: str
    sizes: tuple[int, int, int, int]
    marks: tuple[str, ...] = ()
    train_planes: tuple[Planes, ...] = ()
    held_planes: tuple[Planes, ...] = ()
    axis: Literal["Y", "X"] | None = None
    train_spans: tuple[Span, ...] = ()
    held_spans: tuple[Span, ...] = ()
    box: tuple[Span, Span] | None = None

    def role(self, planes: Planes) -> Literal["train", "held-out"] | None:
        """Tell what planes were used for; None if they were not, or if the image is divided into strips."""
        if any(_within(planes, held) for held in self.held_planes):
            return "held-out"
        return "train" if any(_within(planes, learnt) for learnt in self.train_planes) else None


def near(planes: Planes, others: tuple[Planes, ...], gap: int = 1) -> bool:
    """Whether planes overlap with others, or are one of the next `gap` slices or time points.

    >>> near(((0, 1), (3, 4)), (((0, 1), (4, 9)),)), near(((0, 1), (3, 4)), (((1, 2), (4, 9)),))
    (True, False)
    """
    return any(_apart(planes[0], other[0]) + _apart(planes[1], other[1]) <= gap for other in others)


def _apart(one: Span, other: Span) -> int:
    """How many steps lie between two spans; 0 if they overlap, 1 if one begins where the other ends."""
    return max(0, one[0] - other[1] + 1, other[0] - one[1] + 1)


def _within(planes: Planes, others: Planes) -> bool:
    return all(b <= a and c <= d for (a, c), (b, d) in zip(planes, others, strict=True))
