"""What a few steps of fine-tuning do to a model: ``python benchmarks/few_steps.py [--steps 5 12 25 60]``.

The bundled model is fine-tuned on one half of cells with stained membranes, which it gets wrong, and its prediction is
compared with the truth in the other half. Both ways take the same patches: with the statistics that batch normalization
remembers kept, as a fine-tuning does, and with those of each batch, the remembered ones following, as is usual.
One thread; takes about a minute.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

import napari_unet as nu
from napari_unet.events import finish
from napari_unet.imaging.synthetic import membrane_cells
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.fit import as_pair
from napari_unet.training.optimization import Trainer
from napari_unet.training.pairs import Field, load_fields
from napari_unet.training.patches import PatchSampler
from napari_unet.weights.model import Model

MARGIN_PX = 20


class UsualTrainer(Trainer):
    """Normalizes by the statistics of each batch."""

    def _begin_to_learn(self, *, together: bool) -> None:  # noqa: ARG002  # as usual, whatever is in the batch
        self.network.train()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 12, 25, 60])
    parser.add_argument("--model", default="nuclei")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, made = nu.load_model(args.model), membrane_cells()
    half = made.truth.shape[1] // 2
    reviewed = np.zeros(made.truth.shape, bool)
    reviewed[:, :half] = True
    pair = as_pair((made.image, made.truth, reviewed), None, "membranes")
    fields = finish(load_fields([pair], model.spec, 64))
    unseen = np.s_[:, half + MARGIN_PX :]

    def dice(tuned: Model) -> float:
        found, true = nu.segment(tuned, made.image)[unseen] > 0, made.truth[unseen] > 0
        return float(2 * (found & true).sum() / (found.sum() + true.sum()))

    print(f"| steps | statistics kept | of each batch |\n|---|---|---|\n| 0 | {dice(model):.2f} | |")
    for steps in args.steps:
        kept, usual = (dice(trained(kind, model, fields, steps)) for kind in (Trainer, UsualTrainer))
        print(f"| {steps} | {kept:.2f} | {usual:.2f} |", flush=True)


def trained(kind: type[Trainer], model: Model, fields: list[Field], steps: int) -> Model:
    """Return the averaged model after so many steps."""
    config = FineTuneConfig()
    trainer = kind(model, config, torch.device("cpu"))
    sampler = PatchSampler(fields, config.patch_px, trainer.network.stride, np.random.default_rng(0))
    for step in range(steps):
        trainer.step(sampler.batch(config.batch), step / steps)
    return trainer.averaged_model()


if __name__ == "__main__":
    main()
