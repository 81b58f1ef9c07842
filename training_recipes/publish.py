"""Make the bundled file of a model out of its last checkpoint: describe it, and say where it comes from.

    python training_recipes/publish.py NAME --data FOLDER --work FOLDER [--out FOLDER]

The settings of objects are those of `CHOSEN`, found on the held-out fifth of ``train`` with `tune.py`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import torch

import napari_unet as nu
from napari_unet.objects.config import ObjectOptions
from napari_unet.weights.spec import Provenance
from patches import DIAMETER_PX, PATCH_PX
from planes import KINDS, NORMALIZATION, held_out_names, read_samples
from train import RECIPES, Recipe

TITLES = {"nuclei": "Nuclei", "nuclei-fluorescence": "Nuclei in fluorescence", "nuclei-small": "Nuclei, small"}
KIND_NAMES = {"fluo": "in fluorescence", "colour": "of stained tissue", "bright": "in brightfield"}
# The sets that `replay.py` cuts
REPLAY = {"fluo": "nuclei-fluorescence", "colour": "nuclei-tissue", "bright": "nuclei-brightfield"}
CHOSEN = {
    "nuclei": ObjectOptions(threshold=0.7, seed_threshold=0.7, reach_px=3),
    "nuclei-fluorescence": ObjectOptions(threshold=0.7, seed_threshold=0.8, reach_px=3),
    "nuclei-small": ObjectOptions(threshold=0.7, seed_threshold=0.7),
}
SOURCE = (
    "2018 Data Science Bowl, BBBC038v1, https://bbbc.broadinstitute.org/BBBC038 (Caicedo et al. 2019, "
    "https://doi.org/10.1038/s41592-019-0612-7), with community corrections of the labels"
)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("napari_unet/weights/models"))
    args = parser.parse_args()
    recipe = RECIPES[args.name]
    step = int(torch.load(args.work / f"{args.name}.pt", weights_only=True)["step"])
    trained = nu.load_model(args.work / f"{args.name}.safetensors")
    described = trained.with_spec(
        name=TITLES[args.name],
        normalization=NORMALIZATION,
        diameter_px=DIAMETER_PX,
        patch_px=(PATCH_PX, PATCH_PX),
        channel_names=("nuclei",),
        objects=CHOSEN[args.name],
        replay=tuple(REPLAY[kind] for kind in KINDS if kind in recipe.shares),
        provenance=provenance(args.name, recipe, args.data, step, flows=trained.activation == "flows"),
    )
    path = args.out / f"{args.name}.safetensors"
    described.save(path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def provenance(name: str, recipe: Recipe, data: Path, step: int, *, flows: bool) -> Provenance:
    """Say what a model was trained on and how."""
    held_out = held_out_names(data / "train")
    samples = read_samples(data / "train", [kind for kind in KINDS if kind in recipe.shares])
    counts = Counter(sample.kind for sample in samples if sample.image.name not in held_out)
    images = ", ".join(f"{count} {KIND_NAMES[kind]}" for kind, count in counts.items())
    steps = f"{recipe.steps} steps of classes and {step} of flows as well" if flows else f"{step} steps"
    kept = sum(sample.image.name in held_out for sample in samples)
    return Provenance(
        trained_on=f"{counts.total()} images of nuclei: {images}; {kept} more chose the thresholds",
        source=SOURCE,
        license="CC0-1.0",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=nu.__version__,
        notes=f"training_recipes/train.py {name}, {steps} of {recipe.batch} patches of {PATCH_PX} pixels a side",
    )


if __name__ == "__main__":
    main()
