"""The commands and their options; what they do is in the modules beside this one.

Nothing here imports torch or numpy, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from napari_unet.cli.arguments import (
    Answer,
    Axes,
    Channels,
    Device,
    Diameter,
    Format,
    Images,
    Json,
    MaskFile,
    Model,
    Overwrite,
    PixelSize,
    ProbabilityType,
    ResultFolder,
    SaveRecipe,
    Sidecar,
    Summary,
    Table,
    ZarrVersion,
)
from napari_unet.cli.completing import complete_devices
from napari_unet.errors import Cancelled, NapariUnetError

CANCELLED = 130  # what a shell reports after Ctrl+C

app = typer.Typer(
    name="napari-unet",
    help="Segment images with U-Nets, fine-tune them on corrections, and export the masks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; what the user can act on is a sentence, not a traceback."""
    try:
        app()
    except NapariUnetError as error:
        from napari_unet.cli.options import how_to_answer

        typer.echo(f"{error}{how_to_answer(error)}", err=True)
        sys.exit(1)
    except Cancelled:
        typer.echo("Cancelled.", err=True)
        sys.exit(CANCELLED)


def _print_version(wanted: bool) -> None:
    if wanted:
        import napari_unet

        typer.echo(f"napari-unet {napari_unet.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[  # its callback does the work
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Segment images with U-Nets, fine-tune them on corrections, and export the masks."""


@app.command()
def segment(  # noqa: PLR0913, PLR0917  # one parameter an option
    images: Images,
    model: Model,
    out: ResultFolder,
    formats: Format = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write the probability maps.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Also write a CSV table of the objects.")] = False,
    probability_type: ProbabilityType = "float32",
    zarr_version: ZarrVersion = "0.5",
    sidecar: Sidecar = True,
    answer: Answer = None,
    axes: Axes = None,
    channels: Channels = None,
    pixel_size: PixelSize = None,
    diameter: Diameter = None,
    threshold: Annotated[float | None, typer.Option(help="Probability from which a pixel is foreground.")] = None,
    min_size: Annotated[int | None, typer.Option(help="Smallest object, in pixels or voxels.")] = None,
    tile: Annotated[int | None, typer.Option(help="Side of a tile, in pixels; smaller needs less memory.")] = None,
    device: Device = "auto",
    turns: Annotated[
        str, typer.Option(help="Average over flipped (flips: 4) or also turned versions (all: 8). Slower.")
    ] = "none",
    fast: Annotated[
        bool, typer.Option("--fast", help="On a CPU compute with small integers where they change few labels.")
    ] = False,
    save_recipe: SaveRecipe = None,
    overwrite: Overwrite = False,
    summary: Summary = False,
    json: Json = False,
) -> None:
    """Find objects in images and write a mask TIFF for each. What is done already is skipped."""
    from napari_unet.cli.options import parse_answers, parse_channels, parse_diameter, parse_outputs, parse_pixel_size
    from napari_unet.cli.running import RunOptions
    from napari_unet.cli.segmenting import Source, Typed, segment_files
    from napari_unet.inference.config import InferenceConfig
    from napari_unet.networks.spec import checked

    size = parse_diameter(diameter)
    inference = checked(
        InferenceConfig,
        axes=axes,
        channels=parse_channels(channels),
        diameter_px=None if size == "auto" else size,
        tile=tile,
        device=device,
        turns=turns,
        fast=fast,
    )
    also = [name for name, wanted in (("probabilities", probabilities), ("table", table)) if wanted]
    export = parse_outputs(
        [*(formats or ["masks"]), *also], probability_type=probability_type, zarr_version=zarr_version, sidecar=sidecar
    )
    objects = {"threshold": threshold, "min_size_px": min_size}
    given = {name: value for name, value in objects.items() if value is not None}
    source, scale = Source(model, parse_answers(answer)), parse_pixel_size(pixel_size)
    typed = Typed(source, inference, given, pixel_size=scale, estimates=size == "auto", export=export)
    if not segment_files(images, typed, RunOptions(out, overwrite=overwrite, json=json, summary=summary), save_recipe):
        raise typer.Exit(1)


@app.command()
def run(  # noqa: PLR0913, PLR0917  # one parameter an option
    recipe: Annotated[Path, typer.Argument(help="The recipe (.yaml), as the panel or `segment` writes it.")],
    images: Images,
    out: ResultFolder,
    device: Annotated[
        str | None, typer.Option(help="Instead of that of the recipe.", autocompletion=complete_devices)
    ] = None,
    any_model: Annotated[
        bool, typer.Option("--any-model", help="Use the model even if the recipe was made with another one.")
    ] = False,
    overwrite: Overwrite = False,
    summary: Summary = False,
    json: Json = False,
) -> None:
    """Do with images what a recipe says. What is done already is skipped."""
    from napari_unet.cli.running import RunOptions, run_file

    options = RunOptions(out, overwrite=overwrite, json=json, summary=summary)
    if not run_file(recipe, images, options, any_model=any_model, device=device):
        raise typer.Exit(1)


@app.command()
def finetune(  # noqa: PLR0913, PLR0917  # one parameter an option
    model: Annotated[str, typer.Option("--model", "-m", help="A model, a weights file, or a variant to train anew.")],
    image: Annotated[list[Path], typer.Option(help="An image; repeat for more.")],
    labels: Annotated[
        list[Path],
        typer.Option(help="Its corrected labels, in the same order: a label image, masks, ROIs or GeoJSON."),
    ],
    out: Annotated[Path, typer.Option(help="File for the new model (.safetensors).")],
    reviewed: Annotated[
        list[Path] | None,
        typer.Option(help="Where its labels are vouched for (not 0), in the same order. By default everywhere."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time to take, judging the new model included.")] = 120,
    classes: Annotated[
        str | None, typer.Option(help="New semantic classes, background first: background,cell,debris.")
    ] = None,
    slices: Annotated[
        int | None,
        typer.Option(
            help="Slices of a stack that a model for planes is shown at once: 3 are one before and one behind."
        ),
    ] = None,
    answer: Answer = None,
    axes: Axes = None,
    channels: Channels = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    forget: Annotated[
        bool, typer.Option("--forget", help="Learn from these images alone: other kinds may be found less well then.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a model further on corrected labels, and say whether it became better."""
    from napari_unet.cli.finetuning import PairFiles, finetune_files
    from napari_unet.cli.options import parse_answers, parse_channels, parse_names
    from napari_unet.cli.segmenting import Source
    from napari_unet.networks.spec import checked
    from napari_unet.training.config import FineTuneConfig

    names = parse_names(classes)
    config = checked(
        FineTuneConfig, seconds=seconds, classes=names, slices=slices, device=device, seed=seed, forget=forget
    )
    pairs = PairFiles(image, labels, reviewed or [], axes)
    source = Source(model, parse_answers(answer))
    finetune_files(source, pairs, config, out, channels=parse_channels(channels), overwrite=overwrite)


@app.command()
def adapt(  # noqa: PLR0913, PLR0917  # one parameter an option
    images: Annotated[list[Path], typer.Argument(help="TIFF, PNG, JPEG, .npy files or Zarr folders; taken together.")],
    model: Model,
    out: Annotated[Path, typer.Option(help="File for the adapted model (.safetensors).")],
    prior: Annotated[
        float, typer.Option(help="Windows of 256 x 256 pixels that the old statistics are worth; fewer adapt more.")
    ] = 64,
    answer: Answer = None,
    axes: Axes = None,
    channels: Channels = None,
    pixel_size: PixelSize = None,
    diameter: Diameter = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Let a model get used to images of another kind, without labels. It may help or not."""
    from napari_unet.cli.adapting import AdaptOptions, adapt_to_files
    from napari_unet.cli.options import parse_answers, parse_channels, parse_diameter, parse_pixel_size
    from napari_unet.cli.segmenting import Source
    from napari_unet.inference.config import InferenceConfig
    from napari_unet.networks.spec import checked

    size, channel_numbers = parse_diameter(diameter), parse_channels(channels)
    known = None if size == "auto" else size
    inference = checked(InferenceConfig, axes=axes, channels=channel_numbers, diameter_px=known, device=device)
    options = AdaptOptions(inference, size == "auto", parse_pixel_size(pixel_size), prior)
    adapt_to_files(images, Source(model, parse_answers(answer)), options, out, overwrite=overwrite)


@app.command()
def export(  # noqa: PLR0913, PLR0917  # one parameter an option
    labels: Annotated[
        Path, typer.Argument(help="A label image, masks of Cellpose, ROIs of Fiji or outlines of QuPath (GeoJSON).")
    ],
    out: Annotated[Path, typer.Option(help="A file, whose suffix says what it will be; or a folder.")],
    formats: Format = None,
    image: Annotated[
        Path | None, typer.Option(help="The image that they belong to: for intensities, pictures and its size.")
    ] = None,
    table: Table = None,
    classes: Annotated[
        str | None, typer.Option(help="Names of the labels 1, 2 and so on, if these are classes: cell,debris.")
    ] = None,
    zarr_version: ZarrVersion = "0.5",
    axes: Axes = None,
    pixel_size: PixelSize = None,
    overwrite: Overwrite = False,
) -> None:
    """Write labels of any program for other programs: masks, tables, outlines and pictures."""
    from napari_unet.cli.exporting import Exported, export_labels
    from napari_unet.cli.options import parse_names, parse_outputs, parse_pixel_size

    named = tuple(parse_names(classes) or ())
    what = Exported(labels, out, image, table, axes=axes, pixel_size=parse_pixel_size(pixel_size), classes=named)
    options = None if formats is None else parse_outputs(formats, zarr_version=zarr_version)
    export_labels(what, options, overwrite=overwrite)


@app.command()
def share(  # noqa: PLR0913, PLR0917  # one parameter an option
    model: Annotated[str, typer.Argument(help="Name of a model, or a weights file.")],
    out: Annotated[
        Path, typer.Option(help="File: .safetensors (ours), .zip (bioimage.io), .pt (TorchScript) or .onnx.")
    ],
    author: Annotated[list[str] | None, typer.Option(help="Of a package: who made the model; repeat for more.")] = None,
    description: Annotated[str, typer.Option(help="Of a package: what the model finds, in what images.")] = "",
    licence: Annotated[str, typer.Option("--license", help="Of a package, such as CC0-1.0.")] = "CC-BY-4.0",
    name: Annotated[str, typer.Option(help="Of a package: the name of the model. By default its own.")] = "",
    cite: Annotated[list[str] | None, typer.Option(help="Of a package: a DOI to be cited; repeat for more.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Of a package: a word to be found by; repeat for more.")] = None,
    image: Annotated[
        Path | None, typer.Option(help="Of a package: its middle becomes the test image, which everybody sees.")
    ] = None,
    axes: Axes = None,
    channels: Channels = None,
    logits: Annotated[bool, typer.Option("--logits", help="The network gives no probabilities, but logits.")] = False,
    answer: Answer = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model as a file for somebody else: for this program, or for others."""
    from napari_unet.cli.options import parse_answers, parse_channels
    from napari_unet.cli.segmenting import Source
    from napari_unet.cli.sharing import Picture, share_model
    from napari_unet.export.package.card import PackageCard
    from napari_unet.export.sharing import ShareOptions, format_of
    from napari_unet.networks.spec import checked

    about = {"description": description, "license": licence, "name": name, "cite": cite or (), "tags": tag or ()}
    card = checked(PackageCard, authors=author, **about) if author else None
    output = "logits" if logits else "probabilities"
    options = checked(ShareOptions, format=format_of(out), output=output, card=card)
    picture = None if image is None else Picture(path=image, axes=axes, channels=parse_channels(channels))
    share_model(Source(model, parse_answers(answer)), out, options, picture, overwrite=overwrite)


@app.command()
def edit(  # noqa: PLR0913, PLR0917  # one parameter an option
    labels: Annotated[Path, typer.Argument(help="A label image in any format that can be read.")],
    out: MaskFile,
    fill_holes: Annotated[bool, typer.Option("--fill-holes", help="Fill what an object encloses.")] = False,
    keep_largest: Annotated[
        bool, typer.Option("--keep-largest", help="Keep the largest piece of each object.")
    ] = False,
    smooth: Annotated[int, typer.Option(help="Round outlines by so many pixels.")] = 0,
    grow: Annotated[int, typer.Option(help="Move outlines outwards by so many pixels, never over others.")] = 0,
    shrink: Annotated[int, typer.Option(help="Move outlines inwards by so many pixels.")] = 0,
    min_size: Annotated[int, typer.Option(help="Remove smaller objects, in pixels or voxels.")] = 0,
    max_size: Annotated[int, typer.Option(help="Remove larger objects, in pixels or voxels; 0 keeps them.")] = 0,
    no_border: Annotated[bool, typer.Option("--no-border", help="Remove objects that touch the border.")] = False,
    renumber: Annotated[bool, typer.Option("--renumber", help="Number the objects 1, 2, 3 and so on.")] = False,
    axes: Axes = None,
    pixel_size: PixelSize = None,
    overwrite: Overwrite = False,
) -> None:
    """Change all objects of a label image at once, in the order of the options here."""
    from napari_unet.cli.editing import Target, edit_file
    from napari_unet.cli.options import parse_pixel_size
    from napari_unet.networks.spec import checked
    from napari_unet.objects.editing.tidying import TidyOptions

    options = checked(
        TidyOptions,
        fill_holes=fill_holes,
        keep_largest=keep_largest,
        smooth_px=smooth,
        grow_px=grow,
        shrink_px=shrink,
        min_size_px=min_size,
        max_size_px=max_size,
        no_border=no_border,
        renumber=renumber,
    )
    edit_file(labels, Target(out, overwrite, axes), options, parse_pixel_size(pixel_size))


@app.command()
def merge(
    predicted: Annotated[Path, typer.Argument(help="Labels of a new prediction.")],
    corrected: Annotated[Path, typer.Option(help="Labels that somebody has corrected.")],
    reviewed: Annotated[Path, typer.Option(help="Where these are vouched for (not 0).")],
    out: MaskFile,
    classes: Annotated[bool, typer.Option("--classes", help="The labels are classes, and no objects.")] = False,
    axes: Axes = None,
    overwrite: Overwrite = False,
) -> None:
    """Put a new prediction under corrections: no reviewed pixel changes, and no object that has one."""
    from napari_unet.cli.editing import Target, merge_files

    merge_files(predicted, corrected, reviewed, Target(out, overwrite, axes), "semantic" if classes else "instances")


@app.command()
def models(
    inspect: Annotated[
        str | None, typer.Option(help="Open this weights file and tell what was recognised in it, and why.")
    ] = None,
    answer: Answer = None,
) -> None:
    """List the models that are here and the variants that can be trained, or inspect a weights file."""
    from napari_unet.cli.listing import inspect_weights, list_models
    from napari_unet.cli.options import parse_answers

    if inspect is None:
        list_models()
    else:
        inspect_weights(inspect, parse_answers(answer))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results; made if it is missing.")] = Path("demo-output"),
    device: Device = "auto",
) -> None:
    """Segment a real image that comes along: nuclei in fluorescence."""
    from napari_unet.cli.demo import run_demo

    run_demo(out, device)
