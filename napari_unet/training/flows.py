"""What a network with flows is taught: which way the middle of its object lies, for each pixel.

References
----------
Stringer et al. (2021), Cellpose, https://doi.org/10.1038/s41592-020-01018-x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage as ndi
from torch import Tensor

from napari_unet.training.losses import masked_mean
from napari_unet.weights.spec import FLOWS

Floats = npt.NDArray[np.float32]

# Heat spreads for as many steps as an object is high and wide, but no more than these. Twice as many turn vectors by
# two degrees on average.
MOST_HEATING = 200
TINY = 1e-12


def flow_targets(labels: npt.NDArray[Any]) -> Floats:
    """Return unit vectors that lead each pixel of an object to its middle.

    Heat spreads inside of each object from the pixel that is nearest to the median of its pixels, and the vectors point
    where it is warmer. So they stay inside, also of objects that are not convex.

    Parameters
    ----------
    labels : (N, Y, X) integer
        Object ids; 0 is background.

    Returns
    -------
    (N, 2, Y, X) float32
        Along Y and X; 0 in the background, and where an object is a single pixel.
    """
    flows = np.zeros((len(labels), 2, *labels.shape[1:]), np.float32)
    for plane, out in zip(labels, flows, strict=True):
        own = [((beside == plane) & (plane > 0)).astype(np.float32) for beside in _beside(np.pad(plane, 1))]
        up, down, left, right = (o * b for o, b in zip(own, _beside(np.log1p(_heat(plane, own))), strict=True))
        warmer = np.stack([down - up, right - left])
        out[:] = warmer / np.maximum(np.linalg.norm(warmer, axis=0), TINY)
    return flows


def _heat(plane: npt.NDArray[Any], own: Sequence[Floats]) -> Floats:
    """Let heat spread in a plane from the middle of each object to those of its pixels that are `own` beside one."""
    sources, steps = _sources(plane)
    heat = np.zeros(np.add(plane.shape, 2), np.float32)
    inner, beside = heat[1:-1, 1:-1], _beside(heat)
    total, part = np.empty_like(sources), np.empty_like(sources)
    for _ in range(min(steps, MOST_HEATING)):
        np.add(inner, sources, out=total)
        for other, values in zip(own, beside, strict=True):
            np.multiply(other, values, out=part)
            total += part
        np.multiply(total, np.float32(1 / 5), out=inner)
    return heat


def flow_loss(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Squared distance between the flows that a network gives inside of objects and those that lead to their middle.

    Parameters
    ----------
    logits : (N, K, Y, X)
        Raw output; the last two channels are the flows.
    labels : (N, Y, X)
        Object ids; 0 is background, and what is negative lies beyond the edge of the image. On the CPU.
    weight : (N, Y, X) float
        Of each pixel; 0 means ignored. So are objects that end at an ignored pixel, or of which most is ignored: nobody
        knows where their middle is. Higher where objects touch, it tells apart small ones.

    Returns
    -------
    scalar
        Mean over the pixels of all objects that are not ignored, of which those of ignored objects count as 0; 0, with
        a gradient of 0, if there are none.
    """
    signed = labels.numpy().astype(np.int64)
    ids, known = np.maximum(signed, 0), (weight.cpu().numpy() > 0) | (signed < 0)
    targets, counts = flow_targets(ids), whole_objects(ids, known)
    wanted, whole, inside = (torch.from_numpy(x).to(logits.device) for x in (targets, counts, ids > 0))
    return masked_mean(whole * _distance(flows_of(logits), wanted), weight.to(logits.device) * inside)


def flow_imitation_loss(logits: Tensor, known: Tensor) -> Tensor:
    """Squared distance between the flows of two networks, where the second one sees objects.

    Parameters
    ----------
    logits, known : (N, K, Y, X)
        Raw output of the network that learns, and of the one that is imitated; the first channel is the background, the
        last two are the flows.

    Returns
    -------
    scalar
        Mean over pixels; 0 if both say the same.
    """
    background = torch.softmax(known[:, : -len(FLOWS)].float(), dim=1)[:, 0]
    return ((1 - background) * _distance(flows_of(logits), flows_of(known))).mean()


def whole_objects(labels: npt.NDArray[Any], known: npt.NDArray[np.bool_]) -> Floats:
    """Return 1 for known pixels of objects that do not end at an unknown one, and half of which are known, else 0.

    Parameters
    ----------
    labels : (N, Y, X) integer
        Object ids; 0 is background.
    known : (N, Y, X) bool
    """
    counts = (known & (labels > 0)).astype(np.float32)
    for plane, here, out in zip(labels, known, counts, strict=True):
        ends = np.zeros(plane.shape, bool)
        beyond = zip(_beside(np.pad(plane, 1, mode="edge")), _beside(np.pad(here, 1, mode="edge")), strict=True)
        for other, known_there in beyond:
            ends |= here & ~known_there & (other != plane)
        ids, place, sizes = np.unique(plane, return_inverse=True, return_counts=True)
        place = place.reshape(plane.shape)
        some = np.bincount(place[here], minlength=len(ids)) < sizes / 2
        some[place[ends]] = True
        out[some[place]] = 0
    return counts


def _distance(flows: Tensor, wanted: Tensor) -> Tensor:
    """From (N, 2, Y, X) and the same to (N, Y, X)."""
    return ((flows - wanted) ** 2).sum(dim=1)


def flows_of(logits: Tensor) -> Tensor:
    """From logits (N, K, Y, X), the last two of which are flows, to pixels from -1 to 1 along Y and X (N, 2, Y, X)."""
    return 2 * torch.sigmoid(logits[:, -len(FLOWS) :].float()) - 1


def _sources(plane: npt.NDArray[Any]) -> tuple[Floats, int]:
    """Return 1 in the middle of each object of (Y, X) ids, and for how many steps heat spreads."""
    sources, steps = np.zeros(plane.shape, np.float32), 0
    if plane.max(initial=0) > plane.size:
        found, numbered = np.unique(plane, return_inverse=True)
        plane = numbered.reshape(plane.shape) + int(found[0] > 0)
    for number, box in enumerate(ndi.find_objects(plane), start=1):
        if box is not None:
            places = np.argwhere(plane[box] == number)
            nearest = places[((places - np.median(places, axis=0)) ** 2).sum(axis=1).argmin()]
            sources[box][tuple(nearest)] = 1
            steps = max(steps, sum(part.stop - part.start for part in box))
    return sources, steps


def _beside(padded: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    """Return views of (Y + 2, X + 2) that hold the pixel above, below, left and right of each."""
    return padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
