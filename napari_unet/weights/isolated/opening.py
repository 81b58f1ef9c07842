"""ONNX and TorchScript files, opened as models that can predict and nothing else."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ModelError, UnansweredError
from napari_unet.networks.options.isolated import IsolatedOptions
from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.changing import GENERAL, change_model, class_names, listed
from napari_unet.weights.formats.identify import Kind, identify
from napari_unet.weights.formats.limits import check_file, check_members, reason, verify_checksums
from napari_unet.weights.isolated.client import Program, ProgramKind
from napari_unet.weights.isolated.network import IsolatedNetwork
from napari_unet.weights.isolated.onnx_file import Gives, read_onnx
from napari_unet.weights.isolated.probing import Found, Layout, layout_of, probe
from napari_unet.weights.model import Model
from napari_unet.weights.recognition.recognised import Question, probability_of
from napari_unet.weights.report import LoadReport
from napari_unet.weights.spec import ModelSpec, Provenance

MAX_PROGRAM_BYTES = 8 * 1024**3
NAMES: dict[ProgramKind, str] = {"onnx": "ONNX", "torchscript": "TorchScript"}
TRUST = Question(
    "trust",
    {True: "run it: I know who made it"},
    "A TorchScript file is a program and not only weights: it can run programs on your computer. It would run in a "
    "process that is kept away from your files as far as your system allows, which is no full protection.",
)
NOTES = (
    "It runs on the processor, in a process of its own, and can only predict: it cannot be fine-tuned or saved.",
    "What its layers look at is not known, so tiles are not exact: a border between them may be seen.",
)
UNSAID = (
    "What its author did to the image before is not in the file: percentiles 1 and 99.8 become 0 and 1. Change the "
    "normalization of the model if that is not what it was trained with."
)
_LAST_STEPS: dict[str, Gives] = {"aten::sigmoid": "sigmoid", "aten::sigmoid_": "sigmoid", "aten::softmax": "softmax"}


@dataclass(frozen=True, slots=True)
class ProgramFile:
    """A network that is a program, not opened yet.

    Attributes
    ----------
    name : str
        Of its file.
    kind : "onnx" | "torchscript"
    read : callable
        Returns its content.
    layout : Layout, optional
        What is known of its input, if another file says it.
    """

    name: str
    kind: ProgramKind
    read: Callable[[], bytes]
    layout: Layout | None = None


def load_program(path: Path, answers: Mapping[str, Any]) -> Model:
    """Open an ONNX or TorchScript file.

    Raises
    ------
    UnansweredError
        For TorchScript without the answer ``trust=True``.
    ModelError
        If it is damaged, refused or takes no image.
    """
    check_file(path, MAX_PROGRAM_BYTES)
    kind: ProgramKind = "onnx" if identify(path) is Kind.ONNX else "torchscript"
    model = open_program(ProgramFile(path.name, kind, path.read_bytes), answers)
    return model.with_report(notes=(*(model.report.notes if model.report else ()), UNSAID))


def open_program(file: ProgramFile, answers: Mapping[str, Any]) -> Model:
    """Open a program that lies anywhere; see `load_program`."""
    _check_answers(file, answers)
    content = file.read()
    sha256 = hashlib.sha256(content).hexdigest()
    program = Program(file.name, file.kind, file.read, sha256)
    known = None
    if file.kind == "onnx":
        known = read_onnx(file.name, content)
    else:
        _check_archive(file.name, content)
    del content
    try:
        facts = program.facts
        layout = _joined(layout_of(known.shape) if known else _script_layout(facts), file.layout)
        found = probe(file.name, _runner(program, layout.last), layout)
    except BaseException:
        program.close()
        raise
    gives = known.gives if known else _LAST_STEPS.get(str(facts.get("last")), "logits")
    outputs = known.outputs if known else 1
    notes = (*NOTES, *([f"Of its {outputs} outputs the first is used."] if outputs > 1 else []))
    model = _model(program, found, _options(sha256, found, layout, gives), notes)
    return change_model(model, {keyword: answers[keyword] for keyword in GENERAL if keyword in answers})


def _check_answers(file: ProgramFile, answers: Mapping[str, Any]) -> None:
    unknown = [keyword for keyword in answers if keyword not in (*GENERAL, "trust")]
    if unknown:
        raise ModelError(
            f'{", ".join(unknown)}: "{file.name}" is a program, which leaves nothing of that kind open. '
            f"Possible: trust (True), {listed(GENERAL)}."
        )
    if file.kind == "torchscript" and answers.get("trust") is not True:
        raise UnansweredError(f'"{file.name}" is not run. {TRUST.sentence} Pass trust=True to run it.', (TRUST,))


def _check_archive(name: str, content: bytes) -> None:
    """Check the zip that a TorchScript file is, before a process looks at it."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            check_members(Path(name), archive.infolist(), len(content))
            verify_checksums(archive)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f'"{name}" is damaged and cannot be unpacked ({reason(error)}). Copy it again.') from error


