"""The annotator's hand: where the pointer is, what is chosen, and what it has cost to get there.

Moving to a target takes as long as Fitts' law says, in Shannon's form, with a throughput of 4.5 bits a second;
with a mouse 3.7 to 4.9 were measured (Soukoreff and MacKenzie 2004, doi 10.1016/j.ijhcs.2004.09.001). Drawing goes
at 400 pixels of the screen a second, as with the simulated annotator of RootPainter. Where actions are compared,
a key, a click and a step of the wheel take 0.2 s each (keystroke-level model, doi 10.1145/358886.358895).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import dist, log2
from typing import Any

ZOOM = 3.0
"""Pixels of the screen along one of the image."""
BITS_PER_S = 4.5
DRAWN_PX_PER_S = 400.0
PRESS_S = 0.2
# The panel is so far from the middle of the image, and its buttons are so high.
PANEL_PX, BUTTON_PX = 600.0, 22.0

Place = tuple[float, float]
Action = tuple[Any, ...]
"""What was done, in words that `replaying` understands."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What work has cost.

    Attributes
    ----------
    clicks, keys, wheel : int
        Mouse buttons and keys pressed, steps of the wheel.
    travel_px, travel_s : float
        Of the pointer on the screen, moving and drawing.
    """

    clicks: int = 0
    keys: int = 0
    wheel: int = 0
    travel_px: float = 0.0
    travel_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def __sub__(self, other: Cost) -> Cost:
        return Cost(*(a - b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, int, int, float, float]:
        """Return the figures in order."""
        return self.clicks, self.keys, self.wheel, self.travel_px, self.travel_s

    @property
    def seconds(self) -> float:
        """Everything in seconds, by which actions are chosen."""
        return self.travel_s + PRESS_S * (self.clicks + self.keys + self.wheel)


@dataclass(frozen=True, slots=True)
class Hand:
    """Where the pointer is and what is chosen. Each method returns what it is like afterwards.

    Attributes
    ----------
    at : (y, x)
        In pixels of the image.
    tool : str
        Mode of napari, or one of our tools.
    label, other : int
        The chosen label, and the one that the key X brings back if background is chosen.
    size : int
        Of the brush; 10 is napari's default.
    extent : float
        Of smart fill.
    preserve : bool
        Whether the brush paints over background only.
    next_id : int
        An id that no object has.
    quick : bool
        Whether our key takes the label of the object under the pointer.
    """

    at: Place
    next_id: int
    tool: str = "pan_zoom"
    label: int = 1
    other: int = 0
    size: int = 10
    extent: float = 0.5
    preserve: bool = False
    quick: bool = False
    cost: Cost = Cost()
    actions: tuple[Action, ...] = ()

    def did(self, *action: Any) -> Hand:  # noqa: ANN401
        """Note what was done."""
        return replace(self, actions=(*self.actions, action))

    def press(self, keys: int = 1) -> Hand:
        """Press keys."""
        return replace(self, cost=self.cost + Cost(keys=keys))

    def turn(self, steps: int) -> Hand:
        """Turn the wheel."""
        return replace(self, cost=self.cost + Cost(wheel=abs(steps)))

    def move(self, to: Place, width: float) -> Hand:
        """Point at something so many pixels of the image wide."""
        distance = dist(self.at, to) * ZOOM
        seconds = log2(distance / (max(width, 1.0) * ZOOM) + 1) / BITS_PER_S
        return replace(self, at=to, cost=self.cost + Cost(travel_px=distance, travel_s=seconds))

    def click(self, at: Place, width: float) -> Hand:
        """Point and click."""
        hand = self.move(at, width)
        return replace(hand, cost=hand.cost + Cost(clicks=1))

    def draw(self, points: Sequence[Place], width: float) -> Hand:
        """Press at the first point, draw through the others and let go."""
        hand = self.click(points[0], width)
        length = sum(dist(a, b) for a, b in pairwise(points)) * ZOOM
        return replace(hand, at=points[-1], cost=hand.cost + Cost(travel_px=length, travel_s=length / DRAWN_PX_PER_S))

    def visit(self, gaps: Sequence[float]) -> Hand:
        """Go to the panel and click its buttons, so many pixels of the screen apart; then come back."""
        cost = self.cost
        for gap in gaps:
            cost = cost + Cost(clicks=1, travel_px=gap, travel_s=log2(gap / BUTTON_PX + 1) / BITS_PER_S)
        back = Cost(travel_px=gaps[0], travel_s=log2(gaps[0] / BUTTON_PX + 1) / BITS_PER_S)
        return replace(self, cost=cost + back)

    def take(self, tool: str) -> Hand:
        """Choose a mode or a tool by its key."""
        return self if tool == self.tool else replace(self.press(), tool=tool).did("tool", tool)

    def choose_new(self) -> Hand:
        """Choose an id that no object has."""
        hand = replace(self.press(), label=self.next_id, other=0, next_id=self.next_id + 1)
        return hand.did("new")

    def choose(self, label: int, at: Place, width: float) -> Hand:
        """Choose the label of an object by the picker or our key, background and the one before it by X."""
        if label == self.label:
            return self
        if label == 0 or (self.label == 0 and label == self.other):
            return replace(self.press(), label=label, other=self.label).did("swap")
        if self.quick:
            return replace(self.move(at, width).press().did("take", at), label=label, other=0, tool="paint")
        return replace(self.take("pick").click(at, width).did("pick", at), label=label, other=0)

    def resize(self, size: int) -> Hand:
        """Choose a size of the brush: by [ and ], or by moving the mouse with Alt held."""
        change = abs(size - self.size)
        if not change:
            return self
        by_keys = replace(self.press(change), size=size)
        distance = change * ZOOM
        seconds = log2(distance / ZOOM + 1) / BITS_PER_S
        alt = replace(self.press(), size=size)
        alt = replace(alt, cost=alt.cost + Cost(travel_px=distance, travel_s=seconds))
        return min(by_keys, alt, key=lambda hand: hand.cost.seconds).did("size", size)

    def keep(self, *, preserve: bool) -> Hand:
        """Have the brush preserve labels, or not."""
        return self if preserve == self.preserve else replace(self.press(), preserve=preserve).did("preserve")
