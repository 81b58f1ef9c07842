"""What is there of an image that has been corrected before, and how it is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image as ImageLayer

from napari_unet.gui import layers
from napari_unet.gui.keeping_state import KeptOffer
from napari_unet.session.identity import ImageIdentity, fingerprint
from napari_unet.session.places import known_folder
from napari_unet.session.project import Project, open_project
from napari_unet.session.recovery import Restored, restore


@dataclass(slots=True)
class Found:
    """A project that is open, and what it holds."""

    project: Project
    restored: Restored


def identity(layer: ImageLayer) -> Callable[[], ImageIdentity]:
    """Return what finds out in a thread how an image is known again."""
    array, name, path = layers.full_resolution(layer), layer.name, layer.source.path
    return lambda: ImageIdentity(
        name=name,
        path=None if path is None else str(Path(path).resolve()),
        shape=tuple(int(n) for n in array.shape),
        dtype=np.dtype(array.dtype).str,
        fingerprint=fingerprint(array),
    )


def find(identify: Callable[[], ImageIdentity]) -> Found | None:
    """Open the project of an image if it has one with layers; in a thread."""
    image = identify()
    folder = known_folder(image)
    if folder is None:
        return None
    project = open_project(image, folder)
    found = Found(project, restore(project))
    if found.restored.layers:
        return found
    project.close(clean=True)
    return None


def last_saved(found: Found) -> Restored:
    """Read what the last snapshot holds, in a thread; all that is there is put aside too, so that none of it goes."""
    saved = restore(found.project, journal=False)
    if found.project.writable:
        found.project.copy_aside()
    return Restored(saved.layers, 0, found.restored.number, saved.snapshot_time, 0.0, saved.remarks)


def show_beside(viewer: ViewerModel, image: ImageLayer, saved: Restored) -> None:
    """Show the corrections of a snapshot as one more layer, hidden first, which cannot be painted on."""
    kept = saved.layers.get("correction")
    if kept is None:
        return
    frame = layers.frame_of(image, str(kept.about.get("axes", "")))
    kept.array.setflags(write=False)
    name = f"{image.name} correction (last saved)"
    viewer.add_labels(kept.array, name=name, visible=False, **frame.placement).editable = False


def offer_of(found: Found) -> KeptOffer:
    """Return what the panel says of it."""
    last = max(found.restored.last_time, found.restored.snapshot_time)
    return KeptOffer(
        when=time.strftime("%d %B %Y, %H:%M", time.localtime(last)),
        edits=found.restored.edits,
        crashed=found.project.unclean,
        reader_only="" if found.project.writable else found.project.obstacle,
    )


def announced(found: Found) -> str:
    """Say that there is something, wherever the user is in the panel."""
    return f"This image was corrected before, last on {offer_of(found).when}. Step 3 offers to go on with that."


def told(restored: Restored) -> str:
    """Say what has been brought back."""
    edits = f"{restored.edits:,} edit{'s' if restored.edits != 1 else ''}"
    last = max(restored.last_time, restored.snapshot_time)
    return f"Brought back your corrections up to {clock(last)}, with {edits} since the last snapshot."


def clock(seconds: float) -> str:
    """Return the time of the day."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))
