"""Train a bundled model.

    python training_recipes/train.py NAME --data FOLDER --work FOLDER

NAME is `nuclei`, `nuclei-fluorescence` or `nuclei-small`. The data are described in `docs/models.md`. A model learns
classes, and then flows as well if its recipe says so. The work folder keeps a checkpoint of each: the same command goes
on where it was interrupted. Every random choice comes from the seed and the number of the step. `publish.py` makes the
bundled file of the last checkpoint.
A graphics card is used where there is one; then patches are best drawn by other processes (``--workers 8``).
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import napari_unet as nu
from napari_unet.training.flows import flow_loss
from napari_unet.training.losses import segmentation_loss
from napari_unet.weights.flows import with_flows
from napari_unet.weights.model import Model
from napari_unet.weights.spec import INSTANCE_CLASSES
from patches import Batch, Sampler
from planes import NORMALIZATION, as_planes, held_out_names, read_samples

WARM_UP_STEPS = 100
DECAY = 0.999
FALLING_SHARE = 0.35
DISTANCE_SHARE = 0.1
CHECKPOINT_STEPS = 200


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained.

    Attributes
    ----------
    steps, batch : int
        Optimizer steps, and patches a step.
    flow_steps : int
        Steps after these that learn flows as well.
    learning_rate : float
        At its highest; it falls to zero over the last third of the steps. Half of it where flows are learnt, too.
    shares : dict
        How much of the patches each kind of image gives.
    variant, options
        The network, where it starts at random.
    start : str
        A model to start from; none if empty.
    teacher : str
        A model whose probabilities are learnt as well; none if empty.
    """

    steps: int
    flow_steps: int = 0
    batch: int = 6
    learning_rate: float = 2e-3
    shares: dict[str, float] = field(default_factory=lambda: {"fluo": 0.6, "colour": 0.3, "bright": 0.1})
    variant: str = "unet-small"
    options: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    teacher: str = ""


# Fits into 1 MB, and an image takes a third of the time.
SMALL = {"widths": (8, 16, 32, 48, 64)}
RECIPES = {
    "nuclei": Recipe(steps=20000, flow_steps=8000),
    "nuclei-fluorescence": Recipe(steps=14000, flow_steps=8000, shares={"fluo": 1.0}),
    "nuclei-small": Recipe(steps=6000, options=SMALL, teacher="nuclei"),
}


