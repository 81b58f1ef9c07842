"""Which order of the review queue finds most errors in the first fields.

    python benchmarks/reviewing.py --data FOLDER [--kinds colour fluo bright] [--side 128] [--slices 12] [--stacks 200]

FOLDER holds ``test/KIND/images`` and ``test/KIND/labels``, TIFF files with instance labels that pair by name. The
bundled model segments each image. An object is an error if it has no partner with an intersection over union of at
least 0.5, a true one or a found one; it lies in the field that holds its centre. Stacks of slices are drawn at random,
and their fields are offered in each order as in the viewer. The table says which share of all errors lies in the first
tenth, quarter and half of the fields: the mean over the stacks, and the 5th and 95th percentile. Two rows are there to
compare with: the fields with most objects first, and the best order, which only who knows the truth can take.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import tifffile
import torch
from scipy import ndimage as ndi

import napari_unet as nu
from napari_unet.events import finish
from napari_unet.imaging.image import Image, open_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.flipping import flip_events
from napari_unet.objects.editing.changes import Box
from napari_unet.objects.labelling import decode
from napari_unet.objects.linking import find_overlaps, match
from napari_unet.objects.reviewing import Gain, Order, divide, gains_of, next_field

SHARES = (0.1, 0.25, 0.5)
Stack = list["Field"]


@dataclass(frozen=True)
class Field:
    """A field of an image.

    Attributes
    ----------
    box : Box
        Along T, Z, Y and X of the image.
    doubt, change : Gain
        By entropy, and by flips.
    errors, objects : int
        True and found objects without a partner, and found objects.
    """

    box: Box
    doubt: Gain
    change: Gain
    errors: int
    objects: int


def main() -> None:
    """Print a table for each kind of image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--kinds", nargs="+", default=["colour", "fluo", "bright"])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--stacks", type=int, default=200)
    parser.add_argument("--most", type=int, default=1000, help="images of a kind")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = nu.load_model("nuclei")
    for kind in args.kinds:
        folder = args.data / args.split / kind
        paths = sorted((folder / "images").glob("*.tif"))[: args.most]
        images = [look_at(model, path, folder / "labels" / path.name, args.side) for path in paths]
        report(kind, images, min(args.slices, len(images)), args.stacks)


def look_at(model: nu.Model, path: Path, truth: Path, side: int) -> list[Field]:
    """Segment an image, and say of each field what the queue knows of it and what is wrong in it."""
    pixels = tifffile.imread(path)
    image = open_image(pixels, "YXC" if pixels.ndim == 3 else "YX", name=path.stem)
    true = tifffile.imread(truth)
    probabilities = nu.predict(model, image)
    found = np.asarray(decode(probabilities, model.spec, model.spec.objects)[0])
    boxes = divide((1, 1, *true.shape), side)
    wrong, objects = errors(found, true), centres(found, np.unique(found)[1:])
    doubts = gains_of(probabilities[:, None, None], boxes)
    fields = zip(boxes, doubts, changes(model, image, boxes), strict=True)
    return [Field(box, doubt, change, count(wrong, box), count(objects, box)) for box, doubt, change in fields]


def errors(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the centres (n, 2) of objects without a partner."""
    overlaps = find_overlaps(found, true)
    pairs = match(overlaps, overlaps.iou >= 0.5)
    alone = [
        centres(labels, np.setdiff1d(np.unique(labels)[1:], [pair[which] for pair in pairs]))
        for which, labels in enumerate((found, true))
    ]
    return np.concatenate(alone)


def centres(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return where objects are (n, 2)."""
    return np.array(ndi.center_of_mass(labels > 0, labels, ids)).reshape(-1, 2)


def count(places: np.ndarray, box: Box) -> int:
    """Count what lies in a field."""
    low, high = np.array(box[2:]).T
    return int(((places >= low) & (places < high)).all(axis=1).sum())


def changes(model: nu.Model, image: Image, boxes: Sequence[Box]) -> list[Gain]:
    """Flip the fields."""
    out = np.zeros((len(boxes), 2 + len(model.spec.classes)), np.float32)
    finish(flip_events(model, image, InferenceConfig(), boxes, out))
    return [Gain(float(row[0]), tuple(float(share) for share in row[1:])) for row in out]


def report(kind: str, images: list[list[Field]], slices: int, stacks: int) -> None:
    """Offer the fields of random stacks in each order, and print what is found."""
    rng = np.random.default_rng(0)
    orders: dict[str, Callable[[Stack, int], list[int]]] = {
        **{name: lambda stack, seed, name=name: queue(stack, name, seed) for name in get_args(Order)},
        "(most objects)": lambda stack, _: by(stack, lambda field: field.objects),
        "(best)": lambda stack, _: by(stack, lambda field: field.errors),
    }
    found: dict[str, list[list[float]]] = {name: [] for name in orders}
    for seed in range(stacks):
        drawn = [images[i] for i in rng.choice(len(images), slices, replace=False)]
        stack = [at_slice(field, z) for z, fields in enumerate(drawn) for field in fields]
        if not any(field.errors for field in stack):
            continue
        for name, order in orders.items():
            found[name].append(curve(stack, order(stack, seed)))
    total, fields = (sum(len(f) if which else sum(e.errors for e in f) for f in images) for which in (0, 1))
    print(f"\n{kind}: {len(images)} images, {fields} fields, {total} errors; {len(found['(best)'])} stacks of {slices}")
    print("| order | " + " | ".join(f"first {share:.0%}" for share in SHARES) + " | better than at random |")
    for name, curves in found.items():
        at = np.array(curves)
        cells = [f"{mean:.2f} ({low:.2f} to {high:.2f})" for mean, low, high in zip(*spread(at), strict=True)]
        ahead = (at[:, 1] > np.array(found["random"])[:, 1]).mean()
        print(f"| {name} | {' | '.join(cells)} | {ahead:.0%} |", flush=True)


def spread(at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, 5th and 95th percentile."""
    return at.mean(axis=0), np.percentile(at, 5, axis=0), np.percentile(at, 95, axis=0)


def at_slice(field: Field, z: int) -> Field:
    """Put the only slice of an image into a stack."""
    return Field((field.box[0], (z, z + 1), *field.box[2:]), field.doubt, field.change, field.errors, field.objects)


def queue(stack: Stack, order: Order, seed: int) -> list[int]:
    """Offer the fields as the viewer does."""
    boxes = [field.box for field in stack]
    gains = {i: field.change if order == "least stable" else field.doubt for i, field in enumerate(stack)}
    seen: list[int] = []
    while (index := next_field(boxes, gains, seen, order, seed)) is not None:
        seen.append(index)
    return seen


def by(stack: Stack, key: Callable[[Field], int]) -> list[int]:
    """Return the fields, those with most of something first."""
    return sorted(range(len(stack)), key=lambda index: -key(stack[index]))


def curve(stack: Stack, order: list[int]) -> list[float]:
    """Return the share of all errors in the first fields."""
    total = np.cumsum([stack[index].errors for index in order])
    return [float(total[max(1, round(share * len(order))) - 1] / total[-1]) for share in SHARES]


if __name__ == "__main__":
    main()
