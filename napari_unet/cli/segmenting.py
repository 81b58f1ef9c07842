"""``napari-unet segment``: a recipe of what is typed, run at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_unet.axes import PixelSize
from napari_unet.cli.running import RunOptions, run_images
from napari_unet.export.outputs import ExportOptions
from napari_unet.export.targets import check_free
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.image_lists import find_images
from napari_unet.jobs.recipes import Recipe, make_recipe, recipe_model, write_recipe
from napari_unet.networks.spec import checked
from napari_unet.objects.config import ObjectOptions
from napari_unet.weights.loading import load_model
from napari_unet.weights.model import Model
from napari_unet.weights.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Source:
    """Name or file of a model, and answers to what the file leaves open."""

    name: str
    answers: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Model:
        """Open the model."""
        return load_model(self.name, **self.answers)


@dataclass(frozen=True, slots=True)
class Typed:
    """What is typed about how images are segmented.

    Attributes
    ----------
    source : Source
        The model.
    inference : InferenceConfig
    objects : mapping
        Options for finding objects that replace those of the model.
    pixel_size : PixelSize, optional
        Instead of what the files say.
    estimates : bool
        Whether to estimate the diameter of the objects in each image first.
    export : ExportOptions
    """

    source: Source
    inference: InferenceConfig
    objects: Mapping[str, float]
    pixel_size: PixelSize | None = None
    estimates: bool = False
    export: ExportOptions = field(default_factory=ExportOptions)

    def recipe(self, spec: ModelSpec) -> Recipe:
        """Return the recipe for it.

        Raises
        ------
        NapariUnetError
            If a value is not allowed.
        """
        usual = spec.objects_at(self.inference.diameter_px).model_dump()
        return make_recipe(
            recipe_model(self.source.name, self.source.answers),
            spec,
            self.inference,
            checked(ObjectOptions, **{**usual, **self.objects}),
            estimates=self.estimates,
            pixel_size=self.pixel_size,
            export=self.export,
        )


def segment_files(sources: Sequence[str], typed: Typed, options: RunOptions, save_recipe: Path | None = None) -> bool:
    """Segment images one after the other; one that fails gives its sentence, and the others go on.

    Parameters
    ----------
    sources : sequence of str
        Files, folders and patterns.
    typed : Typed
    options : RunOptions
    save_recipe : Path, optional
        Where to write the recipe.

    Returns
    -------
    bool
        Whether all went well.

    Raises
    ------
    NapariUnetError
        If nothing can be done at all.
    """
    images = find_images(sources, options.folder)
    if save_recipe is not None:
        check_free(save_recipe, overwrite=options.overwrite)
    model = typed.source.load()
    recipe = typed.recipe(model.spec)
    if save_recipe is not None:
        write_recipe(save_recipe, recipe)
    return run_images(recipe, model, images, options)