def main() -> None:
    """Train until all steps are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--start", help="model to start from instead of the recipe's")
    parser.add_argument("--steps", type=int, help="instead of the recipe's; 0 learns flows at once")
    parser.add_argument("--flow-steps", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw patches; 0: this one")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe = RECIPES[args.name]
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    held_out = held_out_names(args.data / "train")
    samples = [s for s in read_samples(args.data / "train", list(recipe.shares)) if s.image.name not in held_out]
    planes = as_planes(samples, recipe.shares)
    class_steps = recipe.steps if args.steps is None else args.steps
    flow_steps = recipe.flow_steps if args.flow_steps is None else args.flow_steps
    first = f"{args.name}-classes" if flow_steps else args.name
    start = args.start or recipe.start
    for name, steps, flows in ((first, class_steps, False), (args.name, flow_steps, True)):
        if steps:
            run = Run(recipe, start, steps, flows=flows, device=torch.device(args.device))
            run.resume(args.work / f"{name}.pt")
            sampler = Sampler(planes, recipe.batch, seed=int(flows))
            run.train(
                DataLoader(sampler, batch_size=None, sampler=range(run.step, run.steps), num_workers=args.workers)
            )
            start = str(args.work / f"{name}.safetensors")


class Run:
    """A network on its way, with what is needed to go on.

    Parameters
    ----------
    recipe : Recipe
    start : str
        Name or file of the model to start from; none if empty.
    steps : int
    flows : bool
        Whether flows are learnt as well.
    device : torch.device
    """

    def __init__(self, recipe: Recipe, start: str, steps: int, *, flows: bool, device: torch.device) -> None:
        self.recipe, self.steps, self.step, self.flows, self.device = recipe, steps, 0, flows, device
        self.rate = recipe.learning_rate / 2 if flows else recipe.learning_rate
        self.model = nu.load_model(start) if start else nu.new_model(recipe.variant, in_channels=1, **recipe.options)
        self.model = with_flows(self.model) if flows else self.model
        self.teacher = nu.load_model(recipe.teacher).network.eval().to(device) if recipe.teacher else None
        self.layout = torch.channels_last if self.model.spec.dims == 2 else torch.channels_last_3d
        self.network = copy.deepcopy(self.model.network).to(device, memory_format=self.layout)
        self.average = copy.deepcopy(self.network).eval()
        self.features: list[Tensor] = []
        self.network.head.register_forward_pre_hook(lambda _, inputs: self.features.append(inputs[0]))
        # Learns the distance to the border from the features of the last level; it is not kept.
        head = self.network.head
        self.distance = type(head)(head.in_channels, 1, 1).to(device)
        parameters = [*self.network.parameters(), *self.distance.parameters()]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 1e-2},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=self.rate, fused=True)
        self.path: Path | None = None
        self.cpu_s = 0.0

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one, and keep later ones there."""
        self.path = path
        if path.exists():
            state = torch.load(path, map_location=self.device, weights_only=True)
            for name in ("network", "average", "distance", "optimizer"):
                getattr(self, name).load_state_dict(state[name])
            self.step, self.cpu_s = state["step"], state["cpu_s"]

    def keep(self) -> None:
        """Write a checkpoint, and the averaged weights as a model."""
        assert self.path is not None
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "distance", "optimizer")}
        new = self.path.with_suffix(".new")
        torch.save({**parts, "step": self.step, "cpu_s": self.cpu_s + time.process_time()}, new)
        new.replace(self.path)
        self.averaged().save(self.path.with_suffix(".safetensors"))

    def averaged(self) -> Model:
        """Return the averaged network as a model, described as far as training needs it."""
        network = copy.deepcopy(self.average).to("cpu", memory_format=torch.contiguous_format)
        return Model(network, self.model.spec).with_spec(normalization=NORMALIZATION, trained=True)

    def train(self, batches: Iterable[Batch]) -> None:
        """Take a step with each batch."""
        losses: list[Tensor] = []
        for batch in batches:
            losses.append(self.learn(batch))
            self.step += 1
            if self.step % CHECKPOINT_STEPS == 0 or self.step == self.steps:
                self.keep()
                seconds = round(self.cpu_s + time.process_time())
                loss = round(float(torch.stack(losses).mean()), 4)
                print(json.dumps({"step": self.step, "loss": loss, "cpu_s": seconds}), flush=True)
                losses.clear()

    def learn(self, batch: Batch) -> Tensor:
        """Take one step and return its loss."""
        # Constant, then falling: a run can be made longer or shorter until it begins to fall.
        left = (self.steps - self.step) / (FALLING_SHARE * self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * min(1.0, (self.step + 1) / WARM_UP_STEPS, left)
        self.network.train()
        self.features.clear()
        image = batch.image.to(self.device, memory_format=self.layout)
        target, weight, away = (x.to(self.device) for x in (batch.target, batch.weight, batch.distance))
        # Twice as fast where the processor has bfloat16, and the weights stay float32.
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.network(image)
            distance = self.distance(self.features[-1])[:, 0]
        loss = segmentation_loss(logits[:, : len(INSTANCE_CLASSES)], target, weight, "softmax")
        if self.flows:
            assert batch.labels is not None, "flows are made of labels"
            loss = loss + flow_loss(logits, batch.labels, weight)
        counts = (weight > 0).float()
        wrong = F.smooth_l1_loss(distance.float(), away, reduction="none")
        loss = loss + DISTANCE_SHARE * (wrong * counts).sum() / counts.sum().clamp_min(1)
        if self.teacher is not None:
            loss = loss + self._imitate(image, logits.float())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self._follow()
        return loss.detach()

    def _imitate(self, image: Tensor, logits: Tensor) -> Tensor:
        """Cross-entropy with the probabilities of the teacher (Hinton et al. 2015, https://arxiv.org/abs/1503.02531)."""
        assert self.teacher is not None
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
            wanted = torch.softmax(self.teacher(image)[:, : len(INSTANCE_CLASSES)].float(), dim=1)
        return -(wanted * F.log_softmax(logits, dim=1)).sum(dim=1).mean()

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the current weights."""
        decay = min(DECAY, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
        # The rest are counters of the normalization, which it does not use.
        slow, fast = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(slow, fast, 1 - decay)


if __name__ == "__main__":
    main()
