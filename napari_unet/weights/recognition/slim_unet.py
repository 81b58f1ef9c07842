"""The TensorFlow-slim U-Net of low-light imaging."""

from __future__ import annotations

import math
import re

from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.recognised import Mismatch, Origin, Reading, Recognised, Take

KERNEL = (3, 2, 0, 1)


def _slim(reading: Reading) -> Recognised:
    """Read g_conv1_1 to g_conv9_2 and g_conv10; the way up has kernels called Variable, Variable_1 and so on.

    Any other variable made first takes the name Variable, so these are known by their shapes (2, 2, out, in).
    """
    scope = re.sub(r"g_conv1_1/weights$", "", reading.matching("*g_conv1_1/weights")[0])
    blocks = reading.count(f"{scope}g_conv{{}}_1/weights", first=1)
    depth = (blocks - 1) // 2
    if blocks < 3 or blocks % 2 == 0:
        message = f"there are {blocks} pairs of convolutions, which do not make a U-Net"
        raise Mismatch(message)
    sources: dict[str, str | Take] = {}
    for block in range(blocks):
        ours = f"encoder.{block}" if block <= depth else f"decoder.{block - depth - 1}.block"
        for unit in (1, 2):
            sources |= _conv(f"{ours}.{unit - 1}.conv", f"{scope}g_conv{block + 1}_{unit}")
    widths = tuple(reading.shape(f"{scope}g_conv{level + 1}_2/weights")[3] for level in range(depth + 1))
    for step, name in enumerate(_up_kernels(reading, widths)):
        sources[f"decoder.{step}.up.conv.weight"] = Take(name, KERNEL)
    head = reading.matching(f"*g_conv{blocks + 1}/weights")
    if len(head) != 1:
        message = f"there are {len(head)} last convolutions"
        raise Mismatch(message)
    sources |= _conv("head", head[0].removesuffix("/weights"))
    return _describe(reading, scope, widths, reading.shape(head[0])[3], sources)


def _conv(ours: str, theirs: str) -> dict[str, str | Take]:
    return {f"{ours}.weight": Take(f"{theirs}/weights", KERNEL), f"{ours}.bias": f"{theirs}/biases"}


def _up_kernels(reading: Reading, widths: tuple[int, ...]) -> list[str]:
    """Names of the kernels of the way up, from the bottom."""
    found = {shape: name for name, shape in reading.shapes.items() if len(shape) == 4 and shape[:2] == (2, 2)}
    wanted = [(2, 2, widths[level], widths[level + 1]) for level in reversed(range(len(widths) - 1))]
    absent = [shape for shape in wanted if shape not in found]
    if absent:
        message = f"there is no kernel of the shape {absent[0]} for the way up"
        raise Mismatch(message)
    return [found[shape] for shape in wanted]


def _describe(
    reading: Reading, scope: str, widths: tuple[int, ...], outputs: int, sources: dict[str, str | Take]
) -> Recognised:
    # 27 channels make 3 at three times the size; the network of the size of its input has 6.
    scale = 3 if outputs == 27 else 1
    options = {"depth": len(widths) - 1, "widths": widths}
    return Recognised(
        why="g_conv1_1 and kernels of the shape (2, 2, out, in) without a name are those of the slim U-Net",
        network=NetworkSpec(
            variant="unet-slim-3x" if scale == 3 else "unet-slim",
            in_channels=reading.shape(f"{scope}g_conv1_1/weights")[2],
            out_channels=outputs // math.prod((scale, scale)),
            options=options,
        ),
        sources=sources,
        activation="none",
        # Counters of the training, one of which may be called Variable.
        unused=tuple(name for name, shape in reading.shapes.items() if shape == ()),
    )


ORIGINS = (
    Origin(
        "TensorFlow-slim U-Net",
        "https://github.com/cchen156/Learning-to-See-in-the-Dark",
        ("*g_conv1_1/weights", "*g_conv2_1/weights", "*g_conv*/biases"),
        _slim,
    ),
)
