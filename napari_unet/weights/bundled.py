"""The models that come with the package, and the user's own. Importing this does not import torch."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from napari_unet.errors import ModelError
from napari_unet.weights import SUFFIX

FOLDER = Path(__file__).parent / "models"


def bundled() -> dict[str, Path]:
    """Names and files of the models that come with the package."""
    return _models_in(FOLDER)


def own_folder() -> Path:
    """Folder of the user's own models; ``NAPARI_UNET_HOME`` moves it. It need not exist."""
    home = os.environ.get("NAPARI_UNET_HOME") or platformdirs.user_data_dir("napari-unet", appauthor=False)
    return Path(home) / "models"


def own() -> dict[str, Path]:
    """Names and files of the models in the user's own folder."""
    return _models_in(own_folder())


def resolve(source: str | Path) -> Path:
    """Find the file or folder of a model by bundled name, own name, path, or as "bioimage.io:name".

    Raises
    ------
    ModelError
        If there is no such model.
    """
    known = {**own(), **bundled()}
    if not isinstance(source, str | os.PathLike):
        raise ModelError(f"A model is named by text or a path, and {source!r} was given.")
    if str(source) in known:
        return known[str(source)]
    if str(source).startswith("bioimage.io:"):
        from napari_unet.weights.collection import download

        return download(str(source))
    path = Path(source).expanduser()
    # The beginning of a TensorFlow checkpoint is no file, but its index is.
    if path.exists() or path.with_name(f"{path.name}.index").is_file():
        return path
    raise ModelError(
        f'There is no model "{source}". Give a file or folder, or one of: {", ".join(sorted(known)) or "(none)"}.'
    )


def _models_in(folder: Path) -> dict[str, Path]:
    # By name and not by path: "nuclei" comes before "nuclei-small".
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stem)}
