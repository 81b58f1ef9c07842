"""The documentation inside of a package: how to use the model with other programs, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from napari_unet.export.package.card import description_of, title_of
from napari_unet.export.package.description import OWN, Parts

_AS_A_LIST = "\n- "


def readme(parts: Parts, notes: Sequence[str]) -> str:
    """Write the documentation.

    Parameters
    ----------
    parts : Parts
    notes : sequence of str
        What other programs must do to an image first, in sentences.

    Returns
    -------
    str
        Markdown.
    """
    spec, card = parts.spec, parts.card
    sections = {
        title_of(card, spec): description_of(card, spec),
        "Images": "\n\n".join(_images(parts, notes)),
        "Result": "\n\n".join(_result(parts)),
        "Training": "\n\n".join(_training(parts)),
        "Validation": "The package holds a test image and what the model made of it, so that a program can prove that "
        "it computes the same. How good the model is on other images is not recorded here: before you rely on it, "
        "compare its result with objects that somebody has drawn in images of your own.",
        "napari-unet": f"`{OWN}` is the same model for napari-unet, which opens the whole package, prepares images "
        "by itself, finds the objects, and can fine-tune the model on your corrections.",
    }
    return "\n\n".join(f"# {title}\n\n{text}" for title, text in sections.items()) + "\n"


def _images(parts: Parts, notes: Sequence[str]) -> Iterator[str]:
    spec, geometry = parts.spec, parts.geometry
    count = spec.network.in_channels
    names = f" ({', '.join(spec.channel_names)})" if spec.channel_names else ""
    yield f"{count} channel{'s' if count > 1 else ''}{names}, as {'planes' if spec.dims == 2 else 'volumes'}."
    if notes:
        yield "napari-unet does the following by itself; for other programs it has to be done before:"
        yield "- " + _AS_A_LIST.join(notes)
    if spec.diameter_px:
        yield f"It was trained on objects of about {spec.diameter_px:g} pixels in diameter; scale images so."
    sides = " x ".join(f"{least}+{step}n" for least, step in zip(geometry.least, geometry.steps, strict=True))
    halo = " x ".join(map(str, geometry.halo))
    yield f"Sides of an image or tile in pixels: {sides}. Of each tile, {halo} pixels at each side are to be discarded."
    if not geometry.exact:
        yield "Tiles then give almost, but not exactly, what the whole image gives."


def _result(parts: Parts) -> Iterator[str]:
    spec = parts.spec
    kind = "raw values" if parts.output == "logits" or spec.activation == "none" else "probabilities"
    yield f"One channel a class with {kind}: {', '.join(spec.classes)}."
    if parts.output == "logits" and spec.activation != "none":
        yield f"A {spec.class_activation} turns them into probabilities."
    if spec.meaning == "instances":
        objects = spec.objects
        yield (
            f"Objects: a pixel is foreground where the background is less likely than {1 - objects.threshold:.2g}; a "
            f"watershed from where the interior is likelier than {objects.seed_threshold:g} parts objects that touch; "
            f"those of fewer than {objects.min_size_px} pixels are left out."
        )
        if spec.activation == "flows":
            yield "napari-unet itself parts them by flows, which the network of its own model file gives besides."


def _training(parts: Parts) -> Iterator[str]:
    origin = parts.spec.provenance
    said = {"Trained on": origin.trained_on, "Source": origin.source, "Licence of the source": origin.license}
    yield from (f"{key}: {value}." for key, value in said.items() if value)
    if origin.parent_sha256:
        yield f"It was fine-tuned from a model whose weights have the fingerprint {origin.parent_sha256}."
    yield f"Network: {parts.spec.network.variant}. Fingerprint of its weights: {parts.sha256['model']}."
