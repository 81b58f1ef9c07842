"""A network run on a batch of tiles, and what its logits mean."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, assert_never

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_unet.errors import DeviceError
from napari_unet.weights.model import Model
from napari_unet.weights.spec import Activation


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
    precision : "auto" | "float32" | "float16"
        "auto" is float16 on CUDA and float32 elsewhere.
    """

    def __init__(
        self, model: Model, device: torch.device, precision: Literal["auto", "float32", "float16"] = "auto"
    ) -> None:
        self.model, self.device = model, device
        self.half = precision == "float16" or (precision == "auto" and device.type == "cuda")
        self.dims = model.spec.dims
        self.planar = self.dims == 2
        self.network = model.network.to(device).eval()
        if self.planar:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(self, blocks: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[Any]:
        """From blocks (C, Z, Y, X) of one shape to probabilities (N, K, Z, Y, X) float32.

        Raises
        ------
        DeviceError
            If the device has too little memory for them.
        """
        image = torch.from_numpy(np.stack(blocks)).to(self.device)
        if self.planar:
            image = image[:, :, 0].contiguous(memory_format=torch.channels_last)
        try:
            with torch.inference_mode(), self._precision():
                values = self.probabilities(self.network.on_grid(image))
        except torch.OutOfMemoryError as error:
            sides = " × ".join(str(n) for n in blocks[0].shape[1:])
            raise DeviceError(
                f"The memory of {self.device} is too small for {len(blocks)} tiles of {sides} pixels. "
                "Choose a smaller tile, or the CPU."
            ) from error
        return values[:, :, None] if self.planar else values

    def probabilities(self, logits: Tensor) -> npt.NDArray[Any]:
        """From logits (N, K, ...) to probabilities of the same shape, float32."""
        with torch.inference_mode():
            return probabilities_of(logits, self.model.activation).cpu().numpy()

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.float16) if self.half else nullcontext()
