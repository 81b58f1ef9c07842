"""Step 5: masks, tables, outlines and pictures as files."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_unet.errors import ExportError, LabelsError
from napari_unet.events import Event, Progress
from napari_unet.export.outputs import ExportOptions, Result, file_names
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.driving import driven
from napari_unet.gui.export_choice import SUMMARY_ENDING, ExportChoice, Exported, Kind, recall_choice, remember_choice
from napari_unet.gui.export_source import exported_layer, obstacles_of, result_of, stem_of, with_fingerprint
from napari_unet.gui.segmenting import Kept
from napari_unet.gui.state import Activity
from napari_unet.gui.tasks import Task
from napari_unet.imaging.image import from_canonical

if TYPE_CHECKING:
    from napari_unet.export.summary import ImageSummary

_TIFF, _TABLES = {".tif", ".tiff"}, {".csv", ".parquet"}
_PIXEL_EVENTS = ("scale", "units", "axis_labels")

_MADE: tuple[layers.Role, ...] = ("prediction", "correction")

Writing = Generator[Event, None, Path]


def _masks_events(path: Path, result: Result) -> Writing:
    from napari_unet.export.tiff import save_masks_events

    target = path if path.suffix.lower() in _TIFF else path.with_name(path.name + ".tif")
    return (yield from save_masks_events(target, _in_layer_order(result), result.axes, result.pixel_size))


def _table_events(path: Path, result: Result) -> Writing:
    from napari_unet.export.table import save_table
    from napari_unet.objects.measuring import measure

    target = path if path.suffix.lower() in _TABLES else path.with_name(path.name + ".csv")
    yield Progress("Measuring", 0, 1)
    return save_table(target, measure(np.asarray(result.labels), result.pixel_size, result.image))


def _in_layer_order(result: Result) -> np.ndarray[Any, Any]:
    return from_canonical(np.asarray(result.labels)[:, None], result.axes)


def _warning(result: Result, kinds: Sequence[Kind]) -> str:
    """Name the program that will not open the masks as they are; empty where all do."""
    from napari_unet.export.layouts import layout_of_masks

    if "masks" not in kinds:
        return ""
    labels = np.asarray(result.labels)
    size = dict(zip("TZYX", labels.shape, strict=True))
    shape = [size[axis] for axis in result.axes]
    return layout_of_masks(shape, result.axes, int(labels.max(initial=0))).warning


class Exporting:
    """Writes a label layer in a thread; a failure leaves every file and layer as it was.

    Parameters
    ----------
    desk : Desk
    kept : callable
        Returns the probabilities of the last segmentation.
    """

    def __init__(self, desk: Desk, kept: Callable[[], Kept | None]) -> None:
        self._desk, self._kept = desk, kept
        self._made: dict[layers.Role, set[str]] = {}
        state = desk.state
        state.export_choice = recall_choice()
        state.events.export_layer.connect(self.measure_pixel)
        for event in (state.events.export_layer, state.events.segmented, state.events.images):
            event.connect(self._survey)
        state.events.labels.connect(self._follow_layers)
        self._follow_layers()

    def save_masks(self, path: str) -> None:
        """Save the chosen labels as TIFF."""
        self._desk.attempt(lambda: self._start(path, "Saved the masks as", _masks_events))

    def save_table(self, path: str, layer: str | None = None) -> None:
        """Save one row an object as CSV or Parquet; of a layer, or of the one that is chosen."""
        self._desk.attempt(lambda: self._start(path, "Saved the object table as", _table_events, layer))

    def choose(self, kind: Kind, on: bool) -> None:
        """Write one more kind of file, or one less."""
        self._remember(self._desk.state.export_choice.with_kind(kind, on))

    def take(self, options: ExportOptions) -> None:
        """Choose what a recipe writes, and how."""
        how = options.model_dump(include={"probability_type", "zarr_version", "sidecar"})
        self._remember(self._desk.state.export_choice.model_copy(update={"kinds": options.outputs, **how}))

    def there(self, folder: str, stem: str) -> tuple[str, ...]:
        """Return the names of files of a folder that would be replaced."""
        options, summary = self._options(), (Path(stem + SUMMARY_ENDING),) if "summary" in self.chosen else ()
        names = (*(file_names(stem, options).values() if options else ()), *summary)
        return tuple(str(name) for name in names if (Path(folder) / name).exists())

    def export(self, folder: str, stem: str) -> None:
        """Write all that is chosen into a folder; the files' names begin with `stem`."""
        self._desk.attempt(lambda: self._export(Path(folder), stem))

    @property
    def chosen(self) -> tuple[Kind, ...]:
        """What is chosen and can be written."""
        state = self._desk.state
        return tuple(kind for kind in state.export_choice.kinds if kind not in state.export_obstacles)

    def measure_pixel(self) -> None:
        """Take the pixel size from the chosen layer."""
        state = self._desk.state
        layer = layers.by_id(self._desk.viewer, state.export_layer)
        if layer is None:
            state.pixel_size_um = (None, None, None)
            return
        for name in _PIXEL_EVENTS:
            getattr(layer.events, name).connect(self._measure_again)
        state.export_axes = layers.frame_of_labels(layer).axes
        size = layers.pixel_size_of(layer, state.export_axes)
        state.pixel_size_um = (size.z_um, size.y_um, size.x_um)

    def _measure_again(self, event: Any) -> None:  # noqa: ANN401  # napari's own
        """Take the pixel size anew when somebody changes that of the chosen layer."""
        if self._desk.open and layers.layer_id(event.source) == self._desk.state.export_layer:
            self.measure_pixel()

    def _follow_layers(self) -> None:
        """Choose a new prediction, or rather a new correction; keep the chosen layer while it is there."""
        state, viewer = self._desk.state, self._desk.viewer
        known = [choice.id for choice in state.labels]
        made = {role: {layers.layer_id(one) for one in layers.with_role(viewer, role)} for role in _MADE}
        new = [(role, one) for role in _MADE for one in made[role] - self._made.get(role, set())]
        self._made = made
        for role, one in new:
            if role == "correction" or state.export_layer not in made["correction"]:
                state.export_layer = one
        if state.export_layer not in known:
            state.export_layer = known[-1] if known else None

    def _survey(self) -> None:
        """Find out what can be written about the chosen layer, and how files about it are called."""
        state = self._desk.state
        layer = layers.by_id(self._desk.viewer, state.export_layer)
        if not isinstance(layer, Labels):
            state.export_obstacles, state.export_stem = {}, ""
            return
        obstacles = obstacles_of(self._desk, layer, self._kept())
        state.export_obstacles = {str(output): why for output, why in obstacles.items()}
        state.export_stem = stem_of(self._desk, layer)

    def _options(self) -> ExportOptions | None:
        """Return how files are written; None where only the summary is."""
        choice, chosen = self._desk.state.export_choice, self.chosen
        outputs = [output for output in choice.outputs if output in chosen]
        return choice.options(outputs) if outputs else None

    def _remember(self, choice: ExportChoice) -> None:
        self._desk.state.export_choice = choice
        remember_choice(choice)

    def _result(self, layer: str | None = None) -> Result:
        return result_of(self._desk, exported_layer(self._desk, layer), self._kept())

    def _start(self, path: str, done: str, write: Callable[[Path, Result], Writing], layer: str | None = None) -> None:
        result = self._result(layer)
        if write is _table_events and not np.asarray(result.labels).any():
            raise LabelsError(
                "The labels are empty: there is no object to put into a table. Segment or paint some first."
            )
        self._desk.run(Activity.WRITING, self._task(write(Path(path), result), done))

    def _task(self, work: Writing, done: str) -> Task:
        path = yield from driven(self._desk, work)
        self._desk.state.tell(f"{done} {path}.")

    def _export(self, folder: Path, stem: str) -> None:
        if not self.chosen:
            raise ExportError("Nothing is chosen that can be written. Choose at least one kind of file.")
        if not stem or Path(stem).name != stem:
            raise ExportError(f'"{stem}" is no name for files. Give one without a slash.')
        job = _Job(folder, stem, self.chosen, self._options())
        self._desk.run(Activity.WRITING, self._export_task(job, self._result()))

    def _export_task(self, job: _Job, result: Result) -> Task:
        self._desk.state.exported = None
        paths, warning = yield from driven(self._desk, _all_events(job, result))
        self._remember(self._desk.state.export_choice.model_copy(update={"folder": str(job.folder)}))
        names = tuple(path.name for path in paths)
        self._desk.state.exported = Exported(folder=str(job.folder), names=names, warning=warning)
        self._desk.state.tell(f"Exported {names[0] if len(names) == 1 else f'{len(names)} files'} to {job.folder}.")


