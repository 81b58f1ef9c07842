"""What the fast mode changes, measured against the exact mode on the user's image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from napari_unet.inference.engines.base import Engine, Read
from napari_unet.inference.exact.intervals import Window, size_of, view
from napari_unet.weights.spec import INSTANCE_CLASSES, Activation

# Share of the pixels that may get another label. Tiles that start one pixel off a network's grid, as other
# tilers have them, change 0.3 % on the edges of nuclei; windows are chosen where most can change.
MOST_CHANGED = 0.005
# A flow, from 0 to 1, may differ by so much along an axis before its pixel counts as one that goes elsewhere.
MOST_TURNED = 0.2


@dataclass(frozen=True, slots=True)
class Change:
    """What the fast mode changes.

    Attributes
    ----------
    windows, pixels : int
        That it was measured on.
    changed : float
        Share of the pixels that get another label.
    largest, mean : float
        Difference in probability.
    exact_s, fast_s : float
        Time that the windows took in each mode.
    """

    windows: int
    pixels: int
    changed: float
    largest: float
    mean: float
    exact_s: float
    fast_s: float

    @property
    def acceptable(self) -> bool:
        """Whether so few labels change that the fast mode may be used."""
        return self.changed <= MOST_CHANGED

    @property
    def quicker(self) -> bool:
        """Whether it is quicker at all on this machine."""
        return self.fast_s < self.exact_s

    @property
    def trusted(self) -> bool:
        """Whether to use it."""
        return self.acceptable and self.quicker

    @property
    def sentence(self) -> str:
        """What the user should know."""
        where = f"measured on {_counted(self.windows)} of this image"
        share = percent(self.changed)
        if not self.acceptable:
            return (
                f"The fast mode would change {share} of the pixels ({where}), more than {percent(MOST_CHANGED)}: the "
                "exact mode is used instead."
            )
        if not self.quicker:
            return f"The fast mode is not quicker on this machine ({where}): the exact mode is used instead."
        return (
            f"The fast mode changes {share} of the pixels, and probabilities by {self.mean:.1g} on average ({where})."
        )


def measure_change(
    exact: Engine, fast: Engine, samples: Sequence[tuple[Read, Window]], activation: Activation
) -> Change:
    """Run both modes on windows of an image and compare them.

    Parameters
    ----------
    exact, fast : Engine
        For planes or volumes of the image's size.
    samples : sequence of (read, window)
        How the plane or volume is read, and which part of it is looked at.
    activation : "softmax" | "sigmoid" | "none" | "flows"
        Of the model: which pixels get another label depends on it.
    """
    changed = pixels = 0
    largest = total = exact_s = fast_s = 0.0
    for read, window in samples:
        expected, seconds = _timed(exact, read, window)
        exact_s += seconds
        _timed(fast, read, window)  # programs are made in the first run
        found, seconds = _timed(fast, read, window)
        fast_s += seconds
        changed += int(_differing(expected, found, activation).sum())
        classes = len(INSTANCE_CLASSES) if activation == "flows" else expected.shape[1]
        difference = (expected - found)[:, :classes].abs()
        largest, total = max(largest, float(difference.max())), total + float(difference.mean())
        pixels += expected.shape[0] * expected[0, 0].numel()
    count = len(samples)
    return Change(count, pixels, changed / pixels, largest, total / count, exact_s, fast_s)


def percent(share: float) -> str:
    """Write a share for people, with two digits that count.

    >>> percent(0.000712), percent(0.0213), percent(0.0)
    ('0.071 %', '2.1 %', '0 %')
    """
    return f"{100 * share:.2g} %"


def _timed(engine: Engine, read: Read, window: Window) -> tuple[Tensor, float]:
    """Compute a window, and measure how long that takes."""
    start = time.perf_counter()
    parts = list(engine.run(read, window))
    seconds = time.perf_counter() - start
    values = torch.empty((*parts[0][1].shape[:2], *size_of(window)))
    for piece, part in parts:
        view(values, window, piece).copy_(part)
    return values, seconds


def _differing(expected: Tensor, found: Tensor, activation: Activation) -> Tensor:
    """Say which pixels (N, *size) get another label."""
    match activation:
        case "softmax" | "none":
            return expected.argmax(1) != found.argmax(1)
        case "flows":
            classes = len(INSTANCE_CLASSES)
            one, other = expected[:, :classes].argmax(1), found[:, :classes].argmax(1)
            turned = ((expected - found)[:, classes:].abs() > MOST_TURNED).any(1)
            return (one != other) | (turned & (one > 0))
        case "sigmoid":
            return ((expected > 0.5) != (found > 0.5)).any(1)
        case _:
            assert_never(activation)


def _counted(windows: int) -> str:
    return "1 window" if windows == 1 else f"{windows} windows"
