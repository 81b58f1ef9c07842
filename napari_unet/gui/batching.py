"""Many images, one after the other, with the settings of step 2."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

from napari_unet.errors import Cancelled, JobError, NapariUnetError
from napari_unet.events import Event, ImageBegun, ImageDone, Notice, Progress, TileDone
from napari_unet.gui.batch_listing import list_rows, usual_results
from napari_unet.gui.batch_opening import RowOpener
from napari_unet.gui.batch_state import BatchRow
from napari_unet.gui.choosing import Choosing
from napari_unet.gui.correcting import Correcting
from napari_unet.gui.desk import Desk
from napari_unet.gui.progress import in_words
from napari_unet.gui.recipe_settings import PLUGIN
from napari_unet.gui.recipes import Recipes
from napari_unet.gui.state import Activity
from napari_unet.gui.tasks import Aside, Remote, Task
from napari_unet.jobs.batching import BatchRequest, BatchResult, ImagePlace
from napari_unet.jobs.recipes import Recipe

_STEPS = 100
"""Into how many parts the work on an image is divided, to show how far it has come."""
_NETWORK_SHARE = 0.9
"""Of the time that an image takes; finding objects and writing files is the rest."""


class Batching:
    """Lists images, runs the settings of step 2 over them in the background process, and opens what was made.

    Parameters
    ----------
    desk : Desk
    recipes : Recipes
        Makes a recipe of the settings.
    choosing : Choosing
    correcting : Correcting
        Is given the masks of an image that is opened.
    """

    def __init__(self, desk: Desk, recipes: Recipes, choosing: Choosing, correcting: Correcting) -> None:
        self._desk, self._recipes = desk, recipes
        self._opener = RowOpener(desk, choosing, correcting)
        self._interrupted: tuple[str, dict[str, BatchRow]] = ("", {})

    @property
    def obstacle(self) -> str:
        """Say in a sentence what keeps the images from being segmented; empty if nothing does."""
        batch = self._desk.state.batch
        if self._recipes.obstacle:
            return self._recipes.obstacle
        if not batch.folder and not batch.files:
            return "Choose a folder of images, or files."
        if not self._recipes.outputs:
            return "Nothing is chosen to be written. Choose at least one kind of file."
        return batch.trouble

    def choose_folder(self, folder: str) -> None:
        """Take the images of a folder."""
        self._choose(folder=folder, files=())

    def choose_files(self, files: tuple[str, ...]) -> None:
        """Take some images; folders among them are Zarr stores."""
        if len(files) == 1 and Path(files[0]).is_dir():
            self.choose_folder(files[0])
        elif files:
            self._choose(folder="", files=files)

    def choose_results(self, folder: str) -> None:
        """Take a folder for the results; the usual one if it is empty."""
        path = Path(folder).expanduser().absolute()
        self.change(results=str(path) if folder else usual_results(self._desk.state.batch))

    def change(self, **changes: Any) -> None:  # noqa: ANN401
        """Replace some of what was chosen, and list the images anew."""
        state = self._desk.state
        changed = state.batch.model_copy(update=changes)
        if changed != state.batch:
            state.batch = changed
            self.refresh()

    def refresh(self) -> None:
        """Look again which images there are, and which are done."""
        batch = self._desk.state.batch
        if batch.folder or batch.files:
            self._desk.run(Activity.LISTING, self._list_task())

    def run(self) -> None:
        """Segment the images that are not done."""
        self._desk.attempt(self._run)

    def open_row(self, number: int) -> None:
        """Open an image of the list, with its masks as a correction layer."""
        rows, activity = self._desk.state.batch.rows, self._desk.state.activity
        if not 0 <= number < len(rows):
            return
        if activity not in {Activity.IDLE, Activity.BATCH, Activity.CANCELLING}:
            self._desk.state.tell("Wait until this is done, and open the image then.", "warning")
            return
        self._desk.attempt(lambda: self._opener.open(rows[number]))

    def open_dock(self) -> None:
        """Show the list of images in the window, or bring it to the front."""
        window = getattr(self._desk.viewer, "window", None)
        if window is not None:
            dock, _ = window.add_plugin_dock_widget(PLUGIN, "Many images", tabify=True)
            dock.show()
            dock.raise_()

    def close(self) -> None:
        """Leave alone what is still being read: the viewer is closing."""
        self._opener.close()

    def _choose(self, **changes: Any) -> None:  # noqa: ANN401
        """Take other images; the folder for the results follows, unless the user has chosen it."""
        former = self._desk.state.batch
        new = former.model_copy(update=changes)
        followed = not former.results or former.results == usual_results(former)
        self.change(**changes, **({"results": usual_results(new)} if followed else {}))

    def _list_task(self) -> Task:
        state = self._desk.state
        batch, make = state.batch, self._recipe_maker()
        try:
            rows = yield Aside(lambda: list_rows(batch, make()))
        except NapariUnetError as error:
            state.batch = state.batch.model_copy(update={"rows": (), "trouble": str(error)})
            return
        state.batch = state.batch.model_copy(update={"rows": rows, "trouble": ""})

    def _recipe_maker(self) -> Callable[[], Recipe | None]:
        """Return what makes the recipe in a thread; it gives None where that is not possible."""
        try:
            return partial(_recipe_or_none, self._recipes.maker())
        except NapariUnetError:
            return lambda: None

    def _run(self) -> None:
        if self.obstacle:
            raise NapariUnetError(self.obstacle)
        self._desk.run(Activity.BATCH, self._run_task(self._recipes.maker()))

    def _run_task(self, make: Callable[[], Recipe]) -> Task:
        state, began = self._desk.state, time.monotonic()
        batch, summary = state.batch, "summary" in self._recipes.kinds
        recipe: Recipe = yield Aside(make)
        listed: tuple[BatchRow, ...] = yield Aside(lambda: list_rows(batch, recipe))
        run = f"{recipe.digest()} {batch.results}"
        rows = self._with_interrupted(run, listed)
        state.batch = state.batch.model_copy(update={"rows": rows, "trouble": ""})
        wanted = _wanted(rows, all_but_done=batch.overwrite or not summary)
        if not wanted:
            state.tell(f"All {len(rows):,} images have been done before. Choose “Do all again” to replace the results.")
            return
        places = tuple(ImagePlace(path=rows[n].path, folder=rows[n].folder) for n in wanted)
        request = BatchRequest(
            recipe=recipe, images=places, folder=batch.results, overwrite=batch.overwrite, summary=summary
        )
        self._opener.axes = recipe.input.axes
        result: BatchResult = yield from self._followed(request, Follower(self._desk, wanted), run)
        self._conclude(result, time.monotonic() - began)

    def _followed(self, request: BatchRequest, follower: Follower, run: str) -> Generator[Remote, Any, BatchResult]:
        """Have the images segmented; what was done remains known where that ends early."""
        self._interrupted = ("", {})
        try:
            result: BatchResult = yield Remote(request, follower.follow)
        except (Cancelled, JobError) as error:
            follower.stop()
            batch = self._desk.state.batch
            done = {row.path: row for row in batch.rows if row.status == "done"}
            self._interrupted = (run, done if request.overwrite else {})
            if follower.begun:
                raise _interrupted(error, batch.count("waiting")) from error
            raise
        follower.stop()
        return result

    def _with_interrupted(self, run: str, rows: tuple[BatchRow, ...]) -> tuple[BatchRow, ...]:
        """Take as done what the same run did before it was interrupted, though all are to be done again."""
        former, done = self._interrupted
        return tuple(done.get(row.path, row) for row in rows) if former == run else rows

    def _conclude(self, result: BatchResult, seconds: float) -> None:
        batch, state = self._desk.state.batch, self._desk.state
        parts = [f"{result.done:,} of {len(batch.rows):,} images done in {in_words(seconds)}"]
        before = batch.count("skipped")
        parts += [f"{before:,} had been done before"] if before else []
        parts += [f"{result.failed:,} failed: choose one to read why"] if result.failed else []
        state.tell(f"{'; '.join(parts)}. The results are in {batch.results}.", "warning" if result.failed else "info")


class Follower:
    """Keeps the rows and the progress bar true while the background process works.

    Parameters
    ----------
    desk : Desk
    places : list of int
        Rows of the images that are being done, in their order.
    """

    def __init__(self, desk: Desk, places: list[int]) -> None:
        self._desk, self._places = desk, places
        self._rows = list(desk.state.batch.rows)
        self._settled, self._share = 0, 0.0

    @property
    def begun(self) -> bool:
        """Whether there has been any image."""
        return self._settled > 0 or self._share > 0

    def follow(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case ImageBegun(number=number):
                self._change(number, status="running", share=0.0)
                self._share = 0.0
            case ImageDone(number=number, status=status, text=text, objects=objects, files=files):
                self._change(number, status=status, text=_in_the_panel(text), objects=objects, files=files)
                self._settled, self._share = number, 0.0
            case TileDone(done=done, total=total):
                # The network may run several times: when the diameter is estimated, or memory was too little.
                self._share = max(self._share, _NETWORK_SHARE * done / max(total, 1))
                self._change(self._settled + 1, share=self._share)
            case Notice():
                self._desk.show(event)
                return
            case Progress() if self._settled == len(self._places):  # the summary is written
                self._desk.show(event)
                return
            case _:
                return
        self._desk.show(Progress(self._stage(), round(_STEPS * (self._settled + self._share)), self._total()))
        self._desk.pace.ask(self._show)

    def stop(self) -> None:
        """Show how it stands; what has begun waits again."""
        self._rows = [_waiting(row) if row.status == "running" else row for row in self._rows]
        self._show()

    def _change(self, number: int, **changes: Any) -> None:  # noqa: ANN401
        place = self._places[number - 1]
        self._rows[place] = self._rows[place].model_copy(update=changes)

    def _show(self) -> None:
        state = self._desk.state
        state.batch = state.batch.model_copy(update={"rows": tuple(self._rows)})

    def _stage(self) -> str:
        return f"{len(self._places):,} image{'s' if len(self._places) != 1 else ''}"

    def _total(self) -> int:
        return _STEPS * len(self._places)


def _wanted(rows: tuple[BatchRow, ...], *, all_but_done: bool) -> list[int]:
    """Return which rows are sent; a summary tells of what was done before, too."""
    return [number for number, row in enumerate(rows) if row.status == "waiting" or not all_but_done]


def _in_the_panel(text: str) -> str:
    """Name what the command line calls an option as the panel does."""
    return text.replace("use --overwrite to replace it", "choose “Do all again” to replace it")


def _waiting(row: BatchRow) -> BatchRow:
    return row.model_copy(update={"status": "waiting", "share": 0.0})


def _recipe_or_none(make: Callable[[], Recipe]) -> Recipe | None:
    try:
        return make()
    except NapariUnetError:
        return None


def _interrupted(error: Exception, left: int) -> Exception:
    """Return an error that also says how to go on."""
    said = str(error) or "Cancelled."
    left_over = f"{left:,} images are left" if left != 1 else "One image is left"
    return type(error)(f"{said} {left_over}; “Continue” goes on.")
