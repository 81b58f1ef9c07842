"""A recipe: all that turns images into results, as a file that people can read, keep and share.

Neither reading nor writing one needs torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from napari_unet.atomic import write_bytes
from napari_unet.axes import PixelSize
from napari_unet.errors import ModelError, NapariUnetError
from napari_unet.export.outputs import ExportOptions
from napari_unet.imaging.config import Normalization
from napari_unet.inference.config import ComputeOptions, Diameter, InferenceConfig
from napari_unet.jobs.references import Answers
from napari_unet.networks.spec import Config
from napari_unet.objects.config import ObjectOptions
from napari_unet.weights.bundled import bundled, own, resolve
from napari_unet.weights.file import read_header
from napari_unet.weights.formats.identify import locate
from napari_unet.weights.spec import ModelSpec

VERSION = 1
SUFFIX = ".yaml"
_SUFFIXES = {".yaml", ".yml"}
_MOST_BYTES = 2**20
_HEAD = """\
# A recipe of napari-unet: how images were segmented, and all that is needed to segment others alike.
#
#     napari-unet run {name} IMAGES... --out FOLDER
#
# gives for the same image the same pixels. Change what you like: a name or a value that is not allowed is refused.
# The model is told by the SHA-256 of its weights; "source" is a name, or a file relative to this one.

"""


class RecipeModel(Config):
    """The model of a recipe.

    Attributes
    ----------
    source : str
        Name of a model, or a file, folder or package. In the file it is relative to that file where it lies near it.
    sha256 : str
        Of its weights, see `weights_fingerprint`; empty if any will do.
    answers : dict
        Keywords of `load_model` that its file needs each time.
    """

    source: str = Field(min_length=1)
    sha256: str = ""
    answers: Answers = Field(default_factory=dict)


class RecipeInput(Config):
    """How images are read.

    Attributes
    ----------
    axes : str, optional
        Instead of what each file says.
    channels : tuple of int, optional
        Which channels feed the model; all by default.
    pixel_size_um : (Z, Y, X), optional
        Instead of what each file says.
    diameter_px : float or "auto", optional
        Of the objects; "auto" estimates it for each image.
    """

    axes: str | None = None
    channels: tuple[int, ...] | None = None
    pixel_size_um: tuple[float | None, float | None, float | None] | None = None
    diameter_px: Diameter = None

    @field_validator("diameter_px")
    @classmethod
    def _positive(cls, diameter: Diameter) -> Diameter:
        if isinstance(diameter, float) and not 0 < diameter < float("inf"):
            message = "a diameter is a positive number of pixels, or auto"
            raise ValueError(message)
        return diameter

    @property
    def pixel_size(self) -> PixelSize | None:
        """In µm; None for that of each file."""
        return None if self.pixel_size_um is None else PixelSize(*self.pixel_size_um)


class Recipe(Config):
    """All that turns images into results.

    Attributes
    ----------
    version : 1
        Of this description.
    notes : str
        For people.
    model : RecipeModel
    input : RecipeInput
    normalization : Normalization, optional
        That of the model when the recipe was made; a model with another one is refused. None is not compared.
    inference : ComputeOptions
        Tiles, device, precision and turns.
    objects : dict
        Fields of `ObjectOptions` that replace those of the model. Where the smallest size is not among them it follows
        the diameter.
    export : ExportOptions
        What is written.
    """

    version: Literal[1] = 1
    notes: str = ""
    model: RecipeModel
    input: RecipeInput = RecipeInput()
    normalization: Normalization | None = None
    inference: ComputeOptions = ComputeOptions()
    objects: dict[str, bool | int | float] = Field(default_factory=dict)
    export: ExportOptions = ExportOptions()

    @field_validator("objects")
    @classmethod
    def _known_objects(cls, objects: dict[str, bool | int | float]) -> dict[str, bool | int | float]:
        ObjectOptions.model_validate(objects)
        return objects

    @property
    def estimates(self) -> bool:
        """Whether the diameter of the objects is estimated for each image."""
        return self.input.diameter_px == "auto"

    @property
    def settings(self) -> InferenceConfig:
        """How the network is run; without a diameter where that is estimated."""
        diameter = None if self.input.diameter_px == "auto" else self.input.diameter_px
        compute = self.inference.model_dump(include=set(ComputeOptions.model_fields))
        return InferenceConfig(axes=self.input.axes, channels=self.input.channels, diameter_px=diameter, **compute)

    def objects_for(self, spec: ModelSpec, diameter_px: float | None) -> ObjectOptions:
        """Return how objects are found: the model's settings at a diameter, replaced by what the recipe says."""
        return ObjectOptions.model_validate({**spec.objects_at(diameter_px).model_dump(), **self.objects})

    def digest(self) -> str:
        """Return what is the same for recipes that give the same results, wherever they and their model lie."""
        told = self.model_dump(mode="json", exclude={"notes": True, "model": {"source"}, "inference": {"device"}})
        if not self.model.sha256:
            told["model"]["source"] = self.model.source
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def make_recipe(
    model: RecipeModel,
    spec: ModelSpec,
    inference: InferenceConfig,
    objects: ObjectOptions | None = None,
    *,
    estimates: bool = False,
    pixel_size: PixelSize | None = None,
    export: ExportOptions | None = None,
) -> Recipe:
    """Record what was done as a recipe.

    Parameters
    ----------
    model : RecipeModel
        See `recipe_model`.
    spec : ModelSpec
        Of the model.
    inference : InferenceConfig
        Its `axes` and `channels` are those of every image to come: None where each file knows.
    objects : ObjectOptions, optional
        Those of the model by default.
    estimates : bool
        Whether to estimate the diameter for each image, instead of that of `inference`. The smallest size then follows
        the diameter, unless `objects` says another one than the model would.
    pixel_size : PixelSize, optional
        Instead of what the files say.
    export : ExportOptions, optional
    """
    usual = spec.objects_at(inference.diameter_px)
    chosen = (objects or usual).model_dump()
    if estimates and chosen["min_size_px"] == usual.min_size_px:
        del chosen["min_size_px"]
    return Recipe(
        model=model,
        input=RecipeInput(
            axes=inference.axes,
            channels=inference.channels,
            pixel_size_um=None if pixel_size is None else (pixel_size.z_um, pixel_size.y_um, pixel_size.x_um),
            diameter_px="auto" if estimates else inference.diameter_px,
        ),
        normalization=spec.normalization,
        inference=ComputeOptions(**inference.model_dump(include=set(ComputeOptions.model_fields))),
        objects=chosen,
        export=export or ExportOptions(),
    )


