"""The list of models: bundled, own, recent, in a folder of the user's, and new ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from napari_unet.gui.desk import Desk
from napari_unet.gui.remembering import Memory, recall, remember
from napari_unet.gui.state import Listed, ModelChoice, Shelf
from napari_unet.networks.variants import FAMILIES, VARIANTS
from napari_unet.weights.bundled import bundled, own
from napari_unet.weights.collection import downloaded
from napari_unet.weights.formats.identify import DESCRIPTIONS

SUFFIXES = (
    ".pt", ".pth", ".ckpt", ".safetensors", ".h5", ".hdf5", ".keras", ".npz", ".onnx", ".zip", ".index"
)  # fmt: skip
MOST_FILES = 300
_PACKAGE_FILES = (*DESCRIPTIONS, "plans.json", "saved_model.pb")
_PLANES, _VOLUMES = "New: U-Nets for planes", "New: for volumes"
# Families with a shelf of their own; those that need a package are with the others of that package.
_FAMILY_SHELVES = {"unet": _PLANES, "encoder": "New: with the encoder of a classifier"}
_OTHERS = "New: nested, residual, attention"


class Browsing:
    """Keeps `state.shelves` true to the models, the recent files and the user's folder."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._memory = recall()
        desk.state.events.models.connect(self.show, max_args=0)

    def show(self) -> None:
        """Fill the list again."""
        choices = self._desk.state.models
        shelves = (*self._trained(choices), *_new([choice for choice in choices if not choice.trained]))
        self._desk.state.shelves = tuple(shelf for shelf in shelves if shelf.items)

    def add_recent(self, path: str) -> None:
        """Put a file that was opened at the top of the recent ones."""
        # Another viewer may have opened files meanwhile.
        self._remember(recall().with_recent(str(Path(path).absolute())))

    def choose_folder(self, folder: str) -> None:
        """Show the weights files of a folder, from now on."""
        self._remember(recall().model_copy(update={"folder": folder}))
        if not files_in(Path(folder)):
            self._desk.state.tell(f'There is no weights file in "{folder}".', "warning")

    def _remember(self, memory: Memory) -> None:
        self._memory = memory
        remember(memory)
        self.show()

    def _trained(self, choices: Iterable[ModelChoice]) -> tuple[Shelf, ...]:
        trained = {choice.source or "": choice for choice in choices if choice.trained}
        with_program = [_ready(trained.pop(str(path))) for path in bundled().values() if str(path) in trained]
        mine = [_ready(trained.pop(str(path))) for path in own().values() if str(path) in trained]
        opened = {choice.origin or source: choice for source, choice in trained.items()}
        packages = [str(path) for path in downloaded().values()]
        recent = [path for path in self._memory.recent if path in opened or _exists(path)]
        recent += [path for path in opened if path not in recent]
        folder = Path(self._memory.folder) if self._memory.folder else None
        found = [] if folder is None else [str(path) for path in files_in(folder)]

        def listed(path: str) -> Listed:
            return _ready(opened[path], path) if path in opened else _file(path)

        return (
            Shelf(title="With this program", items=tuple(with_program)),
            Shelf(title="Your own", items=tuple(mine), tip="Models that you fine-tuned and kept"),
            Shelf(
                title="Recent",
                items=tuple(map(listed, recent)),
                tip="Weights files that were opened lately",
            ),
            Shelf(
                title="From bioimage.io",
                items=tuple(map(listed, packages)),
                tip="Packages that were downloaded; they open without internet",
            ),
            Shelf(
                title=f"Folder: {folder.name or folder}" if folder else "Folder",
                items=tuple(map(listed, found)),
                tip=str(folder or ""),
            ),
        )


def files_in(folder: Path) -> list[Path]:
    """Weights files and packages in a folder, by their names alone."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name.lower())
    except OSError:
        return []
    return [path for path in entries if not path.name.startswith(".") and _may_be_weights(path)][:MOST_FILES]


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # a drive that is gone
        return False


def _may_be_weights(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    return is_package(path)


def is_package(path: Path) -> bool:
    """Whether a folder as a whole is a model: a package, results of nnU-Net, or a SavedModel."""
    return path.is_dir() and any((path / name).is_file() for name in _PACKAGE_FILES)


def _ready(choice: ModelChoice, path: str = "") -> Listed:
    return Listed(title=choice.title, tip=path or choice.spec.provenance.trained_on or choice.title, choice=choice)


def _file(path: str) -> Listed:
    return Listed(title=Path(path).name, tip=path, path=path)


def _new(choices: Iterable[ModelChoice]) -> tuple[Shelf, ...]:
    shelves: dict[str, list[Listed]] = {_PLANES: [], _OTHERS: [], _FAMILY_SHELVES["encoder"]: [], _VOLUMES: []}
    for choice in choices:
        listed = Listed(title=choice.variant, tip=choice.description, choice=choice)
        shelves.setdefault(_shelf_of(choice), []).append(listed)
    tip = "Networks without weights, to be trained on your corrections"
    return tuple(Shelf(title=title, items=tuple(items), tip=tip, folded=True) for title, items in shelves.items())


def _shelf_of(choice: ModelChoice) -> str:
    family = VARIANTS[choice.variant].family
    if extra := FAMILIES[family].extra:
        return f"New: from {extra.upper()}"
    if choice.spec.dims == 3:
        return _VOLUMES
    return _FAMILY_SHELVES.get(family, _OTHERS)
