"""File > Open Sample: real images that come with a dependency, and synthetic ones with known truth."""

from __future__ import annotations

from typing import Any

LayerData = tuple[Any, dict[str, Any], str]


def tissue() -> list[LayerData]:
    """Return a section of colon, stained for FHL2 and counterstained with haematoxylin; RGB."""
    from skimage.data import immunohistochemistry

    return [(immunohistochemistry(), {"name": "ihc", "rgb": True}, "image")]


def single_cell() -> list[LayerData]:
    """Return a cell in bright field, from a quantitative phase imaging study."""
    from skimage.data import cell

    return [(cell(), {"name": "cell"}, "image")]
