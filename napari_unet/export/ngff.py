"""The metadata of OME-Zarr 0.4 (Zarr 2) and 0.5 (Zarr 3).

The two say the same in different places: 0.4 in the attributes of a group, 0.5 below their key "ome".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from napari_unet.export.pyramids import Level, Reduction
from napari_unet.imaging.image import Image
from napari_unet.version import VERSION

Version = Literal["0.4", "0.5"]
Metadata = dict[str, Any]

_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_METHODS: dict[Reduction, Metadata] = {
    "mean": {"type": "mean", "metadata": {"description": "the mean of 2 pixels along each axis that is halved"}},
    "nearest": {"type": "nearest", "metadata": {"description": "every second pixel along each axis that is halved"}},
}
# Okabe and Ito's: people who see fewer colours can tell them apart, too.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))

MARK = "napari-unet"
"""Key of the attribute by which our own stores are known."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of the full resolution lie in the world.

    Attributes
    ----------
    letters : str
        Axes of the array, in canonical order.
    axes : tuple of dict
        As OME-Zarr describes them.
    scale, translation : tuple of float
        Along these axes, in their units.
    """

    letters: str
    axes: tuple[Metadata, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]

    @classmethod
    def of(cls, image: Image, interval_s: float | None = None) -> Grid:
        """Describe the grid of an image of ours."""
        letters = "".join(axis for axis in "TCZYX" if axis in image.axes)
        known = {**dict(zip("ZYX", image.pixel_size.along("ZYX"), strict=True)), "T": interval_s}
        axes, scale = [], []
        for letter in letters:
            step = known.get(letter)
            unit = {} if step is None else {"unit": "second" if letter == "T" else "micrometer"}
            axes.append({"name": letter.lower(), "type": _TYPES[letter], **unit})
            scale.append(1.0 if step is None else float(step))
        return cls(letters, tuple(axes), tuple(scale), (0.0,) * len(letters))

    @classmethod
    def stored(cls, multiscale: Mapping[str, Any], letters: str) -> Grid:
        """Take some axes of a grid from the metadata of a store, in their order there."""
        axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in multiscale.get("axes") or "tczyx"]
        level = multiscale["datasets"][0]
        scale, translation = [1.0] * len(axes), [0.0] * len(axes)
        for holder in (level, multiscale):
            for step in holder.get("coordinateTransformations", ()):
                if step.get("type") == "scale" and len(step.get("scale", ())) == len(axes):
                    scale = [a * b for a, b in zip(scale, step["scale"], strict=True)]
                    translation = [a * b for a, b in zip(translation, step["scale"], strict=True)]
                elif step.get("type") == "translation" and len(step.get("translation", ())) == len(axes):
                    translation = [a + b for a, b in zip(translation, step["translation"], strict=True)]
        names = [axis["name"].upper() for axis in axes]
        described = tuple({"type": _TYPES[name], **axis} for name, axis in zip(names, axes, strict=True))
        return cls("".join(names), described, tuple(scale), tuple(translation)).along(letters)

    def along(self, letters: str) -> Grid:
        """Return the grid along some of its axes."""
        kept = [i for i, letter in enumerate(self.letters) if letter in letters]
        return Grid(
            "".join(self.letters[i] for i in kept),
            tuple(self.axes[i] for i in kept),
            tuple(self.scale[i] for i in kept),
            tuple(self.translation[i] for i in kept),
        )

    def transformations(self, level: Level, reduction: Reduction) -> list[Metadata]:
        """Say where the pixels of a level lie."""
        factors = [level.factors.get(letter, 1) for letter in self.letters]
        offsets = [level.offsets(reduction).get(letter, 0.0) for letter in self.letters]
        scale = [size * factor for size, factor in zip(self.scale, factors, strict=True)]
        places = zip(self.translation, offsets, self.scale, strict=True)
        translation = [first + offset * size for first, offset, size in places]
        return [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]


def multiscale(name: str, grid: Grid, levels: Sequence[Level], reduction: Reduction, version: Version) -> Metadata:
    """Describe the levels of an image, which are called 0, 1 and so on."""
    return {
        **({"version": version} if version == "0.4" else {}),
        "name": name,
        "axes": list(grid.axes),
        "datasets": [
            {"path": str(number), "coordinateTransformations": grid.transformations(level, reduction)}
            for number, level in enumerate(levels)
        ],
        **_METHODS[reduction],
    }


def image_label(classes: Sequence[str], version: Version, *, inside: bool) -> Metadata:
    """Describe labels.

    Parameters
    ----------
    classes : sequence of str
        Names of the labels 1, 2 and so on where these are classes.
    version : "0.4" | "0.5"
    inside : bool
        Whether they lie in the store of their image.
    """
    named = [{"label-value": number, "class": name} for number, name in enumerate(("background", *classes))]
    colours = [(0, 0, 0, 0), *((*_COLOURS[number % len(_COLOURS)], 255) for number in range(len(classes)))]
    shown = [{"label-value": number, "rgba": list(colour)} for number, colour in enumerate(colours)]
    return {
        **({"version": version} if version == "0.4" else {}),
        # viewers do not show what is left out of the colours, so objects, of which there are many, get none
        **({"colors": shown, "properties": named} if classes else {}),
        **({"source": {"image": "../../"}} if inside else {}),
    }


def attributes(content: Metadata, version: Version, *, marked: bool = False) -> Metadata:
    """Put metadata where a version wants them."""
    mark = {MARK: {"version": VERSION}} if marked else {}
    return {**mark, **(content if version == "0.4" else {"ome": {"version": version, **content}})}
