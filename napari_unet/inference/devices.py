"""The devices of this machine, and the choice among them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from napari_unet.errors import DeviceError


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device; `name` is what settings call it, `free_bytes` its free memory if it has its own."""

    name: str
    title: str
    free_bytes: int | None = None


def list_devices() -> tuple[DeviceInfo, ...]:
    """Find the devices of this machine, the fastest kind first."""
    return tuple(
        replace(device, free_bytes=_free_bytes(torch.device(device.name))) if device.name.startswith("cuda") else device
        for device in _devices()
    )


def choose_device(name: str = "auto") -> torch.device:
    """Return the device with this name; for "auto" the GPU with most free memory, else MPS, else the CPU.

    Raises
    ------
    DeviceError
        If this machine has no such device.
    """
    if name == "auto":
        # A GPU that does not even tell its memory is one that others have filled.
        usable = [device for device in list_devices() if device.free_bytes != 0]
        return torch.device(max(usable, key=lambda device: device.free_bytes or 0).name)
    wanted = "cuda:0" if name == "cuda" else name
    names = [device.name for device in _devices()]
    if wanted not in names:
        raise DeviceError(f'This machine has no device "{name}". Choose "auto" or one of: {", ".join(names)}.')
    return torch.device(wanted)


def describe_device(device: torch.device) -> str:
    """Name a device for people, such as "CPU" or "NVIDIA L4"."""
    return next((known.title for known in _devices() if known.name == str(device)), str(device))


def usable_bytes(device: torch.device) -> int:
    """Return how much memory of a CUDA device may still be taken by this process."""
    # PyTorch keeps memory that it does not use, and the driver counts that as taken.
    spare = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return _free_bytes(device) + spare


def empty_caches() -> None:
    """Give back memory of GPUs that is kept for later use."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _devices() -> list[DeviceInfo]:
    """Find devices without asking for their memory, which would take some on each GPU."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = [DeviceInfo(f"cuda:{index}", torch.cuda.get_device_name(index)) for index in range(count)]
    if torch.backends.mps.is_available():
        found.append(DeviceInfo("mps", "Apple GPU (MPS)"))
    return [*found, DeviceInfo("cpu", "CPU")]


def _free_bytes(device: torch.device) -> int:
    try:
        free: int = torch.cuda.mem_get_info(device)[0]
    except RuntimeError:
        return 0
    return free