def _script_layout(facts: Mapping[str, Any]) -> Layout:
    """Read the dimensions and channels off the first kernel of a TorchScript network, if it has one."""
    kernel = facts.get("kernel")
    if not isinstance(kernel, list) or len(kernel) not in (4, 5) or not isinstance(kernel[1], int):
        return Layout()
    likely = kernel[1]
    return Layout((len(kernel) - 2,), (likely, *(count for count in Layout().channels if count != likely)))


def _joined(own: Layout, said: Layout | None) -> Layout:
    """Prefer what another file says, but for sizes that the program itself declares as its only ones."""
    return own if said is None else replace(said, sides=said.sides or own.sides)


def _runner(program: Program, last: bool) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    if not last:
        return program.run
    return lambda image: np.moveaxis(program.run(np.moveaxis(image, 1, -1)), -1, 1)


def _options(sha256: str, found: Found, layout: Layout, gives: Gives) -> IsolatedOptions:
    return IsolatedOptions(
        dims=3 if found.dims == 3 else 2,
        sha256=sha256,
        least=found.least,
        step=found.step,
        alignment=max(found.step, 32 if found.dims == 2 else 16),
        lost=found.lost,
        enlarged=found.enlarged,
        context=found.context,
        window=found.window,
        channels_last=layout.last,
        gives=gives,
    )


def _model(program: Program, found: Found, options: IsolatedOptions, notes: tuple[str, ...]) -> Model:
    network = IsolatedNetwork(found.in_channels, found.out_channels, options, program)
    activation = probability_of(found.out_channels) if options.gives == "logits" else options.gives
    spec = ModelSpec(
        name=Path(program.name).stem,
        network=NetworkSpec(
            variant=program.kind,
            in_channels=found.in_channels,
            out_channels=found.out_channels,
            options=options.model_dump(mode="json", exclude_defaults=True),
        ),
        dims=options.dims,
        classes=class_names(found.out_channels, activation),
        meaning="semantic",
        activation=activation,
        provenance=Provenance(source=f"{NAMES[program.kind]} file", notes=f"from {program.name}"),
    )
    return Model(network.eval(), spec, _report(program, found, options, notes))


def _report(program: Program, found: Found, options: IsolatedOptions, notes: tuple[str, ...]) -> LoadReport:
    sides = " x ".join(map(str, options.window)) or f"{options.least} and any multiple of {options.step} more"
    kept = options.gives == "logits"
    return LoadReport(
        file=program.name,
        format=NAMES[program.kind],
        family="a network of its own",
        why="it brings its own program, which was run on noise to see what it takes",
        network=(
            f"{found.in_channels} channels in, {found.out_channels} out, {'planes' if found.dims == 2 else 'volumes'}; "
            f"takes sides of {sides}; sees about {found.context} pixels far"
        ),
        activation=(
            f"{probability_of(found.out_channels)}, as is usual for {found.out_channels} outputs: the file does not say"
            if kept
            else f"{options.gives}, the last step of the network"
        ),
        notes=notes,
    )
