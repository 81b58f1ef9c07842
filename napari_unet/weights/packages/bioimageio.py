"""Packages of the bioimage.io model zoo, formats 0.4 and 0.5, opened without their library and their code.

The weights are read as data and recognised by their tensors; the Python file of the package never runs. What the
package says about pre-processing, axes, classes and origin is taken over, and its test image proves the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from napari_unet.errors import ModelError, UnansweredError
from napari_unet.imaging.config import Normalization
from napari_unet.weights.changing import GENERAL, change_model, class_names, renamed_classes
from napari_unet.weights.foreign import CHOICES, from_checkpoint, questions_of
from napari_unet.weights.formats.checkpoint import Checkpoint
from napari_unet.weights.formats.limits import MAX_FILE_BYTES
from napari_unet.weights.formats.opening import open_checkpoint
from napari_unet.weights.isolated.opening import MAX_PROGRAM_BYTES, ProgramFile, open_program
from napari_unet.weights.isolated.probing import Layout
from napari_unet.weights.loading import load_own
from napari_unet.weights.model import Model
from napari_unet.weights.packages import proving
from napari_unet.weights.packages.contents import Contents, Source, open_contents, read_description
from napari_unet.weights.packages.description import Description, Tensor, describe
from napari_unet.weights.packages.document import read_document
from napari_unet.weights.packages.proving import Example, Proof, canonical, prove, read_array
from napari_unet.weights.packages.scaling import activation_of, normalization_of
from napari_unet.weights.report import LoadReport
from napari_unet.weights.spec import Provenance

DATA = {
    "pytorch_state_dict": "PyTorch weights",
    "keras_hdf5": "Keras weights",
    "keras_v3": "Keras weights",
}
"""Entries that are opened as data, the best first."""
PROGRAMS: dict[str, Literal["onnx", "torchscript"]] = {"onnx": "onnx", "torchscript": "torchscript"}
MOST_TRIED = 24
URL = "https://bioimage.io"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that has been read, but not its weights.

    Attributes
    ----------
    path : Path
    contents : Contents
    description : Description
    example : Example, optional
        Its test image.
    notes : tuple of str
        What cannot be used of it.
    """

    path: Path
    contents: Contents
    description: Description
    example: Example | None
    notes: tuple[str, ...]

    @property
    def image(self) -> Tensor:
        """What the network takes."""
        return self.description.inputs[0]

    @property
    def result(self) -> Tensor:
        """What the network gives first."""
        return self.description.outputs[0]


def load_package(path: Path, answers: Mapping[str, Any]) -> Model:
    """Open a package.

    Parameters
    ----------
    path : Path
        A folder, a zip or its ``rdf.yaml``.
    answers : dict
        Keywords of `load_model`.

    Raises
    ------
    UnansweredError
        If something must be answered that its test image does not settle.
    ModelError
        If it is damaged, dangerous, or holds nothing that can be opened.
    """
    package = _read(path)
    settings = normalization_of(package.path.name, package.image)
    own = package.description.own
    if own is not None and package.contents.has(own):
        return _own(package, own, settings, answers)
    model, how = _first_that_opens(package, partial(_dressed, package, settings), answers)
    proof = _proof(package, model)
    model = _as_proved(package, model, proof)
    notes = (*(model.report.notes if model.report else ()), *package.notes, *_found(package, proof))
    model = model.with_report(
        file=package.path.name, format=f"bioimage.io package {package.description.version}, {how}", notes=notes
    )
    return change_model(model, {key: answers[key] for key in GENERAL if key in answers})


def _own(package: Package, own: Source, settings: Normalization, answers: Mapping[str, Any]) -> Model:
    """Open our own model file in a package that this program wrote; its test image is scaled as the package says."""
    with package.contents.file(own, MAX_FILE_BYTES) as file:
        model = load_own(file, {})
    proof = _proof(package, model.with_spec(normalization=settings))
    said = f"bioimage.io package {package.description.version}, written by napari-unet"
    model = model.with_report(file=package.path.name, format=said, notes=(*package.notes, *_found(package, proof)))
    return change_model(model, {key: answers[key] for key in GENERAL if key in answers})


def _proof(package: Package, model: Model) -> Proof | None:
    return None if package.example is None else prove(model, package.example)


def _as_proved(package: Package, model: Model, proof: Proof | None) -> Model:
    """Take over the activation that the test image shows, if it shows one."""
    if proof is None or not proof.holds or proof.activation == "none":
        return model
    named = package.result.channel_names == model.spec.classes
    classes = {} if named else renamed_classes(model, proof.activation)
    return model.with_spec(activation=proof.activation, **classes).with_report(
        activation=f"{proof.activation}, as the test image shows"
    )


