"""A network on a device, with some arithmetic, and what its logits mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, assert_never

import torch
from torch import Tensor

from napari_unet.errors import DeviceError
from napari_unet.weights.model import Model
from napari_unet.weights.spec import INSTANCE_CLASSES, Activation

Precision = Literal["float32", "float16", "bfloat16"]


class PrecisionError(DeviceError):
    """Numbers that became too large for half precision."""


def probabilities_of(logits: Tensor, activation: Activation) -> Tensor:
    """Turn logits (N, K, ...) into float32 probabilities, and flows, once, at the very end."""
    logits = logits.float()
    match activation:
        case "softmax":
            return torch.softmax(logits, dim=1)
        case "sigmoid":
            return torch.sigmoid(logits)
        case "flows":
            classes = len(INSTANCE_CLASSES)
            return torch.cat([torch.softmax(logits[:, :classes], dim=1), torch.sigmoid(logits[:, classes:])], dim=1)
        case "none":
            return logits
        case _:
            assert_never(activation)


class Runner:
    """Runs a model on one device.

    Parameters
    ----------
    model : Model
        Its network is moved to the device when it is first run as a whole, and stays there.
    device : torch.device
    precision : "float32" | "float16" | "bfloat16"
        Of the arithmetic; logits are turned into probabilities in float32.
    """

    def __init__(self, model: Model, device: torch.device, precision: Precision = "float32") -> None:
        self.model, self.device, self.precision = model, device, precision
        self.dtype: torch.dtype = getattr(torch, precision)
        self.dims = model.spec.dims
        self.network = model.network.eval()

    def upload(self, image: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Copy an image to the device, as numbers of another kind if wanted."""
        # Only CUDA keeps what it has not copied yet: Apple's GPU would read memory that is in use for something else.
        return image.to(self.device, dtype, non_blocking=self.device.type == "cuda")

    def logits(self, image: Tensor) -> Tensor:
        """Run the network on a tile (N, C, [Z,] Y, X) float32; logits (N, K, [Z,] Y, X)."""
        self.network.to(self.device)
        if self.dims == 2:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with self.arithmetic(), self._autocast():
            image = self.upload(image)
            if self.dims == 2:
                image = image.contiguous(memory_format=torch.channels_last)
            return self.network.on_grid(image)

    @torch.inference_mode()
    def probabilities(self, logits: Tensor) -> Tensor:
        """From logits (N, K, ...) to probabilities of the same shape, float32, on the device.

        Where half precision was not enough, they are not numbers; nobody waits here to find out.
        """
        found = probabilities_of(logits, self.model.activation)
        if self.dtype == torch.float32:
            return found
        # Infinity times 0 is not a number, where a sigmoid of infinity would be a 1.
        return found + 0 * logits.float()

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """Compute without gradients, and in float32 where that was asked for: cuDNN would take 19 bits of it."""
        plain = self.device.type == "cuda" and self.dtype == torch.float32
        cudnn = torch.backends.cudnn
        exactly = cudnn.flags(enabled=cudnn.enabled, benchmark=cudnn.benchmark, allow_tf32=False)
        with torch.inference_mode(), exactly if plain else nullcontext():
            yield

    def _autocast(self) -> AbstractContextManager[object]:
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)


def check_numbers(precision: Precision, *, finite: bool) -> None:
    """Refuse probabilities that are no numbers.

    Raises
    ------
    PrecisionError
        If half precision was not enough.
    """
    if not finite and precision != "float32":
        raise PrecisionError(f"The numbers of this network become too large for {precision}. Choose float32 for it.")
