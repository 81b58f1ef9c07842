"""The devices of this machine, and the choice among them."""

from __future__ import annotations

from dataclasses import dataclass

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
    found = [_cuda(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append(DeviceInfo("mps", "Apple GPU (MPS)"))
    return (*found, DeviceInfo("cpu", "CPU"))


def _cuda(index: int) -> DeviceInfo:
    free, _ = torch.cuda.mem_get_info(index)
    return DeviceInfo(f"cuda:{index}", torch.cuda.get_device_name(index), free)


def choose_device(name: str = "auto") -> torch.device:
    """Return the device with this name; for "auto" the GPU with most free memory, else MPS, else the CPU.

    Raises
    ------
    DeviceError
        If this machine has no such device.
    """
    devices = list_devices()
    if name == "auto":
        with_memory = [device for device in devices if device.free_bytes is not None]
        best = max(with_memory, key=lambda device: device.free_bytes or 0, default=devices[0])
        return torch.device(best.name)
    wanted = "cuda:0" if name == "cuda" else name
    names = [device.name for device in devices]
    if wanted not in names:
        raise DeviceError(f'This machine has no device "{name}". Choose "auto" or one of: {", ".join(names)}.')
    return torch.device(wanted)


def describe_device(device: torch.device) -> str:
    """Name a device for people, such as "CPU" or "NVIDIA L4"."""
    return next((known.title for known in list_devices() if known.name == str(device)), str(device))
