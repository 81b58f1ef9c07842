"""The picture of a network, to scale, as SVG. Importing this does not import torch.

As in the figure of the U-Net's paper, a box is as wide as its block has channels and as high as its
features are, and each level of resolution has a row of its own. The SVG keeps to the subset that Qt
draws (SVG Tiny 1.2), so that the same picture serves the panel and the documentation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

from napari_unet.networks.outline import Link, Outline, Stage

GAP_PX = 9.0
ROW_GAP_PX = 18.0
TOP_PX = 96.0
MIN_PX = 3.0
FONT_PX = 9.0
LINE_PX = 15.0
# Of the boxes together; the rest of the width is gaps.
BOXES_SHARE = 0.62


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a picture, as CSS text."""

    text: str
    boxes: Mapping[str, str]
    links: Mapping[str, str]


BOXES = {
    "input": "#9a9a9a",
    "encoder": "#3f8fd2",
    "bottom": "#2f6fae",
    "decoder": "#e0893c",
    "dense": "#46a76b",
    "gate": "#b565c9",
    "head": "#c9453f",
}
LIGHT = Palette(
    "#333333", BOXES, {"next": "#777777", "down": "#3f8fd2", "up": "#d2711c", "skip": "#8a8a8a", "gate": "#a24fb8"}
)
DARK = Palette(
    "#d8d8d8", BOXES, {"next": "#a8a8a8", "down": "#69b0ec", "up": "#f0a868", "skip": "#909090", "gate": "#cf8fe0"}
)


