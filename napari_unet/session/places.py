"""Where the project of an image lies: next to it, or in the user's own folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import platformdirs

from napari_unet.session.identity import ImageIdentity

SUFFIX = ".napari-unet"
FILE = "project.json"


def known_folder(image: ImageIdentity) -> Path | None:
    """Return the folder of the project that an image has already; None if it has none."""
    places = (beside_image(image), state_folder(image))
    there = next((place for place in places if place is not None and (place / FILE).is_file()), None)
    return there or _left_behind(image)


def beside_image(image: ImageIdentity) -> Path | None:
    """Return the project folder next to an image; None if it is in no file."""
    if image.path is None:
        return None
    path = Path(image.path)
    return path.with_name(path.name + SUFFIX)


def state_folder(image: ImageIdentity) -> Path:
    """Return the project folder of an image in the user's own folder."""
    known = f"{image.path}|{image.fingerprint}" if image.path else image.fingerprint
    folder, mark = _home(), hashlib.sha256(known.encode()).hexdigest()[:12]
    name = re.sub(r"[^\w.-]+", "_", image.name)[:60] or "image"
    # The name is for people: a layer may be called something else the next time.
    return next(iter(sorted(folder.glob(f"*-{mark}{SUFFIX}"))), folder / f"{name}-{mark}{SUFFIX}")


def _home() -> Path:
    home = os.environ.get("NAPARI_UNET_HOME") or platformdirs.user_state_dir("napari-unet", appauthor=False)
    return Path(home) / "projects"


def _left_behind(image: ImageIdentity) -> Path | None:
    """Find the project, in the user's own folder, of an image that has moved: same pixels, in a file that is gone."""
    if image.path is None:
        return None
    for path in sorted(_home().glob(f"*{SUFFIX}/{FILE}")):
        try:
            other = ImageIdentity.model_validate(json.loads(path.read_bytes())["image"])
        except (OSError, ValueError, KeyError, TypeError):  # of a newer version, perhaps
            continue
        if other.path is None or not other.same_pixels(image):
            continue
        if other.path == image.path or not Path(other.path).exists():  # it has been found there before
            return path.parent
    return None
