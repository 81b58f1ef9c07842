"""One optimizer step after another, and the running average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from napari_unet.inference.engines.means import memory_of
from napari_unet.networks.base import Network
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.evaluation import Footing
from napari_unet.training.flows import flow_imitation_loss, flow_loss
from napari_unet.training.losses import agreement_loss, imitation_loss, segmentation_loss
from napari_unet.training.patches import Batch
from napari_unet.weights.model import Model

WARM_UP_STEPS = 20
MAX_GRADIENT = 1.0
# A trained encoder knows more than a few corrections can teach it.
ENCODER_SHARE = 0.5
# How much it counts to say the same as before of what was known before
IMITATION = 1.5
# How much it counts to agree on unreviewed pixels with what the running average says, where they are a tenth of a batch
# or more; and the shares of the time that is left at the first step between which that begins: before it is better than
# the model that it began with, only errors of that are repeated.
AGREEMENT, MANY_UNREVIEWED = 2.0, 0.1
TRUST_FROM, TRUST_FULL = 0.05, 0.3


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes with bfloat16 by itself, which then takes about half the time of float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    known = torch.cpu.get_capabilities() if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


class Trainer:
    """Trains a copy of a model's network; the model itself is left alone.

    Parameters
    ----------
    model : Model
    config : FineTuneConfig
    device : torch.device

    Attributes
    ----------
    footing : Footing
        With what its models are looked at: on the same device as long as memory suffices there.

    References
    ----------
    AdamW: Loshchilov and Hutter (2019), https://arxiv.org/abs/1711.05101. What is not reviewed is learnt from the
    running average: Tarvainen and Valpola (2017), Mean teachers, https://arxiv.org/abs/1703.01780.
    """

    def __init__(self, model: Model, config: FineTuneConfig, device: torch.device) -> None:
        self.model, self.config, self.device = model, config, device
        self.footing, self.flows = Footing(device), model.activation == "flows"
        self.network: Network = copy.deepcopy(model.network).to(device)
        self.layout = torch.channels_last if model.spec.dims == 2 else torch.contiguous_format
        self.network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.average: Network = copy.deepcopy(self.network).eval()
        self.optimizer = torch.optim.AdamW(self._groups(config.learning_rate), weight_decay=1e-2)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.steps = 0
        self.begun_share = 0.0  # of the budget, that was spent before the first step
        self.parts = 1
        self._teacher: Network | None = None  # made when it is needed

    def _groups(self, rate: float) -> Iterator[dict[str, object]]:
        """Parameter groups: a slower encoder if it is trained, no decay of biases and norms."""
        for part in ("encoder", "rest"):
            named = [
                (n, p) for n, p in self.network.named_parameters() if n.startswith("encoder") == (part == "encoder")
            ]
            share = ENCODER_SHARE if part == "encoder" and self.model.trained else 1.0
            yield {"params": [p for _, p in named if p.ndim > 1], "lr": rate * share}
            yield {"params": [p for _, p in named if p.ndim <= 1], "lr": rate * share, "weight_decay": 0.0}

    def step(self, batch: Batch, progress_share: float) -> float:
        """Take one step and return its loss.

        Parameters
        ----------
        batch : Batch
        progress_share : float
            How much of the budget is spent, from 0 to 1: the learning rate falls with it.
        """
        if not self.steps:
            self.begun_share = progress_share
        self._set_rate(progress_share)
        self._begin_to_learn(together=batch.rehearsed > 0 and self.parts == 1)
        self.optimizer.zero_grad(set_to_none=True)
        trust = self._trust(batch, progress_share)
        value = sum(self._learn(part, trust * float(part.unreviewed.sum())) for part in batch.split(self.parts))
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT)
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            self._mend()
            return math.nan
        self.optimizer.step()
        self.steps += 1
        self._follow()
        return value

    def _trust(self, batch: Batch, progress_share: float) -> float:
        """How much it counts by now to agree with the running average, for each pixel that nobody has reviewed."""
        progress = (progress_share - self.begun_share) / max(1 - self.begun_share, 1e-6)
        trust = AGREEMENT * min(1.0, max(0.0, (progress - TRUST_FROM) / (TRUST_FULL - TRUST_FROM)))
        return trust / max(float(batch.unreviewed.sum()), MANY_UNREVIEWED * batch.unreviewed.numel())

    def _begin_to_learn(self, *, together: bool) -> None:
        """Prepare the layers for a step; those that normalize by remembered statistics may have to keep them.

        A trained network that has seen a dozen steps with statistics of their few patches is worse than before, because
        what it remembers has followed only in part (``benchmarks/few_steps.py``). Not so if patches of what it knew are
        learnt `together` with new ones: then the statistics come to fit both, new kinds are learnt sooner and less
        is forgotten. One that learns a new head knows nothing yet that could get worse, and its images are of another
        kind: it remembers these.
        """
        self.network.train()
        if together or not self.model.trained or self.config.classes is not None:
            return
        for layer in self.network.modules():
            if isinstance(layer, _NormBase):
                layer.eval()

    def _learn(self, batch: Batch, trust: float) -> float:
        """Add the gradients of a part of a step, and return its share of the loss; unreviewed pixels count `trust`."""
        image, target, weight = (
            x.to(self.device, non_blocking=True) for x in (batch.image, batch.target, batch.weight)
        )
        image = image.contiguous(memory_format=self.layout)
        with self._precision():
            logits = self.network.on_grid(image)
        classes, activation = logits[:, : len(self.model.spec.classes)], self.model.spec.class_activation
        loss = segmentation_loss(classes, target, weight, activation) / self.parts
        if self.flows:
            loss = loss + flow_loss(logits, batch.labels, batch.weight) / self.parts
        if batch.rehearsed:
            imitated = self._imitate(image, logits, len(image) - batch.rehearsed)
            loss = loss + IMITATION * batch.rehearsed_share * imitated
        if trust:
            loss = loss + trust * self._agree(batch, classes)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _imitate(self, image: Tensor, logits: Tensor, first: int) -> Tensor:
        """Compare what the network says of rehearsed patches, from the `first` on, with what the model says."""
        if self._teacher is None:
            self._teacher = copy.deepcopy(self.model.network).eval()
            self._teacher.to(memory_format=self.layout)  # type: ignore[call-overload]
        teacher = self._teacher.to(self.device)
        with torch.no_grad(), self._precision():
            known = teacher.on_grid(image[first:])
        count, said = len(self.model.spec.classes), logits[first:]
        loss = imitation_loss(said[:, :count], known[:, :count])
        return loss + flow_imitation_loss(said, known) if self.flows else loss

    def _agree(self, batch: Batch, classes: Tensor) -> Tensor:
        """Compare the classes of unreviewed pixels with what the average says of them in the unvaried image."""
        chosen = batch.unreviewed.flatten(1).any(dim=1).nonzero()[:, 0]
        plain, where = (x[chosen].to(self.device, non_blocking=True) for x in (batch.plain, batch.unreviewed))
        with torch.no_grad(), self._precision():
            seen = self.average.to(self.device).on_grid(plain.contiguous(memory_format=self.layout))
        seen = seen[:, : classes.shape[1]]
        return agreement_loss(classes[chosen.to(self.device)], seen, where, self.model.spec.class_activation)

    @torch.no_grad()
    def _mend(self) -> None:
        """After a step of which nothing was learnt: take statistics that it may have spoilt from the average."""
        for spoilt, known in zip(self.network.buffers(), self.average.buffers(), strict=True):
            spoilt.copy_(known)

    def restart(self, weights: Mapping[str, Tensor] | None, share: float) -> None:
        """Go back to given weights, or to the average, and learn at a share of the rate from there.

        Parameters
        ----------
        weights : dict of str to Tensor, optional
        share : float
        """
        self.network.load_state_dict(self.averaged_weights() if weights is None else weights)
        self.average.load_state_dict(self.network.state_dict())
        self.rates = [rate * share for rate in self.rates]
        self.optimizer.state.clear()
        self.steps = 0

    def spare_memory(self) -> str:
        """Change what will need less memory, and say what that was; empty if there is nothing left to change."""
        self.optimizer.zero_grad(set_to_none=True)
        memory = memory_of(self.device)
        if self.parts < self.config.batch:
            self.parts = min(self.config.batch, 2 * self.parts)
            return f"{memory} ran out: patches are learnt from in {self.parts} parts, one after the other."
        if self.device.type == "cpu":
            return ""
        self.device, self.parts = torch.device("cpu"), 1
        self.footing = Footing(self.device)
        remembered = self.optimizer.state_dict()
        self.network.to(self.device)
        self.average.to(self.device)
        self.optimizer.load_state_dict(remembered)
        return f"{memory} is too small for this network: the CPU goes on."

    def state(self) -> dict[str, Tensor]:
        """Return all that is needed to go on later; shares memory with what is being trained."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for number, remembered in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in remembered.items()}
        numbers = {"rates": self.rates, "steps": self.steps, "begun_share": self.begun_share}
        return tensors | {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        for part, network in (("network.", self.network), ("average.", self.average)):
            network.load_state_dict({k.removeprefix(part): v for k, v in state.items() if k.startswith(part)})
        remembered: dict[int, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".", 2)
                remembered.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": remembered})
        self.rates, self.steps = state["rates"].tolist(), int(state["steps"])
        self.begun_share = float(state["begun_share"])

    def _set_rate(self, progress_share: float) -> None:
        warm = min(1.0, (self.steps + 1) / WARM_UP_STEPS)
        cosine = 0.5 * (1 + math.cos(math.pi * progress_share))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * warm * max(0.02, cosine)

    def _precision(self) -> AbstractContextManager[object]:
        """bfloat16 where it is fast; float32 elsewhere, where it is not. The weights are float32 in any case."""
        return torch.autocast(self.device.type, torch.bfloat16) if has_bfloat16(self.device) else nullcontext()

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the current weights."""
        self.average.to(self.device)  # whoever looked at it may have had to take it to the CPU
        decay = min(0.998, (1 + self.steps) / (10 + self.steps))
        for slow, fast in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast, 1 - decay)
            else:
                slow.copy_(fast)

    def averaged_weights(self) -> dict[str, Tensor]:
        """Copy the averaged weights to the CPU."""
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.average.state_dict().items()}

    def model_with(self, weights: Mapping[str, Tensor]) -> Model:
        """Return a network with these weights on the device, and the model's description."""
        network = copy.deepcopy(self.average)
        network.load_state_dict(weights)
        return Model(network.eval(), self.model.spec)

    def averaged_model(self) -> Model:
        """Return the averaged network with the model's description; shares memory with the average."""
        return Model(self.average, self.model.spec)
