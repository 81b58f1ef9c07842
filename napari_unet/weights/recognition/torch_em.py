"""The U-Nets of torch_em: UNet2d, UNet3d and AnisotropicUNet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from napari_unet.imaging.config import Normalization
from napari_unet.networks.options.base import Norm
from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.recognised import (
    BY_LOSS,
    Mismatch,
    Origin,
    Question,
    Reading,
    Recognised,
    answer,
    pair,
    probability_of,
)

Sides = tuple[tuple[int, ...], ...]

ACTIVATIONS: Mapping[str, Literal["sigmoid", "softmax"]] = {
    "sigmoid": "sigmoid",
    "softmax": "softmax",
    "softmax2d": "softmax",
}
STANDARDIZED = Normalization(method="z-score", per_channel=False, eps=1e-7)


def _unet(reading: Reading) -> Recognised:
    """Read encoder.blocks, base, decoder.samplers, decoder.blocks and out_conv."""
    depth = reading.count("decoder.samplers.{}.conv.weight")
    convs = _positions(reading)
    blocks = [f"encoder.blocks.{level}" for level in range(depth)] + ["base"]
    first, last = convs
    head = "out_conv" if "out_conv.weight" in reading.shapes else f"out_conv.{depth - 1}"
    kernels: Sides = tuple(reading.shape(f"{block}.block.{first}.weight")[2:] for block in blocks)
    dims, outputs = len(kernels[0]), reading.out(head)
    if dims not in (2, 3) or any(side % 2 == 0 for kernel in kernels for side in kernel):
        message = f"its kernels have the sides {kernels}"
        raise Mismatch(message)
    factors, questions = _factors(reading, kernels)
    norm = _norm(reading, convs)
    options: dict[str, Any] = {
        "depth": depth,
        "widths": tuple(reading.out(f"{block}.block.{last}") for block in blocks),
    }
    if any(set(kernel) != {3} for kernel in kernels):
        options["kernels"] = kernels
    if any(set(factor) != {2} for factor in factors):
        options["factors"] = factors
    options |= {} if dims == 2 else {"dims": 3}
    options |= {} if norm == "instance" else {"norm": norm}
    activation, because = _activation(reading, outputs)
    return Recognised(
        why="encoder.blocks, base.block, decoder.samplers and out_conv name a U-Net of torch_em",
        network=NetworkSpec(
            variant="unet-torch-em",
            in_channels=reading.into(f"{blocks[0]}.block.{first}"),
            out_channels=outputs,
            options=options,
        ),
        sources=pair(reading.shapes, _modules(reading, depth, convs, head)),
        activation=activation,
        because=because,
        normalization=STANDARDIZED,
        questions=questions,
        unused=("out_conv.*",),
        notes=tuple(_notes(reading)),
    )


def _positions(reading: Reading) -> tuple[int, int]:
    """Places of the two convolutions in a block: without normalization they are 0 and 2."""
    plain = "base.block.2.weight" in reading.shapes and len(reading.shape("base.block.2.weight")) > 2
    return (0, 2) if plain else (1, 4)


def _norm(reading: Reading, convs: tuple[int, int]) -> Norm:
    """Kind of normalization; instance normalization with running statistics acts as batch normalization."""
    if convs == (0, 2):
        return "none"
    if "base.block.0.running_mean" in reading.shapes:
        return "batch"
    return "group" if "base.block.0.weight" in reading.shapes else "instance"


def _modules(reading: Reading, depth: int, convs: tuple[int, int], head: str) -> Iterator[tuple[str, str]]:
    """Pair our modules with theirs."""
    blocks = {f"encoder.{level}": f"encoder.blocks.{level}.block" for level in range(depth)}
    blocks[f"encoder.{depth}"] = "base.block"
    blocks |= {f"decoder.{step}.block": f"decoder.blocks.{step}.block" for step in range(depth)}
    for ours, theirs in blocks.items():
        for unit, place in enumerate(convs):
            yield f"{ours}.{unit}.conv", f"{theirs}.{place}"
            if f"{theirs}.{place - 1}.weight" in reading.shapes:
                yield f"{ours}.{unit}.norm", f"{theirs}.{place - 1}"
    for step in range(depth):
        yield f"decoder.{step}.up.conv.conv", f"decoder.samplers.{step}.conv"
    yield "head", head


def _factors(reading: Reading, kernels: Sides) -> tuple[Sides, tuple[Question, ...]]:
    """Down-sampling between levels, which in volumes leaves no trace.

    With `anisotropic_kernel` the first flat level makes the kernels of all levels flat: they tell that
    there is one, and not which.
    """
    dims, depth = len(kernels[0]), len(kernels) - 1
    if dims == 2:
        return ((2, 2),) * depth, ()
    flat: Sides = ((1, 2, 2),)
    even: Sides = ((2, 2, 2),)
    fewest = 1 if any(1 in kernel for kernel in kernels[:-1]) else 0
    values = {flat * count + even * (depth - count): _in_words(count) for count in range(fewest, depth + 1)}
    question = Question(
        "scale_factors",
        values,
        "By how much does each level reduce Z, Y and X? UNet3d and AnisotropicUNet have the same tensors.",
    )
    given = reading.answers.get("scale_factors")
    if given is not None:
        reading = replace(reading, answers={**reading.answers, "scale_factors": _as_sides(given)})
        if _are_factors(_as_sides(given), depth):
            values.setdefault(_as_sides(given), "as given")
    said = _as_sides(_told(reading).get("scale_factors", [2] * depth if "depth" in _told(reading) else None))
    if _are_factors(said, depth):
        return answer(reading, question, said)
    return answer(reading, question)


def _in_words(flat: int) -> str:
    if flat == 0:
        return "UNet3d: every level halves Z, Y and X"
    return f"the first {flat} levels halve only Y and X" if flat > 1 else "the first level halves only Y and X"


def _as_sides(given: object) -> Any:  # noqa: ANN401  # whatever the file or the user says
    """Make tuples of lists, so that they can be compared; one number stands for all three axes."""
    if not isinstance(given, list | tuple):
        return given
    return tuple(tuple(part) if isinstance(part, list | tuple) else (part,) * 3 for part in given)


def _are_factors(given: object, depth: int) -> bool:
    if not isinstance(given, tuple) or len(given) != depth:
        return False
    return all(len(factor) == 3 and all(isinstance(side, int) and side > 0 for side in factor) for factor in given)


def _told(reading: Reading) -> Mapping[str, Any]:
    """Arguments of the network: the trainer of torch_em keeps them in its checkpoints, the network in itself."""
    init, modules = reading.extras.get("init"), reading.extras.get("modules")
    network = modules.get("") if isinstance(modules, Mapping) else None
    for place, name in ((init, "model_kwargs"), (network, "init_kwargs")):
        told = place.get(name) if isinstance(place, Mapping) else None
        if isinstance(told, Mapping):
            return told
    return {}


def _activation(reading: Reading, outputs: int) -> tuple[Literal["sigmoid", "softmax"], str]:
    """Return the final activation of the checkpoint, or the usual one."""
    name = str(_told(reading).get("final_activation")).rpartition(".")[2].lower()
    if name in ACTIVATIONS:
        return ACTIVATIONS[name], "as the checkpoint says"
    return probability_of(outputs), BY_LOSS


def _notes(reading: Reading) -> Iterator[str]:
    told = _told(reading)
    if told.get("postprocessing") is not None:
        yield f'The post-processing of the network ("{told["postprocessing"]}") is left out.'


ORIGINS = (
    Origin(
        "torch_em",
        "https://github.com/constantinpape/torch-em",
        (
            "encoder.blocks.0.block.*.weight",
            "base.block.*.weight",
            "decoder.blocks.0.block.*.weight",
            "decoder.samplers.0.conv.weight",
            "out_conv.*",
        ),
        _unet,
    ),
)
