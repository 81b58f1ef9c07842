"""From our normalization to the pre-processing of a bioimage.io package: exact where its operations allow it."""

from __future__ import annotations

from typing import Any, assert_never

from napari_unet.imaging.config import Normalization

EPS = 1e-9
"""The format wants something added to each divisor; float32 does not notice this much."""
_FAR = 1e38
# Of 8-bit images, which is what most models that divide by the largest value were trained on.
_LARGEST = 255.0


def packaged(normalization: Normalization) -> tuple[Normalization, tuple[str, ...]]:
    """Return what a package can do of a normalization, and in sentences what it cannot.

    >>> packaged(Normalization(method="dtype"))[0].high
    (255.0,)
    """
    notes, changes = [], {"channels": "as-is", "polarity": "as-is", "stain": "luminance"}
    kept = normalization.model_dump() | changes
    if normalization.channels == "grey":
        notes.append("Give it one channel: colour has to be made grey first (ITU-R BT.709 luminance).")
    if normalization.polarity == "bright-objects":
        notes.append("Objects must be brighter than their background: other images have to be inverted first.")
    if normalization.stain == "haematoxylin":
        notes.append("Of stained sections give it the haematoxylin, bright on dark (colour deconvolution).")
    if normalization.method == "dtype":
        kept |= {"method": "fixed", "low": (0.0,), "high": (_LARGEST,)}
        notes.append("Values must range from 0 to 255: divide 16-bit images by 257, multiply those up to 1 by 255.")
    bounds = (normalization.clip_low, normalization.clip_high)
    if any(len(set(values)) > 1 for values in bounds):
        kept |= {"clip_low": normalization.clip_low and (min(normalization.clip_low),)}
        kept |= {"clip_high": normalization.clip_high and (max(normalization.clip_high),)}
        notes.append("All channels are clipped to the widest of the bounds that the channels have.")
    return Normalization(**kept), tuple(notes)


def steps_of(normalization: Normalization, channels: int, dims: int) -> list[dict[str, Any]]:
    """Express a normalization that `packaged` has returned.

    Parameters
    ----------
    normalization : Normalization
    channels : int
        Of the input.
    dims : 2 | 3

    Returns
    -------
    list of dict
        The entries of ``preprocessing``. The last one keeps the values floating-point: some programs would else
        return to the type of the image.
    """
    steps = [_scaling(normalization, channels, dims)]
    low, high = normalization.clip_low, normalization.clip_high
    if low or high:
        # Older readers want both bounds.
        bounds = {"min": low[0] if low else -_FAR, "max": high[0] if high else _FAR}
        steps.append({"id": "clip", "kwargs": bounds})
    return [*steps, {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}]


def _scaling(normalization: Normalization, channels: int, dims: int) -> dict[str, Any]:
    together = [] if normalization.per_channel or channels == 1 else ["channel"]
    measured = {"axes": [*together, *"zyx"[3 - dims :]], "eps": normalization.eps or EPS}
    match normalization.method:
        case "percentile":
            percentiles = {
                "min_percentile": normalization.low_percentile,
                "max_percentile": normalization.high_percentile,
            }
            return {"id": "scale_range", "kwargs": {**measured, **percentiles}}
        case "z-score":
            return {"id": "zero_mean_unit_variance", "kwargs": measured}
        case "fixed" | "dtype":
            return {"id": "scale_linear", "kwargs": _linear(normalization)}
        case _:
            assert_never(normalization.method)


def _linear(normalization: Normalization) -> dict[str, Any]:
    spans = [high + normalization.eps - low for low, high in zip(normalization.low, normalization.high, strict=True)]
    gains = [1 / span for span in spans]
    offsets = [-low / span for low, span in zip(normalization.low, spans, strict=True)]
    if len(gains) == 1:
        return {"gain": gains[0], "offset": offsets[0]}
    return {"axis": "channel", "gain": gains, "offset": offsets}
