"""The four networks of LeeJunHyun's Image_Segmentation: with and without gates, recurrent or not."""

from __future__ import annotations

from collections.abc import Iterator

from napari_unet.imaging.config import Normalization
from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.recognition.levels import Block, biased, double, level_options
from napari_unet.weights.recognition.recognised import Origin, Question, Reading, Recognised, answer, pair

URL = "https://github.com/LeeJunHyun/Image_Segmentation"
RECURRENCES = Question(
    "recurrences",
    {
        1: "once",
        2: "twice, as by default in the author's code",
        **{turns: f"{turns} times" for turns in range(3, 9)},
    },
    "How often does a recurrent unit see its own output again? (t in the author's code)",
)
# 8-bit pixels from -1 to 1.
CENTRED = Normalization(method="fixed", low=(127.5,), high=(255.0,))
GATE = (("of_decoder", "W_g"), ("of_encoder", "W_x"), ("weight", "psi"))


def _recognise(reading: Reading) -> Recognised:
    """Read one of the networks; Conv1 is the topmost level, Up2 leads to it."""
    gated, recurrent = reading.has("Att2.*"), reading.has("RRCNN1.*")
    kind = "RRCNN" if recurrent else "conv"
    depth = reading.highest("Up{}.") - 1
    names = [f"{'RRCNN' if recurrent else 'Conv'}{level + 1}" for level in range(depth + 1)]
    modules = [("head", "Conv_1x1")]
    for level, name in enumerate(names):
        modules += _block(f"encoder.{level}", name, recurrent=recurrent)
    for step in range(depth):
        number, ours = depth + 1 - step, f"decoder.{step}"
        up = f"{ours}.conv" if gated or recurrent else f"{ours}.up.conv"
        modules += [(f"{up}.conv", f"Up{number}.up.1"), (f"{up}.norm", f"Up{number}.up.2")]
        modules += _block(f"{ours}.block", f"Up_{kind}{number}", recurrent=recurrent)
        modules += _gate(f"{ours}.gate", f"Att{number}") if gated else ()
    first = f"{names[0]}.Conv_1x1" if recurrent else f"{names[0]}.conv.0"
    options = level_options(reading, [_modules_of(name, recurrent=recurrent) for name in names])
    options["bias"] = biased(reading, first)
    questions: tuple[Question, ...] = ()
    if recurrent:
        options["recurrences"], questions = answer(reading, RECURRENCES, settled=2)
    elif not gated:
        options |= {"up": "nearest", "up_kernel": 3, "up_order": "cna"}
    variant = {(False, False): "unet", (True, False): "attention-unet", (False, True): "r2-unet"}
    return Recognised(
        why=f"{names[0]}, Up2.up.1{', Att2' if gated else ''} and Conv_1x1 name a network of LeeJunHyun",
        network=NetworkSpec(
            variant=variant.get((gated, recurrent), "attention-r2-unet"),
            in_channels=reading.into(first),
            out_channels=reading.out("Conv_1x1"),
            options=options,
        ),
        sources=pair(reading.shapes, modules),
        activation="sigmoid",
        normalization=CENTRED,
        questions=questions,
        notes=("The author's code takes images of 8 bit; others have to be scaled to 0 to 255 before.",),
    )


def _block(ours: str, theirs: str, *, recurrent: bool) -> Iterator[tuple[str, str]]:
    if not recurrent:
        yield from double(ours, f"{theirs}.conv", norm=True)
        return
    yield f"{ours}.projection", f"{theirs}.Conv_1x1"
    for unit in range(2):
        yield f"{ours}.units.{unit}.unit.conv", f"{theirs}.RCNN.{unit}.conv.0"
        yield f"{ours}.units.{unit}.unit.norm", f"{theirs}.RCNN.{unit}.conv.1"


def _modules_of(name: str, *, recurrent: bool) -> Block:
    return tuple(theirs for _, theirs in _block("", name, recurrent=recurrent))


def _gate(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for mine, name in GATE:
        yield f"{ours}.{mine}.conv", f"{theirs}.{name}.0"
        yield f"{ours}.{mine}.norm", f"{theirs}.{name}.1"


PLAIN = ("Conv1.conv.0.weight", "Up2.up.1.weight", "Conv_1x1.weight")
RECURRENT = ("RRCNN1.Conv_1x1.weight", "Up2.up.1.weight", "Conv_1x1.weight")

ORIGINS = (
    Origin("LeeJunHyun U_Net", URL, PLAIN, _recognise, foreign=("Att2.*",)),
    Origin("LeeJunHyun AttU_Net", URL, (*PLAIN, "Att2.*"), _recognise),
    Origin("LeeJunHyun R2U_Net", URL, RECURRENT, _recognise, foreign=("Att2.*",)),
    Origin("LeeJunHyun R2AttU_Net", URL, (*RECURRENT, "Att2.*"), _recognise),
)
