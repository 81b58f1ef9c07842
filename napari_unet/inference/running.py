"""A network on a device, with some arithmetic, and what its logits mean."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, assert_never

import torch
from torch import Tensor

from napari_unet.errors import DeviceError
from napari_unet.weights.model import Model
from napari_unet.weights.spec import Activation

Precision = Literal["float32", "float16", "bfloat16"]


class PrecisionError(DeviceError):
    """Numbers that became too large for half precision."""


def probabilities_of(logits: Tensor, activation: Activation) -> Tensor:
    """Turn logits (N, K, ...) into float32 probabilities, once, at the very end."""
    logits = logits.float()
    match activation:
        case "softmax":
            return torch.softmax(logits, dim=1)
        case "sigmoid":
            return torch.sigmoid(logits)
        case "none":
            return logits
        case _:
            assert_never(activation)


class Runner:
    """Runs a model on one device.

    Parameters
    ----------
    model : Model
        Its network is moved to the device and stays there.
    device : torch.device
    precision : "float32" | "float16" | "bfloat16"
        Of the arithmetic; logits are turned into probabilities in float32.
    """

    def __init__(self, model: Model, device: torch.device, precision: Precision = "float32") -> None:
        self.model, self.device, self.precision = model, device, precision
        self.dtype: torch.dtype = getattr(torch, precision)
        self.dims = model.spec.dims
        self.network = model.network.to(device).eval()
        if self.dims == 2:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def logits(self, image: Tensor) -> Tensor:
        """Run the network on a tile (N, C, [Z,] Y, X) float32; logits (N, K, [Z,] Y, X)."""
        image = image.to(self.device, non_blocking=True)
        if self.dims == 2:
            image = image.contiguous(memory_format=torch.channels_last)
        with self._arithmetic():
            return self.network.on_grid(image)

    @torch.inference_mode()
    def probabilities(self, logits: Tensor) -> Tensor:
        """From logits (N, K, ...) to probabilities of the same shape, float32, on the device.

        Raises
        ------
        PrecisionError
            If half precision was not enough.
        """
        if self.dtype != torch.float32 and not bool(torch.isfinite(logits).all()):
            raise PrecisionError(
                f"The numbers of this network become too large for {self.precision}. Choose float32 for it."
            )
        return probabilities_of(logits, self.model.activation)

    def _arithmetic(self) -> AbstractContextManager[object]:
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)