def _found(package: Package, proof: Proof | None) -> Iterator[str]:
    if proof is not None:
        yield proof.sentence
    elif package.example is not None:
        yield "Its test image could not be run, so nothing proves that the results are its author's."
    else:
        yield "It holds no test image that could prove the results."


def _read(path: Path) -> Package:
    contents = open_contents(path)
    description = describe(contents.description, read_document(contents.description, read_description(contents)))
    taken, given = description.inputs[0], description.outputs[0]
    if len(description.inputs) > 1:
        raise ModelError(
            f'The model of "{path.name}" takes {len(description.inputs)} inputs. Expected is one from one image.'
        )
    for tensor in (taken, given):
        strange = set(tensor.letters) - set("bczyx")
        if strange or not {"y", "x"} <= set(tensor.letters):
            raise ModelError(
                f'The model of "{path.name}" has the axes "{tensor.letters}" ({tensor.name}). Expected are images with '
                "y and x, and perhaps b (batch), c (channel) and z."
            )
    _, left = activation_of(given.steps)
    notes = [f'The step "{name}" behind the network is left out.' for name in left]
    if len(description.outputs) > 1:
        notes.append(f'Of its {len(description.outputs)} outputs the first, "{given.name}", is used.')
    example = None if left else _example(contents, taken, given, notes)
    return Package(contents.path, contents, description, example, tuple(notes))


def _example(contents: Contents, taken: Tensor, given: Tensor, notes: list[str]) -> Example | None:
    """Read the test image of a package, if it has one."""
    if taken.test is None or given.test is None:
        return None
    found = []
    for tensor in (taken, given):
        assert tensor.test is not None
        array = canonical(read_array(tensor.test.name, contents.read(tensor.test, proving.MAX_BYTES)), tensor.letters)
        if array is None:
            notes.append(f'The test image "{tensor.test.name}" does not have the axes "{tensor.letters}".')
            return None
        found.append(array)
    return Example(*found)


def _first_that_opens(
    package: Package, dress: Callable[[Model], Model], answers: Mapping[str, Any]
) -> tuple[Model, str]:
    """Open the best weights that can be opened, and say which."""
    weights = package.description.weights
    there = [kind for kind in (*DATA, *PROGRAMS) if kind in weights]
    if not there:
        raise ModelError(
            f'The package "{package.path.name}" has weights as {", ".join(weights)}; only '
            f"{', '.join((*DATA, *PROGRAMS))} can be opened."
        )
    # A download leaves out what is not needed; what lacks is only told where nothing is there.
    there = [kind for kind in there if package.contents.has(weights[kind])] or there
    refusals: list[ModelError] = []
    for kind in there:
        try:
            if kind in DATA:
                return _from_data(package, kind, dress, answers), DATA[kind]
            return _from_program(package, PROGRAMS[kind], dress, answers, refusals), f"{kind} program"
        except UnansweredError:
            raise
        except ModelError as error:
            refusals.append(error)
    programs = set(PROGRAMS) & set(there)
    raise refusals[-1] if programs else refusals[0]


def _from_data(package: Package, kind: str, dress: Callable[[Model], Model], answers: Mapping[str, Any]) -> Model:
    source = package.description.weights[kind]
    with package.contents.file(source, MAX_FILE_BYTES) as path:
        checkpoint = open_checkpoint(path)
    told = package.description.arguments
    # Under the names by which the trainers that families know keep the same arguments.
    extras = {"init": {"model_kwargs": told}, "config": {**told, "model": told}} if told else {}
    checkpoint = replace(checkpoint, extras={**extras, **checkpoint.extras})
    wanted = {keyword: value for keyword, value in answers.items() if keyword not in (*GENERAL, "trust")}
    return _settled(package, checkpoint, dress, wanted)


