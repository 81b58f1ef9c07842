"""``napari-unet run``: a recipe over many images; ``segment`` goes the same way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from napari_unet.cli.showing import run_shown
from napari_unet.errors import Cancelled
from napari_unet.events import Event, ImageBegun, ImageDone, Notice
from napari_unet.jobs.batches import BatchReport, batch_events, open_recipe
from napari_unet.jobs.image_lists import BatchImage, find_images
from napari_unet.jobs.recipes import Recipe, read_recipe
from napari_unet.jobs.summaries import NAME, check_summary, summary_events
from napari_unet.weights.model import Model


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a batch is run, which has nothing to do with what it gives.

    Attributes
    ----------
    folder : Path
        For the results.
    overwrite : bool
        Whether to do all images again and to replace files that exist.
    json : bool
        Whether to tell one JSON object a line on stdout, and nothing else.
    summary : bool
        Whether to write a page about all images at the end.
    """

    folder: Path
    overwrite: bool = False
    json: bool = False
    summary: bool = False


def run_file(
    path: Path, sources: Sequence[str], options: RunOptions, *, any_model: bool = False, device: str | None = None
) -> bool:
    """Run the recipe in a file over images.

    Parameters
    ----------
    path : Path
        Of the recipe.
    sources : sequence of str
        Files, folders and patterns.
    options : RunOptions
    any_model : bool
        Whether to use the model even if it is not the one that the recipe was made with.
    device : str, optional
        Instead of that of the recipe.

    Returns
    -------
    bool
        Whether all went well.

    Raises
    ------
    NapariUnetError
        If nothing can be done at all.
    """
    recipe = read_recipe(path)
    if device is not None:
        inference = recipe.inference.model_copy(update={"device": device})
        recipe = recipe.model_copy(update={"inference": inference})
    images = find_images(sources, options.folder)
    return run_images(*open_recipe(recipe, any_model=any_model), images, options)


def run_images(recipe: Recipe, model: Model, images: Sequence[BatchImage], options: RunOptions) -> bool:
    """Run a recipe over images, and tell what became of each.

    Returns
    -------
    bool
        Whether all went well.

    Raises
    ------
    NapariUnetError
        If nothing can be done at all.
    Cancelled
        After Ctrl+C; what was done stays, and is skipped the next time.
    """
    if options.summary:
        check_summary(recipe)
    batch = batch_events(recipe, model, images, options.folder, overwrite=options.overwrite)
    try:
        report = run_shown(batch, "Images", also=_tell_machines if options.json else _tell_people)
    except Cancelled:
        typer.echo("Give the same command again to go on.", err=True)
        raise
    if options.summary:
        work = summary_events(recipe, model.spec, report.images, options.folder / NAME)
        _tell_page(run_shown(work, "Summary"), options)
    _conclude(report, options)
    return not report.count("failed")


def _tell_page(page: Path, options: RunOptions) -> None:
    if options.json:
        _line("summary", {"file": str(page)})
    else:
        typer.echo(f"Summary: {page}")


def _tell_people(event: Event) -> None:
    match event:
        case ImageDone(path=path, status="done", text=text, files=files):
            typer.echo(f"{path}: {text}, {', '.join(files)}")
        case ImageDone(path=path, status="skipped", text=text):
            typer.echo(f"{path}: {text}")
        case ImageDone(path=path, text=text):
            typer.echo(f"{path}: {text}", err=True)


def _tell_machines(event: Event) -> None:
    match event:
        case ImageBegun():
            _line("begun", asdict(event))
        case ImageDone():
            _line("settled", asdict(event))
        case Notice():
            _line("notice", asdict(event))


def _line(what: str, values: dict[str, object]) -> None:
    typer.echo(json.dumps({"event": what, **values}))


def _conclude(report: BatchReport, options: RunOptions) -> None:
    done, skipped, failed = (report.count(status) for status in ("done", "skipped", "failed"))
    if options.json:
        _line("finished", {"done": done, "skipped": skipped, "failed": failed})
        return
    if skipped:
        typer.echo(f"{skipped} of {len(report.images)} images had been done before; --overwrite does them again.")
    if failed:
        typer.echo(f"{failed} of {len(report.images)} images failed.", err=True)
