"""What plans.json and dataset.json of nnU-Net say about a network, read as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_unet.errors import ModelError
from napari_unet.imaging.config import Normalization
from napari_unet.networks.options.base import Activation
from napari_unet.weights.recognition.recognised import Mismatch, Reading

NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")
ACTIVATIONS: Mapping[str, Activation] = {
    "LeakyReLU": "leaky_relu",
    "ReLU": "relu",
    "ELU": "elu",
    "GELU": "gelu",
    "SiLU": "silu",
    "None": "none",
}
STANDARDIZED = Normalization(method="z-score")
FIXED = {"RGBTo01Normalization": (0.0, 255.0), "NoNormalization": (0.0, 1.0)}
UNBOUND = 1e30
MOST_PX = 8192  # of the side of a patch: nobody could train on larger ones
SCHEMES = ("ZScoreNormalization", "CTNormalization", "RescaleTo01Normalization", *FIXED)


@dataclass(frozen=True, slots=True)
class Plans:
    """One configuration of a plan.

    Attributes
    ----------
    plans, configuration, dataset : dict
        What the files say; empty where there are none.
    """

    plans: Mapping[str, Any] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)

    @property
    def _architecture(self) -> Mapping[str, Any]:
        """Arguments of the network; plans before version 2.5 hold them beside the rest."""
        architecture = _mapping(self.configuration.get("architecture"))
        return _mapping(architecture.get("arch_kwargs"))

    @property
    def network_class(self) -> str:
        """Name of the class of the network without its module; "" if nothing is said."""
        named = _mapping(self.configuration.get("architecture")).get("network_class_name")
        return str(named or self.configuration.get("UNet_class_name") or "").rpartition(".")[2]

    def check_network(self, expected: str) -> None:
        """Check that the plans mean a network that is known; nothing that they name is imported.

        Raises
        ------
        ModelError
            If they name another class, or a network that needs the output of another one.
        """
        named = self.network_class
        if named and named not in NETWORKS:
            raise ModelError(
                f'The plans of nnU-Net name the network "{named}", and {" and ".join(NETWORKS)} can be opened. Export '
                "the network as ONNX with nnU-Net."
            )
        if named and named != expected:
            message = f"its plans say {named}"
            raise Mismatch(message)
        if self.configuration.get("previous_stage") or self.configuration.get("previous_stage_name"):
            raise ModelError(
                "This network of nnU-Net refines the output of a network of lower resolution (a cascade), which "
                "cannot be run here. Choose the configuration 2d, 3d_fullres or 3d_lowres."
            )

    def check_strides(self, channels: int) -> None:
        """Check that the first level keeps the size of the image, and that the channels are those of the dataset.

        Raises
        ------
        Mismatch
            If not.
        """
        strides = self._architecture.get("strides") or self.configuration.get("pool_op_kernel_sizes")
        first = next(iter(_list(strides)), 1)
        if any(side != 1 for side in _list(first) or [first]):
            message = f"its first level has the stride {first}"
            raise Mismatch(message)
        named = len(_mapping(self.dataset.get("channel_names", self.dataset.get("modality"))))
        if named and named != channels:
            message = f"it takes {channels} channels and its dataset has {named}"
            raise Mismatch(message)

    @property
    def eps(self) -> float:
        """What is added to the variance."""
        return _positive(_mapping(self._architecture.get("norm_op_kwargs")).get("eps"), 1e-5)

    @property
    def activation(self) -> Activation:
        """Name of the activation."""
        name = str(self._architecture.get("nonlin", "LeakyReLU")).rpartition(".")[2]
        if name not in ACTIVATIONS:
            message = f'its activation "{name}" is unknown'
            raise Mismatch(message)
        return ACTIVATIONS[name]

    @property
    def slope(self) -> float:
        """Slope of the activation below zero."""
        return _positive(_mapping(self._architecture.get("nonlin_kwargs")).get("negative_slope"), 0.01)

    @property
    def activation_first(self) -> bool:
        """Whether the activation comes before the normalization."""
        return bool(self._architecture.get("nonlin_first", False))

    @property
    def _labels(self) -> dict[str, Any]:
        labels = _mapping(self.dataset.get("labels"))
        return {name: value for name, value in labels.items() if name != "ignore"}

    @property
    def regions(self) -> bool:
        """Whether classes overlap, so that each has a probability of its own."""
        return any(isinstance(value, list | tuple) and len(value) > 1 for value in self._labels.values())

    def classes(self, outputs: int) -> tuple[str, ...]:
        """Names of the classes; none if they are not as many as the outputs."""
        if self.regions:
            names = [name for name, value in self._labels.items() if value not in (0, [0])]
        else:
            names = sorted(self._labels, key=lambda name: _number(self._labels[name]))
        return tuple(names) if len(names) == outputs else ()

    def channel_names(self, inputs: int) -> tuple[str, ...]:
        """Names of the channels; none if they are not as many as the inputs."""
        named = _mapping(self.dataset.get("channel_names", self.dataset.get("modality")))
        names = [str(named[key]) for key in sorted(named, key=_number)]
        return tuple(names) if len(names) == inputs else ()

    def normalization(self, inputs: int) -> tuple[Normalization, tuple[str, ...]]:
        """Return what is done to the image, and sentences about what cannot be done so here."""
        schemes = [str(scheme) for scheme in _list(self.configuration.get("normalization_schemes"))]
        if len(schemes) != inputs or any(scheme not in SCHEMES for scheme in schemes):
            told = f" (its plans say {', '.join(schemes)})" if schemes else ""
            return STANDARDIZED, (f"How images are normalized is not known{told}: the z-score is used.",)
        if set(schemes) == {"RescaleTo01Normalization"}:
            return Normalization(low_percentile=0, high_percentile=100), ()
        fixed = self._fixed(schemes)
        if fixed is not None:
            return fixed, ()
        if set(schemes) == {"ZScoreNormalization"}:
            masked = any(_list(self.configuration.get("use_mask_for_norm")))
            sentence = "nnU-Net takes mean and deviation of the pixels that are not zero; here all pixels count."
            return STANDARDIZED, ((sentence,) if masked else ())
        told = ", ".join(schemes)
        return STANDARDIZED, (f"Its channels are normalized by {told}; here the z-score is used for all of them.",)

    def _fixed(self, schemes: list[str]) -> Normalization | None:
        """Return fixed values for each channel, those of CT from the plans; None if some depend on the image."""
        known = _mapping(self.plans.get("foreground_intensity_properties_per_channel"))
        bounds: list[tuple[float, float, float, float]] = []
        for channel, scheme in enumerate(schemes):
            if scheme in FIXED:
                bounds.append((*FIXED[scheme], -UNBOUND, UNBOUND))
                continue
            values = _mapping(known.get(str(channel)))
            numbers = [values.get(name) for name in ("mean", "std", "percentile_00_5", "percentile_99_5")]
            if scheme != "CTNormalization" or not all(isinstance(number, int | float) for number in numbers):
                return None
            mean, std, least, most = (float(number) for number in numbers if number is not None)
            std = max(std, 1e-8)
            bounds.append((mean, mean + std, (least - mean) / std, (most - mean) / std))
        low, high, least_of_all, most_of_all = zip(*bounds, strict=True)
        clips = {"clip_low": least_of_all, "clip_high": most_of_all} if "CTNormalization" in schemes else {}
        return Normalization(method="fixed", low=low, high=high, **clips)

    @property
    def patch_px(self) -> tuple[int, ...]:
        """Sides of the patches of training, in the order of the network's axes; empty if they are not told."""
        sides = _list(self.configuration.get("patch_size"))
        whole = [int(side) for side in sides if isinstance(side, int | float) and 1 <= side <= MOST_PX]
        return tuple(whole) if len(whole) == len(sides) else ()

    def notes(self) -> Iterator[str]:
        """Say what else the training program does."""
        spacing, patch = _sides(self.configuration.get("spacing")), _sides(self.configuration.get("patch_size"))
        if spacing:
            yield (
                f"It was trained at a pixel size of {spacing} (millimetres in medical images; the plans name no unit): "
                "scale images of another pixel size before."
            )
        if patch:
            yield f"It was trained on patches of {patch} pixels."
        forward = [str(axis) for axis in _list(self.plans.get("transpose_forward"))]
        if forward != sorted(forward):
            yield f"It was trained on images whose axes were put in the order {', '.join(forward)}; do so before."
        if not self.plans:
            yield "There are no plans: instance normalization and LeakyReLU 0.01, the usual ones, were assumed."


def read_plans(reading: Reading) -> Plans:
    """Find the plans of a folder of results, or those that a checkpoint itself holds."""
    init = _mapping(reading.extras.get("init_args"))
    plans = _mapping(reading.extras.get("plans")) or _mapping(init.get("plans"))
    dataset = _mapping(reading.extras.get("dataset")) or _mapping(init.get("dataset_json"))
    name = str(init.get("configuration") or reading.extras.get("configuration") or "")
    return Plans(plans, _inherited(_mapping(plans.get("configurations")), name), dataset)


def _inherited(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One configuration with all that it inherits from others."""
    found: dict[str, Any] = {}
    for _ in range(len(configurations)):
        configuration = _mapping(configurations.get(name))
        found = {**configuration, **found}
        name = str(configuration.get("inherits_from") or "")
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _positive(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else otherwise


def _sides(value: object) -> str:
    return " × ".join(f"{side:g}" for side in _list(value) if isinstance(side, int | float))


def _number(value: object) -> float:
    """Return a label or channel as a number, also where it is written as text or in a list."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    try:
        return float(str(first))
    except ValueError:
        return float("inf")
