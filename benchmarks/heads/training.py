"""Training a network whose last layer says more than the classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.annotation.images import Kind
from benchmarks.heads.targets import Array, distance_targets
from napari_unet.networks.adapting import with_channels
from napari_unet.training.budget import Budget
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.flows import flow_loss
from napari_unet.training.losses import masked_mean, segmentation_loss
from napari_unet.training.optimization import Trainer
from napari_unet.training.pairs import Field
from napari_unet.training.patches import Batch, PatchSampler
from napari_unet.training.targets import patch_targets
from napari_unet.weights.model import Model, model_from_spec

OUTPUTS = {"classes": 3, "distance": 4, "flows": 5}


@dataclass(frozen=True, slots=True)
class HeadCell:
    """What is trained: on which kind of image, from which weights, with which head, for how long."""

    kind: Kind
    start: str
    head: str
    seconds: float
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.kind}_{self.start}_{self.head}_{self.seconds:g}_{self.seed}"


class HeadTrainer(Trainer):
    """Learns the classes and what the head says besides; the targets of its batches are object ids."""

    head = "classes"

    def _learn(self, batch: Batch, trust: float) -> float:  # noqa: ARG002  # all of these images is reviewed
        target, weight = patch_targets(batch.target)
        weight, ids = weight * batch.weight, batch.target.numpy().astype(np.int32)
        with self._precision():
            logits = self.network.on_grid(batch.image.contiguous(memory_format=self.layout)).float()
        loss = segmentation_loss(logits[:, :3], target, weight, self.model.spec.class_activation)
        if self.head == "distance":
            far = F.smooth_l1_loss(logits[:, 3], torch.from_numpy(distance_targets(ids)), reduction="none")
            loss = loss + masked_mean(far, batch.weight * (batch.target > 0))
        elif self.head == "flows":
            loss = loss + flow_loss(logits, batch.labels, batch.weight)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())


def started(base: Model, cell: HeadCell) -> Model:
    """Return the network to begin with; its last layer is new in all arms, also where it would fit."""
    model = model_from_spec(base.spec, cell.seed) if cell.start == "scratch" else base
    spec = base.spec.network
    network = model.network
    for outputs in (1, OUTPUTS[cell.head]):
        wanted = spec.model_copy(update={"out_channels": outputs})
        network, _ = with_channels(network, spec, wanted, seed=cell.seed)
        spec = wanted
    return replace(model, network=network)


def trained(base: Model, fields: Sequence[Field], cell: HeadCell) -> tuple[Callable[[Tensor], Array], int]:
    """Train for the budget, patches and targets included; return what predicts, and the steps taken."""
    config = FineTuneConfig(seed=cell.seed, classes=base.spec.classes)
    trainer = HeadTrainer(started(base, cell), config, torch.device("cpu"))
    trainer.head = cell.head
    sampler = PatchSampler(fields, config.patch_px, 16, np.random.default_rng(cell.seed), "semantic")
    budget = Budget(cell.seconds, "cpu")
    while budget.has(0):
        trainer.step(sampler.batch(config.batch), budget.share)

    def predict(image: Tensor) -> Array:
        with torch.inference_mode():
            logits = trainer.average.on_grid(image[None])[0].float()
            besides = logits[3:].sigmoid() if cell.head == "flows" else logits[3:]
            return torch.cat([logits[:3].softmax(dim=0), besides]).numpy()

    return predict, trainer.steps