def recipe_model(source: str | Path, answers: Mapping[str, Any] | None = None) -> RecipeModel:
    """Name a model for a recipe, with the fingerprint of its weights.

    Raises
    ------
    ModelError
        If there is no such model.
    """
    return RecipeModel(source=str(source), sha256=weights_fingerprint(source), answers=dict(answers or {}))


def weights_fingerprint(source: str | Path) -> str:
    """SHA-256 of the weights of a model: of its tensors as our model files state it, else of the files it lies in.

    Raises
    ------
    ModelError
        If there is no such model, or it cannot be read.
    """
    path = locate(resolve(source))
    if path.suffix == ".safetensors":
        stated = (read_header(path).get("__metadata__") or {}).get("sha256")
        if isinstance(stated, str):
            return stated
    try:
        if path.is_file():
            return _file_sha256(path)
        # A package is a folder, and a TensorFlow checkpoint the common beginning of its files.
        files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}.*")
        sums = [f"{file.name} {_file_sha256(file)}" for file in sorted(files) if file.is_file()]
    except OSError as error:
        raise ModelError(f'The model "{path}" cannot be read ({error.strerror}). Choose another one.') from error
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- the file -----------------------------------------------------------------------------------


def write_recipe(path: str | os.PathLike[str], recipe: Recipe) -> Path:
    """Write a recipe as YAML.

    Raises
    ------
    ExportError
        If the file cannot be written; what stood there is unchanged.
    NapariUnetError
        If its name does not end in .yaml or .yml.
    """
    path = _recipe_path(path)
    told = recipe.model_dump(mode="json")
    told["model"]["source"] = _portable(recipe.model.source, path.parent)
    name = f'"{path.name}"' if " " in path.name else path.name
    text = _HEAD.format(name=name) + yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=100)
    return write_bytes(path, text.encode())


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe; where its model is a file beside it, `model.source` is the whole path of that file.

    Raises
    ------
    NapariUnetError
        If it cannot be read, or is no recipe that this version understands.
    """
    path = _recipe_path(path)
    recipe = _checked(path, _told(path))
    beside = path.parent / Path(recipe.model.source).expanduser()
    if recipe.model.source in {**own(), **bundled()} or not _is_there(beside):
        return recipe
    model = recipe.model.model_copy(update={"source": str(beside.resolve())})
    return recipe.model_copy(update={"model": model})


def _recipe_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise NapariUnetError(f'"{path.name}" does not end in .yaml, as recipes do. Add .yaml to the name.')
    return path


def _told(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise NapariUnetError(f'"{path}" is too large for a recipe. Choose another file.')
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NapariUnetError(f'The recipe "{path}" cannot be read: {error.strerror}.') from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise NapariUnetError(f'"{path}" is no YAML file, as recipes are ({first}). Choose another file.') from error
    if not isinstance(told, dict) or "model" not in told:
        raise NapariUnetError(f'"{path}" names no model, so it is no recipe. Choose another file.')
    return told


def _checked(path: Path, told: dict[str, Any]) -> Recipe:
    version = told.get("version")
    if isinstance(version, int) and version > VERSION:
        raise NapariUnetError(
            f'The recipe "{path.name}" has version {version}, and this napari-unet knows up to {VERSION}. '
            "Update napari-unet."
        )
    try:
        return Recipe.model_validate(told)
    except ValidationError as error:
        where, why = _fault(error)
        raise NapariUnetError(
            f'The recipe "{path.name}" cannot be used: {where or "recipe"}: {why}. Correct it there.'
        ) from error


def _fault(error: ValidationError) -> tuple[str, str]:
    """Say where the first fault is and what it is; a value that may be of several kinds has one for each."""
    faults = error.errors()
    depth = 2 if len(faults) > 1 else len(faults[0]["loc"])
    place = faults[0]["loc"][:depth]
    if faults[0]["type"] == "extra_forbidden":
        return ".".join(map(str, faults[0]["loc"])), "there is no such setting"
    reasons = [fault["msg"].removeprefix("Value error, ") for fault in faults if fault["loc"][:depth] == place]
    return ".".join(map(str, place)), ", or ".join(dict.fromkeys(reasons))


def _portable(source: str, folder: Path) -> str:
    """Name a model so that others find it: by its name, or relative to the recipe if it lies near it."""
    named = {path.resolve(): name for name, path in {**own(), **bundled()}.items()}
    if source in named.values() or not _is_there(Path(source).expanduser()):
        return source
    path = Path(source).expanduser().resolve()
    if path in named:
        return named[path]
    near = folder.resolve().parent
    if near != Path(near.anchor) and path.is_relative_to(near):
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    return str(path)


def _is_there(path: Path) -> bool:
    """Whether there is a file, a folder, or the beginning of a TensorFlow checkpoint."""
    return path.exists() or path.with_name(f"{path.name}.index").is_file()
