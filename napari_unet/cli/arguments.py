"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_unet.cli.completing import OUTPUTS, complete_devices, complete_models, complete_outputs

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Name of a model (see `napari-unet models`) or a weights file.",
        autocompletion=complete_models,
    ),
]
Answer = Annotated[
    list[str] | None,
    typer.Option(help="What the weights file leaves open, such as join=crop; repeat for more (see the error)."),
]
Axes = Annotated[
    str | None, typer.Option(help="One letter a dimension, such as TZYX or YXC. By default what the file says.")
]
Channels = Annotated[
    str | None, typer.Option(help="Channels that feed the model, numbered from 0, such as 1 or 2,0. By default all.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.", autocompletion=complete_devices)]
PixelSize = Annotated[
    str | None, typer.Option(help="Pixel size in µm: one number, or Z,Y,X such as 2,0.5,0.5. By default the file's.")
]
Diameter = Annotated[
    str | None, typer.Option(help="Diameter of the objects here in pixels, or auto to estimate it for each image.")
]
SaveRecipe = Annotated[
    Path | None, typer.Option(help="Also write all of this to a recipe (.yaml) for `napari-unet run`.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist already.")]
Images = Annotated[
    list[str],
    typer.Argument(
        help="TIFF, PNG, JPEG, .npy files or Zarr stores; folders of them; patterns such as 'data/**/*.tif'."
    ),
]
ResultFolder = Annotated[Path, typer.Option("--out", help="Folder for the results; made if it is missing.")]
MaskFile = Annotated[Path, typer.Option("--out", help="File for the mask TIFF.")]
Format = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        help=f"What to write: {', '.join(OUTPUTS)}; repeat for more, or separate by commas.",
        autocompletion=complete_outputs,
    ),
]
ProbabilityType = Annotated[str, typer.Option(help="Of probability maps: float32, or uint8 where 255 means 1.")]
ZarrVersion = Annotated[str, typer.Option(help="Of OME-Zarr: 0.4 or 0.5.")]
Sidecar = Annotated[bool, typer.Option(help="Say in a JSON file beside the results what they were made with.")]
Json = Annotated[bool, typer.Option("--json", help="Tell one JSON object a line on standard output.")]
Summary = Annotated[bool, typer.Option("--summary", help="Also write a page about all images (HTML).")]
Table = Annotated[Path | None, typer.Option(help="Also write the table of objects to this CSV file.")]