@dataclass(frozen=True, slots=True)
class _Job:
    """What to write where; without options there is only the summary."""

    folder: Path
    stem: str
    kinds: tuple[Kind, ...]
    options: ExportOptions | None


def _all_events(job: _Job, result: Result) -> Generator[Event, None, tuple[tuple[Path, ...], str]]:
    """Write all files, and return their paths and which program will not open them."""
    from napari_unet.export.outputs import write_outputs_events
    from napari_unet.export.summary import save_summary

    yield Progress("Looking at the labels", 0, len(job.kinds))
    warning, named = _warning(result, job.kinds), with_fingerprint(result)
    told = None
    if "summary" in job.kinds:
        yield Progress("Drawing the summary", 0, len(job.kinds))
        told = _told(named)
    paths: tuple[Path, ...] = ()
    if job.options is not None:
        paths = yield from write_outputs_events(job.folder, job.stem, named, job.options)
    if told is not None:  # a cancel comes at events only, and once the files are in their places there is none
        page = job.folder / f"{job.stem}{SUMMARY_ENDING}"
        paths = (*paths, save_summary(page, [told], named.provenance, title=named.name))
    return paths, warning


def _told(result: Result) -> ImageSummary:
    from napari_unet.export.summary import LARGE_PX, summarize_image
    from napari_unet.objects.measuring import measure

    assert result.image is not None  # else it is no choice
    labels = np.asarray(result.labels)
    table = measure(labels, result.pixel_size, result.image)
    return summarize_image(result.image, labels, table, side_px=LARGE_PX)
