"""With what a network is run, and with what else when that does not work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, assert_never

import torch

from napari_unet.errors import is_out_of_memory
from napari_unet.inference.devices import describe_device
from napari_unet.inference.running import Precision, PrecisionError

SMALLEST_SHARE = 1 / 16

Trouble = Literal["memory", "precision", "operation"]
"""Memory ran out; numbers became too large; the device cannot compute something with these numbers."""


def trouble_of(error: BaseException) -> Trouble | None:
    """Tell what other means may help against; None if they would not."""
    if isinstance(error, PrecisionError):
        return "precision"
    if is_out_of_memory(error):
        return "memory"
    missing = ("not implemented for", "not supported on mps", "not currently supported on the mps")
    if isinstance(error, NotImplementedError) or any(words in str(error).lower() for words in missing):
        return "operation"
    return None


@dataclass(frozen=True, slots=True)
class Means:
    """With what a network is run.

    Attributes
    ----------
    device : torch.device
    precision : "float32" | "float16" | "bfloat16"
    share : float
        Of the memory that would be taken at first.
    too_coarse : frozenset
        Precisions with which numbers became too large.
    """

    device: torch.device
    precision: Precision
    share: float = 1.0
    too_coarse: frozenset[Precision] = frozenset()

    def after(self, trouble: Trouble) -> Means | None:
        """Return the means to go on with; None if there are none."""
        match trouble:
            case "precision":
                known = self.too_coarse | {self.precision}
                return replace(self, precision=next(p for p in FINER if p not in known), too_coarse=known)
            case "memory":
                return self._after_memory()
            case "operation":
                on_cpu = Means(torch.device("cpu"), "float32")
                return None if self.device.type == "cpu" and self.precision == "float32" else on_cpu
            case _:
                assert_never(trouble)

    def _after_memory(self) -> Means | None:
        if self.share > SMALLEST_SHARE:
            return replace(self, share=self.share / 2)
        if self.device.type == "cpu":
            return None
        half = next((p for p in FINER[:-1] if p not in self.too_coarse), None)
        if self.device.type == "cuda" and self.precision == "float32" and half is not None:
            return replace(self, precision=half, share=1.0)
        return Means(torch.device("cpu"), "float32")

    def change(self, following: Means, trouble: Trouble) -> str:
        """Say in a sentence what has been changed, and why."""
        name = describe_device(self.device)
        if trouble == "operation":
            numbers = "" if self.precision == "float32" else f" with {self.precision} numbers"
            return f"{name} cannot compute a layer of this network{numbers}: the CPU goes on with float32."
        if trouble == "precision":
            return f"Numbers became too large for {self.precision}: {following.precision} is used instead."
        if following.device != self.device:
            return f"{memory_of(self.device)} is too small for this network: the CPU goes on."
        if following.precision != self.precision:
            return f"{memory_of(self.device)} ran out: numbers are kept in half precision."
        return f"{memory_of(self.device)} ran out: the image is done in smaller pieces."


# From the quickest one to the one that holds the largest numbers most exactly.
FINER: tuple[Precision, ...] = ("float16", "bfloat16", "float32")


def first_means(device: torch.device, precision: str) -> Means:
    """Return the quickest means that a configuration allows."""
    if precision == "auto":
        return Means(device, "float16" if device.type == "cuda" else "float32")
    return Means(device, next(known for known in FINER if known == precision))


def memory_of(device: torch.device) -> str:
    """Name the memory of a device for people."""
    return "The computer's memory" if device.type == "cpu" else f"The memory of {describe_device(device)}"
