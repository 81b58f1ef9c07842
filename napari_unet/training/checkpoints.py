"""What is saved while a fine-tuning runs, so that it can go on after a crash.

One ``.safetensors`` file, put in place as a whole: the weights, their average, the best so far and what the optimizer
remembers; in the header what else is needed. Nothing in it can run as a program.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_unet.atomic import replacing
from napari_unet.errors import ExportError
from napari_unet.events import Event, StepDone, ValidationDone
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.pairs import Field
from napari_unet.weights.model import Model

EVERY_S = 20.0
# Of the time, that may be spent with saving.
SHARE = 0.02
_EVENTS: dict[str, type[Event]] = {"StepDone": StepDone, "ValidationDone": ValidationDone}


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """Where a training stands.

    Attributes
    ----------
    trainer : dict of str to Tensor
        Its networks and optimizer; see `Trainer.state`.
    best : dict of str to Tensor, optional
        The weights that did best on what is held out.
    steps : int
    elapsed_s : float
        Of the budget.
    rng : dict
        State of the generator that the patches are drawn with.
    history : sequence of events
    """

    trainer: Mapping[str, Tensor]
    best: Mapping[str, Tensor] | None
    steps: int
    elapsed_s: float
    rng: Mapping[str, Any]
    history: Sequence[Event]


class Checkpoint:
    """A file that holds the last state of one training.

    Parameters
    ----------
    path : Path
    circumstances : str
        What the training depends on: a file of other circumstances is not used; see `circumstances`.
    """

    def __init__(self, path: Path, circumstances: str) -> None:
        self.path, self.circumstances = path, circumstances
        self._next = time.monotonic() + EVERY_S

    def keep(self, state: Callable[[], Saved]) -> None:
        """Save now and then; a disk that is full does not end the training."""
        begun = time.monotonic()
        if begun < self._next:
            return
        try:
            self.save(state())
        except ExportError:
            self._next = time.monotonic() + 10 * EVERY_S
        else:
            self._next = time.monotonic() + max(EVERY_S, (time.monotonic() - begun) / SHARE)

    def save(self, saved: Saved) -> None:
        """Write the file anew.

        Raises
        ------
        ExportError
            If it cannot be written; the one before is unchanged then.
        """
        tensors = {f"trainer.{name}": tensor for name, tensor in saved.trainer.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in (saved.best or {}).items()}
        told = {
            "circumstances": self.circumstances,
            "steps": saved.steps,
            "elapsed_s": saved.elapsed_s,
            "rng": saved.rng,
            "history": [[type(event).__name__, asdict(event)] for event in saved.history],
        }
        with replacing(self.path) as temporary:
            save_file(
                {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
                temporary,
                metadata={"napari_unet_training": json.dumps(told)},
            )

    def found(self) -> Saved | None:
        """Read the file; None if there is none, or it is damaged or of other circumstances."""
        try:
            with safe_open(self.path, "pt") as file:
                told = json.loads((file.metadata() or {})["napari_unet_training"])
                if told["circumstances"] != self.circumstances:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
                history = [_EVENTS[name](**values) for name, values in told["history"]]
                best = _under("best.", tensors)
                return Saved(
                    _under("trainer.", tensors), best or None, told["steps"], told["elapsed_s"], told["rng"], history
                )
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def remove(self) -> None:
        """Forget the training: it has come to its end."""
        self.path.unlink(missing_ok=True)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def circumstances(model: Model, fields: Sequence[Field], config: FineTuneConfig) -> str:
    """Fingerprint what a training depends on: model, corrections, what is held out, settings; but not the device."""
    digest = hashlib.sha256(model.sha256.encode())
    digest.update(config.model_dump_json(exclude={"device"}).encode())
    for field in fields:
        for array in (field.image, field.labels, field.train, field.validation):
            digest.update(str(array.shape).encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
