"""Finding out what a network takes and gives by running it on noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ModelError

Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]

# Sides to try, the likeliest first: 188 and 572 suit unpadded U-Nets.
SIDES = {2: (64, 256, 188, 572, 96), 3: (32, 64, 16, 96)}
STEPS = (1, 2, 4, 8, 16, 32, 64)
SEEN_SIDE = {2: 256, 3: 64}
MOST_CONTEXT = {2: 64, 3: 16}
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Layout:
    """What may be known of the input of a network.

    Attributes
    ----------
    dims : tuple of int
        2, 3 or both, the likelier first.
    channels : tuple of int
        Numbers of input channels to try.
    last : bool
        Whether channels are the last axis.
    sides : tuple of int
        The only sides that it takes; empty if it takes several.
    """

    dims: tuple[int, ...] = (2, 3)
    channels: tuple[int, ...] = (1, 3, 2, 4)
    last: bool = False
    sides: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What running a network showed; see `IsolatedOptions`."""

    dims: int
    in_channels: int
    out_channels: int
    least: int = 1
    step: int = 1
    lost: int = 0
    enlarged: int = 1
    context: int = 64
    window: tuple[int, ...] = ()


def layout_of(shape: Sequence[int]) -> Layout:
    """Read the declared shape of an input, batch first, 0 where any size is taken.

    >>> layout_of((1, 0, 0, 3))
    Layout(dims=(2,), channels=(3,), last=True, sides=())
    >>> layout_of((0, 1, 256, 128))
    Layout(dims=(2,), channels=(1,), last=False, sides=(256, 128))
    """
    if len(shape) not in (4, 5):
        return Layout()
    second, final = shape[1], shape[-1]
    last = final > 0 and (second == 0 or final < second)
    channels, sides = (final, shape[1:-1]) if last else (second, shape[2:])
    dims = len(shape) - 2
    fixed = tuple(side or SEEN_SIDE[dims] for side in sides) if any(sides) else ()
    return Layout((dims,), (channels,) if channels else Layout().channels, last, fixed)


def probe(name: str, run: Run, layout: Layout) -> Found:
    """Find out what a network takes and gives.

    Parameters
    ----------
    name : str
        For messages.
    run : callable
        From (1, C, *size) float32 to (1, K, *size) float32; raises `ModelError` where it does not work.
    layout : Layout
        What is known already.

    Raises
    ------
    ModelError
        If it takes no image of any size tried, or gives no image.
    """
    image, output = _first(name, run, layout)
    dims, side = image.ndim - 2, image.shape[-1]
    step = None if layout.sides else _step(run, image.shape, output.shape)
    if step is None:
        sides = image.shape[2:]
        if output.shape[2:] != sides:
            raise ModelError(
                f'"{name}" takes images of {sides} pixels only and gives {output.shape[2:]}. Networks of a '
                "fixed size must give the size that they take."
            )
        return Found(dims, image.shape[1], output.shape[1], context=min(sides) // 4, window=sides)
    enlarged, lost = _relation(side, output.shape[-1])
    shape = (1, image.shape[1], *(SEEN_SIDE[dims] + (side - SEEN_SIDE[dims]) % step,) * dims)
    least = step if not lost and not side % step and step < side and _works(run, shape[:2], step, dims) else side
    seen = _context(run, shape if shape[-1] >= side else image.shape, lost, enlarged)
    return Found(dims, image.shape[1], output.shape[1], least, step, lost, enlarged, min(seen, MOST_CONTEXT[dims]))


def _first(name: str, run: Run, layout: Layout) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Find an image that the network takes."""
    reason = ""
    for shape in _shapes(layout):
        image = _noise(shape)
        try:
            output = run(image)
        except ModelError as error:
            reason = reason or str(error)
            continue
        if output.ndim == image.ndim and _relation(shape[-1], output.shape[-1])[0]:
            return image, output
        reason = f"from an image of {shape} it gives {output.shape}, which is no image"
    raise ModelError(f'"{name}" takes no image of any size that was tried: {reason.rstrip(".")}.')


def _shapes(layout: Layout) -> Iterator[tuple[int, ...]]:
    for dims in layout.dims:
        for sides in [layout.sides] if layout.sides else [(side,) * dims for side in SIDES[dims]]:
            for channels in layout.channels:
                yield (1, channels, *sides)


def _noise(shape: Sequence[int], seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _relation(side: int, out: int) -> tuple[int, int]:
    """How many times larger an output is, and how many pixels it then lacks on each side; (0, 0) if neither.

    >>> _relation(64, 64), _relation(64, 192), _relation(188, 4), _relation(64, 32), _relation(256, 1)
    ((1, 0), (3, 0), (1, 92), (1, 16), (0, 0))
    """
    if out >= side:
        return (out // side, 0) if out % side == 0 else (0, 0)
    return (1, (side - out) // 2) if out > 1 and (side - out) % 2 == 0 else (0, 0)


def _works(run: Run, start: Sequence[int], side: int, dims: int) -> bool:
    try:
        return bool(run(_noise((*start, *(side,) * dims))).shape[-1] == side)
    except ModelError:
        return False


def _step(run: Run, taken: Sequence[int], given: Sequence[int]) -> int | None:
    """Find by how much a side must grow for the network to take it and lose as many pixels as before, if at all."""
    side, relation = taken[-1], _relation(taken[-1], given[-1])
    for step in STEPS:
        try:
            output = run(_noise((*taken[:2], *(side + step,) * (len(taken) - 2))))
        except ModelError:
            continue
        if _relation(side + step, output.shape[-1]) == relation:
            return step
    return None


def _context(run: Run, shape: Sequence[int], lost: int, enlarged: int) -> int:
    """See how far a change of one half of an image reaches into the other."""
    one, other = _noise(shape), _noise(shape)
    half = shape[-1] // 2
    other[..., half:] = _noise(shape, seed=1)[..., half:]
    before, after = run(one), run(other)
    change = np.abs(after - before).reshape(-1, before.shape[-1]).max(axis=0)
    changed = np.flatnonzero(change > TOLERANCE * max(float(before.std()), 1e-12))
    if not changed.size:
        return half
    first = changed[0] // enlarged + lost
    return int(half - first) if changed[0] else half