def _settled(
    package: Package, checkpoint: Checkpoint, dress: Callable[[Model], Model], answers: Mapping[str, Any]
) -> Model:
    """Open a checkpoint; what it does not say, or is only usual, is settled by the test image."""
    usual, unanswered = None, None
    try:
        usual = dress(from_checkpoint(checkpoint, answers))
    except UnansweredError as error:
        unanswered = error
    proof = _proof(package, usual) if usual else None
    if usual and (proof is None or proof.holds):
        return usual
    best: tuple[Proof, Model, Mapping[str, Any]] | None = None
    for given in _possibilities(checkpoint, answers) if package.example else ():
        model = dress(from_checkpoint(checkpoint, given))
        proof = _proof(package, model)
        if proof and proof.holds and (best is None or proof.difference < best[0].difference):
            best = proof, model, given
    if best is None:
        if usual:
            return usual
        assert unanswered is not None
        raise unanswered
    settled = ", ".join(f"{keyword}={value!r}" for keyword, value in best[2].items() if keyword not in answers)
    notes = best[1].report.notes if best[1].report else ()
    return best[1].with_report(notes=(*notes, f"The test image told {settled}."))


def _possibilities(checkpoint: Checkpoint, answers: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Answer questions in all ways: first those that are open, then those that are usually not asked."""
    waiting, tried = [dict(answers)], 0
    while waiting and tried < MOST_TRIED:
        given = waiting.pop(0)
        tried += 1
        try:
            questions = questions_of(checkpoint, given)
        except ModelError:
            continue
        unanswered = [question for question in questions if question.state == "open"]
        if not unanswered:
            yield given
        for question in unanswered[:1] or [question for question in questions if question.state == "settled"]:
            values = [value for value in question.values if question.state == "open" or value != question.value]
            waiting += [{**given, question.keyword: value} for value in values]


def _from_program(
    package: Package,
    kind: Literal["onnx", "torchscript"],
    dress: Callable[[Model], Model],
    answers: Mapping[str, Any],
    refusals: list[ModelError],
) -> Model:
    source = package.description.weights[kind]
    read = partial(package.contents.read, source, MAX_PROGRAM_BYTES)
    known = {keyword: value for keyword, value in answers.items() if keyword not in (*GENERAL, *CHOICES)}
    model = dress(open_program(ProgramFile(source.name, kind, read, _layout(package.image)), known))
    notes = model.report.notes if model.report else ()
    why = tuple(f"Its other weights were not used: {error}" for error in refusals)
    return model.with_report(notes=(*notes, *why))


def _layout(tensor: Tensor) -> Layout:
    channels = tensor.axis("c")
    known = Layout()
    fixed = tensor.sides if all(tensor.sides) else ()
    return Layout(
        dims=(len(tensor.sides),),
        channels=(channels.size,) if channels is not None and channels.size else known.channels,
        last=tensor.letters.endswith("c"),
        sides=fixed,
    )


def _dressed(package: Package, settings: Any, model: Model) -> Model:  # noqa: ANN401
    """Describe a network as its package does."""
    spec, description = model.spec, package.description
    channels = package.image.axis("c")
    if channels is not None and channels.size and channels.size != spec.network.in_channels:
        raise ModelError(
            f'"{package.path.name}" describes an input of {channels.size} channels, and its weights take '
            f"{spec.network.in_channels}. The package contradicts itself."
        )
    if spec.dims == 3 and "z" not in package.image.letters:
        raise ModelError(f'"{package.path.name}" describes planes, and its weights take volumes.')
    said, _ = activation_of(package.result.steps)
    activation = said or spec.activation
    classes = package.result.channel_names
    if len(classes) != spec.network.out_channels:
        classes = class_names(spec.network.out_channels, activation)
    names = package.image.channel_names
    changed = model.with_spec(
        name=description.name,
        activation=activation,
        classes=classes,
        normalization=settings,
        channel_names=names if len(names) == spec.network.in_channels else (),
        pixel_size_um=_pixel_size(package.image),
        provenance=_provenance(package, model),
    )
    how = f"{activation}, as the package says" if said else None
    return changed.with_report(**({"activation": how} if how else {}))


def _pixel_size(tensor: Tensor) -> float | None:
    sizes = {axis.pixel_um for axis in tensor.axes if axis.letter in "yx"}
    return sizes.pop() if len(sizes) == 1 else None


def _provenance(package: Package, model: Model) -> Provenance:
    facts = package.description.facts
    label = " ".join(part for part in (facts.get("id", ""), facts.get("version", "")) if part)
    said = {"by": facts.get("authors"), "cite": facts.get("cite"), "": facts.get("description")}
    notes = "; ".join(f"{key} {value}".strip() for key, value in said.items() if value)
    report: LoadReport | None = model.report
    family = f"; network: {report.family}" if report and report.family else ""
    return Provenance(
        trained_on=facts.get("trained_on", ""),
        source=f"bioimage.io {label or package.path.name}{family}",
        license=facts.get("license", ""),
        created=facts.get("created", ""),
        notes=notes,
    )
