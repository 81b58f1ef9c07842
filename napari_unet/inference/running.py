"""A network run on one batch, and what its logits mean."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor

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
