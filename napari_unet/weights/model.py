"""A model: a network, what it expects and what its output means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_unet.errors import ModelError
from napari_unet.networks.base import Network
from napari_unet.networks.registry import build
from napari_unet.weights.file import save_tensors, weights_sha256
from napari_unet.weights.report import LoadReport
from napari_unet.weights.spec import INSTANCE_CLASSES, Activation, ModelSpec, changed_spec, untrained_spec


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its description.

    Attributes
    ----------
    network : torch.nn.Module
        Gives logits.
    spec : ModelSpec
        What it expects, what its output means, where it comes from.
    report : LoadReport, optional
        What opening its file found out.
    """

    network: Network
    spec: ModelSpec
    report: LoadReport | None = None

    @property
    def trained(self) -> bool:
        """False as long as its weights are random."""
        return self.spec.trained

    @property
    def activation(self) -> Activation:
        """What turns its logits into probabilities."""
        return self.spec.activation

    @property
    def sha256(self) -> str:
        """Fingerprint of the weights."""
        return weights_sha256(self.network.state_dict())

    def with_spec(self, **changes: Any) -> Model:  # noqa: ANN401
        """Return the same network with parts of its description changed.

        Raises
        ------
        ModelError
            If they contradict the rest.
        """
        return replace(self, spec=changed_spec(self.spec, **changes))

    def with_report(self, **changes: Any) -> Model:  # noqa: ANN401
        """Return the same model with parts of its report changed; without a report, the model itself."""
        return self if self.report is None else replace(self, report=self.report.model_copy(update=changes))

    def save(self, path: str | Path) -> Path:
        """Write network and description to one ``.safetensors`` file.

        The file is written beside `path`, read back, compared and then put in its place.

        Raises
        ------
        ExportError
            If it cannot be written; what stood there before is unchanged.
        """
        return save_tensors(Path(path), self.network.state_dict(), self.spec)


def new_model(
    variant: str,
    in_channels: int = 1,
    classes: tuple[str, ...] = INSTANCE_CLASSES,
    slices: int = 1,
    **options: Any,  # noqa: ANN401
) -> Model:
    """Make a model with random weights.

    Parameters
    ----------
    variant : str
        One of `napari_unet.variants`.
    in_channels : int
        Channels of the image.
    classes : tuple of str
        The default finds objects; other names are semantic classes, the first being the background.
    slices : int
        How many slices of a stack a network for planes is shown at once, odd and at most 9: the one that it labels,
        and its neighbours.
    **options
        Of the variant.

    Raises
    ------
    ModelError
        If the variant or an option does not exist, or so many slices cannot be shown.
    """
    return model_from_spec(untrained_spec(variant, in_channels, classes, slices, **options))


def model_from_spec(spec: ModelSpec, seed: int = 0) -> Model:
    """Make the model that `spec` describes, with random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Model(build(spec.network), changed_spec(spec, trained=False))


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check that weights are numbers.

    Raises
    ------
    ModelError
        If any is not.
    """
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ModelError(f'The weights in "{path.name}" contain values that are no numbers. Choose another model.')
