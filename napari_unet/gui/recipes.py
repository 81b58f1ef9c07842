"""Recipes: all that was set in the panel as a file, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from napari.layers import Image as ImageLayer

from napari_unet.axes import sizes
from napari_unet.errors import NapariUnetError
from napari_unet.export.outputs import OUTPUTS, ExportOptions, Output
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.export_choice import Kind
from napari_unet.gui.exporting import Exporting
from napari_unet.gui.modelling import Modelling
from napari_unet.gui.opening import Opener
from napari_unet.gui.recipe_settings import axes_of_layer, recipe_obstacle, settings_of
from napari_unet.gui.segmenting import Segmenting
from napari_unet.gui.state import Activity, ModelChoice
from napari_unet.gui.tasks import Aside, Task
from napari_unet.jobs.recipes import Recipe, read_recipe, weights_fingerprint, write_recipe
from napari_unet.weights.bundled import resolve


@dataclass(frozen=True, slots=True)
class _Read:
    """A recipe, and the file of its model; `missing` says why there is none."""

    recipe: Recipe
    source: str = ""
    missing: str = ""


class Recipes:
    """Writes what the panel says as a recipe, and sets the panel as a recipe says.

    Parameters
    ----------
    desk : Desk
    modelling : Modelling
    opener : Opener
        Opens the model of a recipe that is not in the list.
    segmenting : Segmenting
        Knows whether the fast mode can be used.
    exporting : Exporting
        Keeps what is to be written.
    """

    def __init__(
        self, desk: Desk, modelling: Modelling, opener: Opener, segmenting: Segmenting, exporting: Exporting
    ) -> None:
        self._desk, self._modelling, self._opener = desk, modelling, opener
        self._segmenting, self._exporting = segmenting, exporting

    @property
    def obstacle(self) -> str:
        """Say in a sentence what keeps the settings from being a recipe; empty if nothing does."""
        return recipe_obstacle(self._desk.state)

    @property
    def kind_obstacles(self) -> dict[Kind, str]:
        """Say what the chosen model and this computer cannot write about other images, and why."""
        model, obstacles = self._desk.state.model, dict[Kind, str]()
        if "masks" not in self._desk.state.export_choice.kinds:
            obstacles["summary"] = "The summary is made of the masks. Choose them, too."
        if model is not None and model.spec.meaning != "semantic":
            obstacles["classes"] = "This model finds objects, and a mask for each class needs a model of classes."
        if find_spec("pyarrow") is None:
            obstacles["parquet"] = (
                "Parquet needs the package pyarrow. Install it, for example with pip install pyarrow."
            )
        return obstacles

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is chosen in the step Export and can be written about other images."""
        obstacles = self.kind_obstacles
        return tuple(kind for kind in self._desk.state.export_choice.kinds if kind not in obstacles)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What of it is about one image each."""
        return tuple(output for output in OUTPUTS if output in self.kinds)

    def export_options(self) -> ExportOptions:
        """Return what is written about other images: masks where nothing is chosen."""
        return self._desk.state.export_choice.options(self.outputs or ("masks",))

    @property
    def estimate_obstacle(self) -> str:
        """Say in a sentence what keeps the diameter from being estimated for each image; empty if nothing does."""
        model = self._desk.state.model
        return "" if model is None else model.spec.sizing_obstacle

    @property
    def estimates(self) -> bool:
        """Whether the diameter is estimated for each image."""
        return self._desk.state.batch.estimates and not self.estimate_obstacle

    def save(self, path: str) -> None:
        """Write what the panel says as a recipe."""
        self._desk.attempt(lambda: self._save(Path(path)))

    def load(self, path: str) -> None:
        """Set the panel as a recipe says, as far as possible, and tell what was not."""
        self._desk.run(Activity.OPENING, self._load_task(Path(path)))

    def _save(self, path: Path) -> None:
        target = path if path.suffix.lower() in {".yaml", ".yml"} else path.with_name(f"{path.name}.yaml")
        self._desk.run(Activity.WRITING, self._save_task(target, self.maker()))

    def maker(self) -> Callable[[], Recipe]:
        """Take down what the panel says, and return what makes a recipe of it in a thread.

        Raises
        ------
        ModelError
            If there is no model with weights.
        """
        return partial(settings_of(self._desk).recipe, self.export_options(), estimates=self.estimates)

    def _save_task(self, path: Path, make: Callable[[], Recipe]) -> Task:
        yield Aside(lambda: write_recipe(path, make()))
        self._desk.state.tell(f"Saved the recipe as {path}.")

    def _load_task(self, path: Path) -> Task:
        known = tuple(choice.source for choice in self._desk.state.models if choice.source is not None)
        read: _Read = yield Aside(lambda: _read(path, known))
        self._desk.when_idle(partial(self._take, path, read))

    def _take(self, path: Path, read: _Read) -> None:
        """Choose the model, which may have to be opened first, and then set the rest."""
        choice = self._listed(read.source)
        if choice is not None:
            self._desk.state.opening = None
            self._modelling.choose(choice)
        elif read.source:
            self._opener.open_file(read.source, read.recipe.model.answers)
        self._desk.when_idle(partial(self._apply, path, read))

    def _listed(self, source: str) -> ModelChoice | None:
        return next((choice for choice in self._desk.state.models if source and _is_of(choice, source)), None)

    def _apply(self, path: Path, read: _Read) -> None:
        left_out = list(self._set(read))
        if left_out:
            self._desk.state.tell(f"Loaded {path.name}, except {'; '.join(left_out)}.", "warning")
        else:
            self._desk.state.tell(f"Loaded {path.name}.")

    def _set(self, read: _Read) -> Iterator[str]:
        """Set what can be set; yields what could not be, and why."""
        recipe, state = read.recipe, self._desk.state
        if read.missing:
            yield read.missing
        elif state.model is None or not _is_of(state.model, read.source):
            yield f"the model “{Path(read.source).name}” (it could not be opened; step 1 says why)"
        yield from self._set_reading(recipe)
        state.diameter_px = recipe.settings.diameter_px
        state.batch = state.batch.model_copy(update={"estimates": recipe.estimates})
        yield from self._set_compute(recipe)
        if state.model is not None:
            # Last: the smallest size has followed the diameter meanwhile.
            state.objects = recipe.objects_for(state.model.spec, state.diameter_px)
        self._exporting.take(recipe.export)

    def _set_reading(self, recipe: Recipe) -> Iterator[str]:
        """Set axes and channels, if there is an image that they fit."""
        state, wanted = self._desk.state, recipe.input
        layer = layers.by_id(self._desk.viewer, state.image)
        if not isinstance(layer, ImageLayer):
            if wanted.axes or wanted.channels:
                yield "axes and channels (there is no image to set them for)"
            return
        shape = layers.full_resolution(layer).shape
        axes = state.axes if wanted.axes is None else axes_of_layer(wanted.axes, layer)
        if len(axes) != len(shape):
            yield f"the axes {wanted.axes} (the image has {len(shape)} dimensions)"
            return
        state.axes = axes
        count = sizes(shape, axes)["C"]
        if wanted.channels is not None and max(wanted.channels) >= count:
            yield f"the channels (the image has {count})"
        elif wanted.channels is not None:
            state.channels = wanted.channels

    def _set_compute(self, recipe: Recipe) -> Iterator[str]:
        """Set device and speed; how large tiles are and how numbers are rounded, the panel chooses itself."""
        state, wanted = self._desk.state, recipe.inference
        state.turns = wanted.turns
        if wanted.device in {device.name for device in state.devices}:
            state.device = wanted.device
        else:
            yield f"the device {wanted.device} (there is none here)"
        if wanted.fast and self._segmenting.fast_obstacle:
            yield "the fast mode (its packages are not installed)"
        else:
            state.fast = wanted.fast
        if wanted.tile is not None or wanted.precision != "auto":
            yield "the size of tiles and the precision (the panel chooses them itself)"


def _is_of(choice: ModelChoice, source: str) -> bool:
    """Whether an entry of the list is the model of this file."""
    return source in {choice.source, choice.origin} - {None, ""}


def _read(path: Path, known: tuple[str, ...]) -> _Read:
    """Read a recipe and find its model: where it says, or else whichever of the known ones has the same weights."""
    recipe = read_recipe(path)
    wanted, name = recipe.model.sha256, Path(recipe.model.source).name
    there = _file(recipe.model.source)
    if there and (not wanted or _fingerprint(there) == wanted):
        return _Read(recipe, there)
    twin = next((source for source in known if wanted and _fingerprint(source) == wanted), "")
    if twin:
        return _Read(recipe, twin)
    if there:
        return _Read(recipe, missing=f"the model (the weights of “{name}” here are others than those of the recipe)")
    return _Read(recipe, missing=f"the model (there is no “{name}” here; open it in step 1)")


def _file(source: str) -> str:
    """Return the file of a model; empty if it is not there, or would have to be downloaded."""
    if source.startswith("bioimage.io:"):
        return ""
    try:
        return str(resolve(source))
    except NapariUnetError:
        return ""


def _fingerprint(source: str) -> str:
    try:
        return weights_fingerprint(source)
    except NapariUnetError:
        return ""
