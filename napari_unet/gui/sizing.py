"""How large the objects are: the diameter is estimated on demand, and the smallest size follows it."""

from __future__ import annotations

from napari_unet.errors import ImageError, ModelError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.state import Activity, ModelChoice
from napari_unet.gui.tasks import Aside, Remote, Task
from napari_unet.imaging.image import Image
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.requests import ImageRef, Region
from napari_unet.jobs.sizing import DiameterRequest, DiameterResult


class Sizing:
    """Estimates the diameter of the objects in the chosen image.

    Whenever the diameter changes, the smallest size of an object changes with it, unless the user has set it.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._diameter = desk.state.diameter_px
        desk.state.events.diameter_px.connect(self._follow)

    @property
    def obstacle(self) -> str:
        """Say in a sentence what keeps the diameter from being estimated; empty if nothing does."""
        state = self._desk.state
        if state.obstacle or state.model is None:
            return state.obstacle
        return state.model.spec.sizing_obstacle

    def estimate(self) -> None:
        """Estimate the diameter around the middle of what is on the screen, and put it into its field."""
        self._desk.attempt(self._estimate)

    def _estimate(self) -> None:
        state = self._desk.state
        if self.obstacle or state.model is None:
            raise (ModelError if state.image is not None else ImageError)(self.obstacle)
        layer, image = self._desk.image_layer(), self._desk.chosen_image()
        seen = layers.region_of(layers.visible_box(self._desk.viewer, layer, image.axes), image)
        inference = InferenceConfig(axes=image.axes, channels=state.channels, device=state.device)
        self._desk.run(Activity.ESTIMATING, self._task(state.model, image, inference, seen))

    def _task(self, model: ModelChoice, image: Image, inference: InferenceConfig, seen: Region) -> Task:
        staged: ImageRef = yield Aside(lambda: self._desk.stage_image(image))
        try:
            request = DiameterRequest(model=model.ref, image=staged, inference=inference, around=seen)
            result: DiameterResult = yield Remote(request, self._desk.show)
        finally:
            self._desk.release(staged.array)
        self._tell(result.diameter_px)

    def _tell(self, diameter: float | None) -> None:
        state = self._desk.state
        if diameter is None:
            state.tell(
                "Hardly any objects were found around the middle of what you see. Go to where there are some and "
                "estimate again, or type their diameter.",
                "warning",
            )
            return
        # The field shows whole pixels, and what it shows is what is used.
        state.diameter_px = max(1.0, round(diameter))
        state.tell(f"The objects are about {state.diameter_px:.0f} pixels in diameter.")

    def _follow(self, diameter: float | None) -> None:
        former, self._diameter = self._diameter, diameter
        state = self._desk.state
        if state.model is None:
            return
        spec = state.model.spec
        if state.objects.min_size_px == spec.objects_at(former).min_size_px:
            state.change_objects(min_size_px=spec.objects_at(diameter).min_size_px)