@dataclass(frozen=True, slots=True)
class Box:
    """Where a stage lies in the picture, in pixels."""

    stage: Stage
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Its vertical centre."""
        return self.y + self.height / 2


def draw(outline: Outline, width_px: float = 320, palette: Palette = LIGHT) -> str:
    """Draw a network.

    Parameters
    ----------
    outline : Outline
    width_px : float
        Width of the picture; its height follows.
    palette : Palette

    Returns
    -------
    str
        SVG.
    """
    boxes = place(outline, width_px)
    bottom = max(box.y + box.height for box in boxes.values())
    legend = list(_legend(outline, bottom + ROW_GAP_PX, palette))
    height = bottom + ROW_GAP_PX + LINE_PX * len(legend)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width_px:g} {height:.0f}" width="{width_px:g}" '
        f'height="{height:.0f}" font-family="sans-serif" font-size="{FONT_PX:g}">'
    )
    parts = [
        head,
        *(_link(link, boxes, palette) for link in outline.links),
        *(_box(box, palette) for box in boxes.values()),
        *legend,
        "</svg>",
    ]
    return "\n".join(parts)


def place(outline: Outline, width_px: float) -> dict[str, Box]:
    """Lay the stages out: columns from left to right, a row for each level of resolution."""
    columns = sorted({stage.column for stage in outline.stages})
    gaps = GAP_PX * (len(columns) + 1)
    widest = {column: max(s.channels for s in outline.stages if s.column == column) for column in columns}
    room = max(width_px - gaps, BOXES_SHARE * width_px)
    unit = _unit(list(widest.values()), room)
    gap = (width_px - sum(max(MIN_PX, unit * channels) for channels in widest.values())) / (len(columns) + 1)
    left, x = {}, gap
    for column in columns:
        left[column] = x
        x += max(MIN_PX, unit * widest[column]) + gap
    tops = _rows(max(stage.level for stage in outline.stages))
    return {stage.name: _placed(stage, (left, widest, tops), unit) for stage in outline.stages}


def _unit(channels: list[int], room: float) -> float:
    """Pixels a channel: as many as fit, the thinnest boxes having a least width."""
    unit = room / sum(channels)
    for _ in range(8):
        thin = [n for n in channels if n * unit < MIN_PX]
        unit = (room - MIN_PX * len(thin)) / max(1, sum(channels) - sum(thin))
    return unit


def _rows(deepest: int) -> list[float]:
    """Top of the row of each level."""
    tops = [LINE_PX]
    for level in range(deepest):
        tops.append(tops[-1] + _height(level) + ROW_GAP_PX)
    return tops


def _height(level: int) -> float:
    return max(MIN_PX, TOP_PX * 0.5**level)


def _placed(stage: Stage, places: tuple[Mapping[float, float], Mapping[float, int], list[float]], unit: float) -> Box:
    left, widest, tops = places
    width, column = max(MIN_PX, unit * stage.channels), max(MIN_PX, unit * widest[stage.column])
    x = left[stage.column] + (column - width) / 2
    return Box(stage, x, tops[stage.level], width, _height(stage.level))


def _box(box: Box, palette: Palette) -> str:
    stage = box.stage
    words = f"{stage.name}: {stage.channels} channels"
    return (
        f'<g><title>{escape(words)}</title><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="1.5" fill="{palette.boxes[stage.kind]}"/>'
        f'<text x="{box.x + box.width / 2:.1f}" y="{box.y - 3:.1f}" text-anchor="middle" '
        f'fill="{palette.text}">{stage.channels}</text></g>'
    )


def _link(link: Link, boxes: Mapping[str, Box], palette: Palette) -> str:
    start, end = boxes[link.start], boxes[link.end]
    colour = palette.links[link.kind]
    if start.stage.level == end.stage.level:
        return _beside(start, end, colour, boxes)
    below = end.stage.level > start.stage.level
    x1 = start.x + start.width * (0.5 if below else 1)
    y1 = start.y + start.height if below else start.middle
    x2, y2 = (end.x, end.middle) if below else (end.x + min(end.width / 2, 4), end.y + end.height)
    return _arrow((x1, y1), (x2, y2), colour)


def _beside(start: Box, end: Box, colour: str, boxes: Mapping[str, Box]) -> str:
    """Draw an arrow within a row, arched where other boxes stand between."""
    x1, x2, y = start.x + start.width, end.x, start.middle
    between = [
        box for box in boxes.values() if box.stage.level == start.stage.level and x1 < box.x + box.width / 2 < x2
    ]
    if not between:
        return _arrow((x1, y), (x2, y), colour)
    foot = start.y + start.height
    rise = min(ROW_GAP_PX - 6, 4 + 2.0 * len(between))
    path = f"M{x1 - 1:.1f} {foot:.1f} Q{(x1 + x2) / 2:.1f} {foot + 2 * rise:.1f} {x2 + 1:.1f} {foot:.1f}"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="0.9"/>'


def _arrow(start: tuple[float, float], end: tuple[float, float], colour: str) -> str:
    """Draw a line with a head; Qt knows no markers."""
    (x1, y1), (x2, y2) = start, end
    angle = math.atan2(y2 - y1, x2 - x1)
    corners = [(x2, y2)] + [(x2 - 5 * math.cos(angle + turn), y2 - 5 * math.sin(angle + turn)) for turn in (-0.4, 0.4)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.1"/>'
        f'<polygon points="{points}" fill="{colour}"/>'
    )


def _legend(outline: Outline, top: float, palette: Palette) -> Iterator[str]:
    for number, (kind, words) in enumerate((k, w) for k, w in outline.legend.items() if w):
        y = top + LINE_PX * number
        if kind in palette.links:
            sign = _arrow((GAP_PX, y), (GAP_PX + 18, y), palette.links[kind])
        else:
            sign = (
                f'<rect x="{GAP_PX + 5:.1f}" y="{y - 5:.1f}" width="8" height="10" rx="1.5" '
                f'fill="{palette.boxes["encoder"]}" class="sign"/>'
            )
        text = f'<text x="{GAP_PX + 24:.1f}" y="{y + 3:.1f}" fill="{palette.text}">{escape(words)}</text>'
        yield f"<g>{sign}{text}</g>"
