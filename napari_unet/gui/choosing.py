"""Which image layer to work on, how its axes and channels are read, and what is still missing."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer

from napari_unet.axes import describe, sizes
from napari_unet.errors import ImageError, NapariUnetError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.state import LayerChoice, ViewerState
from napari_unet.imaging.image import Image
from napari_unet.imaging.statistics import check_input

_LAYER_EVENTS = ("inserted", "removed", "reordered")
_ALPHA = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """How an image is read: its axes, and the channels that the model sees (None: not chosen)."""

    axes: str
    channels: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A reading that the user left, and what the model took for which its channels were chosen."""

    reading: Reading
    takes: tuple[object, ...]


# By image id. They live as long as the panels of their viewer.
_REMEMBERED: weakref.WeakKeyDictionary[Desk, dict[str, _Remembered]] = weakref.WeakKeyDictionary()


def reading_of(desk: Desk, layer: ImageLayer) -> Reading:
    """Return how an image layer is read: as the user last left it, or else as a guess.

    Channels that were chosen for a model with other inputs are chosen anew, by the user or, where
    there is only one way, here.
    """
    state, image = desk.state, layers.layer_id(layer)
    if image == state.image:
        return Reading(state.axes, state.channels)
    kept = _REMEMBERED.get(desk, {}).get(image)
    axes = layers.guess_axes(layer) if kept is None else kept.reading.axes
    if kept is not None and kept.takes == _takes(state):
        return kept.reading
    try:
        return Reading(axes, _usual_channels(state, layers.image_of(layer, axes), rgb=bool(layer.rgb)))
    except NapariUnetError:
        return Reading(axes)


def _takes(state: ViewerState) -> tuple[object, ...]:
    if state.model is None:
        return ()
    return (state.model.spec.normalization.channels, state.model.spec.image_channels)


class Choosing:
    """Keeps the lists of layers and the sentences about the chosen image up to date."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._follow(desk.viewer)
        events = desk.state.events
        for signal in (events.image, events.axes, events.channels, events.model):
            signal.connect(self.check)
        self.list_layers()

    def choose_image(self, image: str | None) -> None:
        """Choose an image layer, with the axes and channels that it had the last time, or guessed ones."""
        state = self._desk.state
        if image == state.image:
            return
        self._remember()
        layer = layers.by_id(self._desk.viewer, image)
        reading = Reading("") if layer is None else reading_of(self._desk, layer)
        state.image = image
        state.axes = reading.axes
        # Last: the axes that were there before must not answer for the new ones.
        state.channels = reading.channels

    def set_axes(self, axes: str) -> None:
        """Take the axes that the user typed, right or wrong."""
        state = self._desk.state
        if axes.strip().upper() != state.axes:
            state.axes = axes.strip().upper()
            # Last: channels along the old axes must not answer for the new ones.
            state.channels = None

    def list_layers(self) -> None:
        """Read the viewer's layers again."""
        viewer, state = self._desk.viewer, self._desk.state
        images = [one for one in viewer.layers if _is_image(one)]
        state.images = tuple(_choice(one) for one in images)
        state.labels = tuple(_choice(one) for one in viewer.layers if _is_exportable(one))
        known = {choice.id for choice in state.images}
        if state.image not in known:
            self.choose_image(state.images[-1].id if images else None)
        if state.segmented is not None and state.segmented.image not in known:
            state.segmented = None

    def check(self) -> None:
        """Work out the sentence about the image, and what keeps it from being segmented."""
        state = self._desk.state
        try:
            image = self._desk.chosen_image()
        except NapariUnetError as error:
            state.image_channels, state.image_slices, state.image_sentence = 0, 0, ""
            state.obstacle = str(error)
            return
        state.image_channels, state.image_slices = image.sizes["C"], image.sizes["Z"]
        state.image_sentence = describe(image.array.shape, image.axes, state.channels)
        if state.channels is None:
            state.channels = _usual_channels(state, image, rgb=self._is_rgb())
        state.obstacle = _obstacle(state, image)

    def _remember(self) -> None:
        state = self._desk.state
        if state.image is not None:
            kept = _REMEMBERED.setdefault(self._desk, {})
            kept[state.image] = _Remembered(Reading(state.axes, state.channels), _takes(state))

    def _is_rgb(self) -> bool:
        return bool(self._desk.image_layer().rgb)

    def _follow(self, viewer: ViewerModel) -> None:
        for name in _LAYER_EVENTS:
            getattr(viewer.layers.events, name).connect(self._on_layers)
        for layer in viewer.layers:
            layer.events.name.connect(self._on_layers)

    def _on_layers(self, event: object) -> None:
        if getattr(event, "type", "") == "inserted":
            event.value.events.name.connect(self._on_layers)  # type: ignore[attr-defined]
            _disown_copy(self._desk.viewer, event.value)  # type: ignore[attr-defined]
        self.list_layers()


def _disown_copy(viewer: ViewerModel, new: Layer) -> None:
    """Make a copy of a layer of ours the user's own: napari copies the metadata too."""
    role, image = layers.role_of(new), layers.image_id_of(new)
    twins = (one for one in viewer.layers if one is not new)
    if role is not None and any((layers.role_of(one), layers.image_id_of(one)) == (role, image) for one in twins):
        new.metadata = {key: value for key, value in new.metadata.items() if key != layers.KEY}


def _choice(layer: Layer) -> LayerChoice:
    return LayerChoice(id=layers.layer_id(layer), name=layer.name)


def _is_image(layer: Layer) -> bool:
    return isinstance(layer, ImageLayer) and layers.role_of(layer) is None


def _is_exportable(layer: Layer) -> bool:
    # A multiscale label layer is read-only in napari and has no single array.
    return isinstance(layer, Labels) and not layer.multiscale and layers.role_of(layer) not in {"reviewed", "held-out"}


def _usual_channels(state: ViewerState, image: Image, *, rgb: bool) -> tuple[int, ...] | None:
    """Channels that need no question: those of a colour image, or as many as the model takes."""
    count = image.sizes["C"]
    if state.model is None:
        return None
    spec = state.model.spec
    if spec.normalization.channels == "grey" and rgb and count in {3, _ALPHA}:
        return (0, 1, 2)
    if count == spec.image_channels:
        return tuple(range(count))
    return None


def _obstacle(state: ViewerState, image: Image) -> str:
    """Say in one sentence what keeps the image from being segmented; empty if nothing does."""
    if state.model is None:
        return "No model is chosen. Choose one in step 1."
    spec = state.model.spec
    size = sizes(image.array.shape, image.axes)
    chosen = state.channels if state.channels is not None else range(size["C"])
    try:
        check_input(image.name, len(chosen), spec.normalization, spec.image_channels)
        if spec.dims == 3 and size["Z"] < 2:
            raise ImageError(
                f'The model works on volumes, and "{image.name}" has a single slice. '
                "Name its Z axis, or choose a model for planes."
            )
    except NapariUnetError as error:
        return str(error)
    if not state.model.trained:
        return (
            "This model has no weights yet. Start a correction layer in step 3, paint some objects, "
            "mark what you painted as reviewed, and train it in step 4."
        )
    return ""
