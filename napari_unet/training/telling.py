"""What is held out, said in words and as regions to be shown."""

from __future__ import annotations

from collections.abc import Sequence

from napari_unet.events import HeldOut
from napari_unet.inference.pipeline import Window
from napari_unet.training.pairs import Field
from napari_unet.training.planes import planes_of
from napari_unet.training.splitting import Split
from napari_unet.weights.divisions import Division, Planes
from napari_unet.weights.spec import Meaning

_SIDES = {"Y": ("upper", "lower"), "X": ("left", "right")}
_PARTS = {"half": 1 / 2, "third": 1 / 3, "quarter": 1 / 4, "fifth": 1 / 5}
_NEARLY = 0.02
_MOST_NAMES = 3


def tell_split(split: Split, meaning: Meaning) -> HeldOut:
    """Say what is held out of the corrections, and where it lies.

    Parameters
    ----------
    split : Split
    meaning : "instances" | "semantic"
        Whether objects were counted.
    """
    regions = tuple((one.name, window) for one in split.divisions for window in _windows(one))
    told = _listed(_parts(split))
    if not split.held_out_px:
        kept = f" What was held out before is not learned from: {told}." if told else ""
        return HeldOut(f"No score: too little of what is reviewed could be held out.{kept}", regions)
    count = (split.held_out_objects, "object") if meaning == "instances" else (split.held_out_px, "pixel")
    return HeldOut(f"Held out: {told}; {count[0]:,} {count[1]}{'' if count[0] == 1 else 's'}.", regions)


def _windows(one: Division) -> list[Window]:
    t, z, y, x = ((0, size) for size in one.sizes)
    if one.axis == "Y":
        return [(t, z, span, x) for span in one.held_spans]
    if one.axis == "X":
        return [(t, z, y, span) for span in one.held_spans]
    return [(*planes, y, x) for planes in one.held_planes]


def _parts(split: Split) -> list[str]:
    """Say it image by image; those of one plane are counted together."""
    images: dict[int, list[Field]] = {}
    for field in split.fields:
        images.setdefault(field.place[0], []).append(field)
    told, single, held = [], 0, list[str]()
    for division, fields in zip(split.divisions, images.values(), strict=True):
        places = {planes_of(field) for field in fields}
        count = sum(division.role(place) == "held-out" for place in places)
        if division.axis is not None:
            told += [_strips(division)] if division.held_spans else []
        elif len(places) == 1:
            single += 1
            held += [f"“{division.name}”"] * count
        elif count:
            told.append(f"{count:,} of {len(places):,} {_noun(places)} of “{division.name}”")
    if len(told) > _MOST_NAMES:
        told = [*told[:_MOST_NAMES], f"parts of {len(told) - _MOST_NAMES:,} more images"]
    if held:
        names = _listed(
            held if len(held) <= _MOST_NAMES else [*held[:_MOST_NAMES], f"{len(held) - _MOST_NAMES:,} more"]
        )
        told.append(f"{len(held):,} of {single:,} images ({names})" if single > 1 else names)
    return told


def _strips(one: Division) -> str:
    first, last = (f([*one.held_spans, *one.train_spans]) for f in (_start, _stop))
    axis = "YX".index(one.axis or "")
    whole = last - first >= 0.9 * one.sizes[2 + axis]
    of = f"“{one.name}”" if whole else f"what is reviewed in “{one.name}”"
    if len(one.held_spans) > 1:
        return f"{len(one.held_spans)} strips of {of}"
    start, stop = one.held_spans[0]
    if first < start and stop < last:
        return f"a strip of {of}"
    share = (stop - start) / max(1, last - first)
    part = next((name for name, exact in _PARTS.items() if abs(share - exact) <= _NEARLY), f"{share:.0%}")
    return f"the {_SIDES[one.axis or 'X'][start > first]} {part} of {of}"


def _start(spans: Sequence[tuple[int, int]]) -> int:
    return min(start for start, _ in spans)


def _stop(spans: Sequence[tuple[int, int]]) -> int:
    return max(stop for _, stop in spans)


def _noun(places: set[Planes]) -> str:
    """How planes of one image that lie apart are called."""
    times, slices = ({place[axis] for place in places} for axis in (0, 1))
    if len(times) == 1:
        return "slices"
    return "time points" if len(slices) == 1 else "planes"


def _listed(parts: Sequence[str]) -> str:
    """Join parts to a list.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
