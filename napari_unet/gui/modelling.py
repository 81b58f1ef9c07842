"""Step 1: choosing a model."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from napari_unet.atomic import replace_file
from napari_unet.errors import ExportError, ModelError
from napari_unet.gui.desk import Desk
from napari_unet.gui.state import ModelChoice, NewModel
from napari_unet.networks.registry import network_spec, resolve_options, variants
from napari_unet.networks.variants import FAMILIES, VARIANTS
from napari_unet.weights.bundled import bundled, own, own_folder
from napari_unet.weights.file import SUFFIX, read_spec
from napari_unet.weights.spec import INSTANCE_CLASSES, Meaning, untrained_spec

MOST_CHANNELS = 16
# Where one of these is given, there is no one width and depth.
_SET_LEVEL_BY_LEVEL = ("widths", "encoder", "decoder")


class Modelling:
    """Lists models, chooses among them and describes new ones."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list_models(self) -> None:
        """Fill the list: bundled models, the user's own, files opened by hand, and one new model a variant."""
        known = {**bundled(), **{f"{name} (own)": path for name, path in own().items()}}
        trained = [self._from_file(title, path) for title, path in known.items()]
        new = [self._new(variant) for variant in variants()]
        state = self._desk.state
        sources = {str(path) for path in known.values()}
        opened = [choice for choice in state.models if choice.source not in sources and _has_file(choice)]
        state.models = (*(choice for choice in trained if choice is not None), *opened, *new)
        if state.model is None:
            self.choose(state.models[0])

    def choose(self, choice: ModelChoice) -> None:
        """Make a model the current one, with its own settings for objects."""
        state = self._desk.state
        state.model = choice
        state.objects = choice.spec.objects_at(state.diameter_px)
        state.channels = None
        if not choice.trained:
            state.new_model = NewModel(in_channels=min(max(1, state.image_channels), MOST_CHANNELS))
            state.model = self._new(choice.variant)

    def go_on_with(self, choice: ModelChoice) -> None:
        """Choose a model that was made from the current one: all settings stay that the user has chosen."""
        state = self._desk.state
        channels, objects = state.channels, state.objects
        if state.model is not None and objects == state.model.spec.objects_at(state.diameter_px):
            objects = choice.spec.objects_at(state.diameter_px)  # those that were fitted with the model
        state.model = choice
        state.channels, state.objects = channels, objects

    def add(self, choice: ModelChoice) -> None:
        """Add a model that was opened to the list, in place of its former self, and choose it."""
        origin = choice.origin or choice.source
        others = (one for one in self._desk.state.models if not one.trained or (one.origin or one.source) != origin)
        self._desk.state.models = (*others, choice)
        self.choose(choice)

    def describe_new(
        self, meaning: Meaning, classes: str, in_channels: int, options: Mapping[str, int] | None = None
    ) -> None:
        """Change what the chosen untrained model takes and gives; `classes` are names with commas between."""
        state = self._desk.state
        if state.model is None or state.model.trained:
            return
        names = tuple(name.strip() for name in classes.split(",") if name.strip())
        if meaning == "semantic" and (len(names) < 2 or len(set(names)) < len(names)):
            state.tell(
                "Name at least two different classes with commas between them, the background first.",
                "warning",
            )
            return
        given = INSTANCE_CLASSES if meaning == "instances" else names
        defaults = adjustable(state.model.variant)
        changed = {name: value for name, value in (options or {}).items() if defaults.get(name, value) != value}
        self._desk.attempt(
            lambda: self._describe(NewModel(meaning=meaning, classes=given, in_channels=in_channels, options=changed))
        )

    def _describe(self, new: NewModel) -> None:
        """Describe the chosen untrained model anew; if that is impossible, the form goes back."""
        state = self._desk.state
        assert state.model is not None
        former, state.new_model = state.new_model, new
        try:
            choice = self._new(state.model.variant, new.options)
        except ModelError:
            state.new_model = former
            raise
        state.channels = None
        state.model = choice
        state.objects = choice.spec.objects_at(state.diameter_px)
        state.tell("")

    def keep(self, candidate: str, name: str) -> ModelChoice:
        """Move a fine-tuned model into the user's own folder; runs in a thread.

        Raises
        ------
        ExportError
            If the folder cannot be written.
        """
        folder = own_folder()
        target = _free_name(folder, re.sub(r"[^\w.-]+", "-", name).strip("-") or "model")
        copy_model(Path(candidate), target)
        return ModelChoice(title=f"{target.stem} (own)", source=str(target), spec=read_spec(target))

    def _from_file(self, title: str, path: Path) -> ModelChoice | None:
        found: list[ModelChoice] = []
        self._desk.attempt(lambda: found.append(ModelChoice(title=title, source=str(path), spec=read_spec(path))))
        return found[0] if found else None

    def _new(self, variant: str, options: Mapping[str, int] | None = None) -> ModelChoice:
        new = self._desk.state.new_model
        classes = INSTANCE_CLASSES if new.meaning == "instances" else new.classes
        spec = untrained_spec(variant, in_channels=new.in_channels, classes=classes, **(options or {}))
        return ModelChoice(
            title=f"New, untrained: {variant}", variant=variant, description=_describe_variant(variant), spec=spec
        )


def adjustable(variant: str) -> dict[str, int]:
    """Options of a variant that the form offers, with their usual values."""
    options = resolve_options(network_spec(variant, 1, 2, {}))
    found = {"dims": int(options.dims)} if _is_possible(variant, dims=5 - options.dims) else {}
    if any(isinstance(getattr(options, name, None), tuple) for name in _SET_LEVEL_BY_LEVEL):
        return found
    sizes = {name: getattr(options, name, None) for name in ("width", "depth")}
    return found | {name: value for name, value in sizes.items() if isinstance(value, int)}


def _is_possible(variant: str, **options: int) -> bool:
    try:
        resolve_options(network_spec(variant, 1, 2, options))
    except ModelError:
        return False
    return True


def _describe_variant(variant: str) -> str:
    """Describe a variant, and say how to install what it needs."""
    extra = FAMILIES[VARIANTS[variant].family].extra
    missing = bool(extra) and find_spec(extra) is None
    how = f". It needs {extra.upper()}, which is not installed: pip install napari-unet[{extra}]" if missing else ""
    return f"{variants()[variant]}{how}"


def _has_file(choice: ModelChoice) -> bool:
    return choice.source is not None and Path(choice.source).is_file()


def copy_model(source: Path, target: Path) -> None:
    """Copy a model file; it is in place only when it is complete.

    Raises
    ------
    ExportError
        If the folder cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(
            f'The folder "{target.parent}" cannot be made ({error.strerror}). The new model is '
            "still here: save it as a file somewhere else."
        ) from error
    replace_file(target, lambda temporary: _copy(source, temporary), _check)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _check(written: Path) -> None:
    try:
        read_spec(written)
    except ModelError as error:
        raise ExportError(f"The model was not written correctly: {error} Nothing was changed.") from error


def _free_name(folder: Path, stem: str) -> Path:
    stem = stem.removesuffix(SUFFIX)
    path, number = folder / f"{stem}{SUFFIX}", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}{SUFFIX}", number + 1
    return path
