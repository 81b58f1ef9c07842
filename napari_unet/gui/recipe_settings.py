"""What the panel says about segmenting, taken down at once, so that a thread can make a recipe of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari.layers import Image as ImageLayer

from napari_unet.axes import PixelSize
from napari_unet.errors import ModelError, NapariUnetError
from napari_unet.export.outputs import ExportOptions
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.image_reading import in_view_order
from napari_unet.gui.state import ModelChoice, ViewerState
from napari_unet.imaging.image import Image
from napari_unet.imaging.reading import read_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.recipes import Recipe, make_recipe, recipe_model
from napari_unet.objects.config import ObjectOptions

PLUGIN = "napari-unet"
_USUAL_AXES = {"", "YX", "ZYX"}


@dataclass(frozen=True, slots=True)
class Source:
    """The file that a layer was opened from, and how the layer is read.

    Attributes
    ----------
    path : Path
    axes : str
        Of the layer.
    pixel_size : PixelSize
        Of the layer.
    rgb : bool
        Whether the layer shows colours.
    reordered : bool
        Whether our reader opened it, which puts Y and X last.
    """

    path: Path
    axes: str
    pixel_size: PixelSize
    rgb: bool = False
    reordered: bool = False

    def corrections(self) -> tuple[str | None, PixelSize | None]:
        """Return axes and pixel size that the user gave instead of those of the file; reads it.

        Returns
        -------
        axes : str or None
            In the order of the file; None if the file knows them, or cannot be read at all.
        pixel_size : PixelSize or None
        """
        image = self._opened(None)
        if image is None:
            image = self._opened(self.axes)
            return (None, None) if image is None else (self.axes, None)
        shown = in_view_order(image.axes, rgb=self.rgb) if self.reordered else image.axes
        if len(shown) != len(self.axes):  # it was opened in another way
            return None, None
        names = dict(zip(shown, self.axes, strict=True))
        axes = "".join(names[axis] for axis in image.axes)
        size = self.pixel_size if any(self.pixel_size.along("ZYX")) else None
        return (None if axes == image.axes else axes), (None if size == image.pixel_size else size)

    def _opened(self, axes: str | None) -> Image | None:
        try:
            return read_image(self.path, axes)
        except NapariUnetError:
            return None


@dataclass(frozen=True, slots=True)
class Settings:
    """How the chosen image would be segmented now.

    Attributes
    ----------
    model : ModelChoice
        With weights.
    inference : InferenceConfig
        Its axes are those of the layer.
    objects : ObjectOptions
    source : Source, optional
        Where the chosen image comes from; None if there is none, or it is in memory only.
    """

    model: ModelChoice
    inference: InferenceConfig
    objects: ObjectOptions
    source: Source | None = None

    def recipe(self, export: ExportOptions, *, estimates: bool = False) -> Recipe:
        """Make a recipe for other images, in a thread: model and image are read.

        Raises
        ------
        ModelError
            If the file of the model is gone.
        """
        assert self.model.source is not None
        if self.source is not None:
            axes, pixel_size = self.source.corrections()
        else:
            axes, pixel_size = self.inference.axes, None
            axes = None if axes in _USUAL_AXES else axes
        return make_recipe(
            recipe_model(self.model.source, self.model.answers),
            self.model.spec,
            self.inference.model_copy(update={"axes": axes}),
            self.objects,
            estimates=estimates,
            pixel_size=pixel_size,
            export=export,
        )


def recipe_obstacle(state: ViewerState) -> str:
    """Say in a sentence what keeps the settings from being a recipe; empty if nothing does."""
    if state.model is None:
        return "No model is chosen. Choose one in step 1."
    if not state.model.trained:
        return "This model has no weights yet. Choose another one in step 1, or train it in step 4."
    return ""


def settings_of(desk: Desk) -> Settings:
    """Take down what the panel says.

    Raises
    ------
    ModelError
        If there is no model with weights.
    """
    state = desk.state
    if state.model is None or recipe_obstacle(state):
        raise ModelError(recipe_obstacle(state))
    layer = layers.by_id(desk.viewer, state.image)
    inference = InferenceConfig(
        axes=state.axes or None,
        channels=_channels(state, rgb=bool(getattr(layer, "rgb", False))),
        diameter_px=state.diameter_px,
        device=state.device,
        turns=state.turns,
        fast=state.fast,
    )
    source = _source(layer, state.axes) if isinstance(layer, ImageLayer) else None
    return Settings(state.model, inference, state.objects, source)


def _channels(state: ViewerState, *, rgb: bool) -> tuple[int, ...] | None:
    """Return which channels were chosen; None where all are, so that a colour image is not taken for its red."""
    count = min(state.image_channels, 3) if rgb else state.image_channels  # transparency is no channel of a file
    return None if state.channels == tuple(range(count)) else state.channels


def _source(layer: ImageLayer, axes: str) -> Source | None:
    path = layer.source.path
    if path is None or not axes:
        return None
    size = layers.pixel_size_of(layer, axes)
    return Source(Path(path), axes, size, rgb=bool(layer.rgb), reordered=layer.source.reader_plugin == PLUGIN)


def axes_of_layer(axes: str, layer: ImageLayer) -> str:
    """Return the axes of a layer whose file has these."""
    ours = layer.source.reader_plugin == PLUGIN
    return in_view_order(axes, rgb=bool(layer.rgb)) if ours else axes
