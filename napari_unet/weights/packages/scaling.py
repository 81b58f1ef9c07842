"""From the pre-processing of a bioimage.io package to our normalization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from napari_unet.errors import ModelError
from napari_unet.imaging.config import Normalization
from napari_unet.weights.formats.limits import shorten
from napari_unet.weights.packages.description import Step, Tensor

Values = npt.NDArray[np.float64]

EPS = 1e-6
"""What both formats add to a divisor if they are not told otherwise."""
_LONG = {"batch": "b", "channel": "c", "time": "t", "index": "i"}


def normalization_of(package: str, tensor: Tensor) -> Normalization:
    """Express the steps before the network as what becomes 0 and 1.

    Parameters
    ----------
    package : str
        For messages.
    tensor : Tensor
        The input.

    Raises
    ------
    ModelError
        If a step cannot be expressed so: leaving it out would change the result.
    """
    scaling = _Scaling(package, tensor)
    steps = {
        "scale_linear": scaling.scale_linear,
        "scale_range": scaling.scale_range,
        "zero_mean_unit_variance": scaling.zero_mean,
        "fixed_zero_mean_unit_variance": scaling.fixed_zero_mean,
        "clip": scaling.clip,
        "ensure_dtype": scaling.ensure_dtype,
    }
    for step in tensor.steps:
        if step.name not in steps:
            scaling.refuse(f'the step "{shorten(step.name, 40)}" before the network is not known here')
        try:
            steps[step.name](step.settings)
        except (TypeError, ValueError, KeyError) as error:
            scaling.refuse(f'the settings of "{step.name}" are not understood ({shorten(str(error), 80)})')
    return scaling.normalization()


def activation_of(steps: Sequence[Step]) -> tuple[str, tuple[str, ...]]:
    """Split the steps behind the network into "sigmoid", "softmax" or "" and what is left out."""
    found, left = "", []
    for step in steps:
        if step.name in ("sigmoid", "softmax") and not found:
            found = step.name
        elif step.name != "ensure_dtype":
            left.append(step.name)
    return found, tuple(left)


@dataclass(slots=True)
class _Scaling:
    """What the steps so far do: a statistic or none, then gain and offset, then bounds.

    Attributes
    ----------
    package : str
    tensor : Tensor
    statistic : dict
        Settings of the normalization that measures the image; empty if nothing is measured.
    gain, offset : (1,) or (C,) float64
    low, high : (1,) or (C,) float64, or empty
        Bounds of the values.
    """

    package: str
    tensor: Tensor
    statistic: dict[str, Any] = field(default_factory=dict)
    gain: Values = field(default_factory=lambda: np.ones(1))
    offset: Values = field(default_factory=lambda: np.zeros(1))
    low: Values = field(default_factory=lambda: np.empty(0))
    high: Values = field(default_factory=lambda: np.empty(0))

    def refuse(self, why: str) -> NoReturn:
        raise ModelError(
            f'The package "{self.package}" cannot be opened: {why}. Leaving that out would change its results. '
            "Open its weights file alone to use your own normalization."
        )

    def scale_linear(self, settings: Mapping[str, Any]) -> None:
        self._linear(_values(settings.get("gain", 1.0)), _values(settings.get("offset", 0.0)))

    def fixed_zero_mean(self, settings: Mapping[str, Any], eps: float = 0.0) -> None:
        deviation = _values(settings["std"]) + eps
        self._linear(1 / deviation, -_values(settings["mean"]) / deviation)

    def zero_mean(self, settings: Mapping[str, Any]) -> None:
        if settings.get("mode") == "fixed":
            self.fixed_zero_mean(settings, float(settings.get("eps", EPS)))
            return
        self._measure(settings, {"method": "z-score"})

    def scale_range(self, settings: Mapping[str, Any]) -> None:
        reference = settings.get("reference_tensor")
        if reference is not None and reference != self.tensor.name:
            self.refuse(f'"scale_range" takes its percentiles from another tensor, "{shorten(str(reference), 40)}"')
        low = float(settings.get("min_percentile", 0.0))
        high = float(settings.get("max_percentile", 100.0))
        self._measure(settings, {"method": "percentile", "low_percentile": low, "high_percentile": high})

    def clip(self, settings: Mapping[str, Any]) -> None:
        strange = set(settings) - {"min", "max"}
        if strange:
            self.refuse(f'"clip" is told {", ".join(sorted(strange))}')
        low, high = settings.get("min"), settings.get("max")
        if low is not None:
            self.low = np.maximum(self.low, _values(low)) if self.low.size else _values(low)
        if high is not None:
            self.high = np.minimum(self.high, _values(high)) if self.high.size else _values(high)

    def ensure_dtype(self, settings: Mapping[str, Any]) -> None:
        kind = str(settings.get("dtype"))
        if not kind.startswith("float") and (self.statistic or self._changed or self.low.size or self.high.size):
            self.refuse(f'"ensure_dtype" rounds the values to {shorten(kind, 20)}')

    @property
    def _changed(self) -> bool:
        return bool((self.gain != 1).any() or (self.offset != 0).any())

    def _linear(self, gain: Values, offset: Values) -> None:
        if self.statistic and ((gain != 1).any() or (offset != 0).any()):
            self.refuse("values are scaled again after they were normalized by the image's own")
        if not np.isfinite(gain).all() or (gain == 0).any():
            self.refuse("all values are made the same")
        self.gain, self.offset = self.gain * gain, self.offset * gain + offset
        if self.low.size or self.high.size:
            if (gain < 0).any():
                self.refuse("values are clipped and then inverted")
            self.low = self.low * gain + offset if self.low.size else self.low
            self.high = self.high * gain + offset if self.high.size else self.high

    def _measure(self, settings: Mapping[str, Any], statistic: dict[str, Any]) -> None:
        """Normalize by statistics of the image, which undo whatever was only scaled before."""
        if self.low.size or self.high.size:
            self.refuse("values are clipped before the image is measured")
        if (self.gain < 0).any():
            self.refuse("the image is inverted before it is measured")
        if settings.get("mode", "per_sample") != "per_sample":
            self.refuse(f'statistics are taken "{shorten(str(settings["mode"]), 30)}", not from each image')
        shared = self._axes_of(settings.get("axes"))
        if "z" in self.tensor.letters and "z" not in shared:
            self.refuse("each plane of a volume is normalized by itself")
        if not {"y", "x"} <= shared:
            self.refuse("statistics are not taken over whole planes")
        channels = self.tensor.axis("c")
        together = "c" in shared and channels is not None and channels.size != 1
        if together and (self.gain.size > 1 or self.offset.size > 1):
            self.refuse("channels are scaled one by one and then measured together")
        self.statistic = {**statistic, "eps": float(settings.get("eps", EPS)), "per_channel": not together}
        self.gain, self.offset = np.ones(1), np.zeros(1)

    def _axes_of(self, axes: Any) -> set[str]:  # noqa: ANN401
        if axes is None:
            return set(self.tensor.letters)
        return {_LONG.get(str(axis), str(axis)) for axis in axes}

    def normalization(self) -> Normalization:
        """Return what the steps amount to."""
        settings: dict[str, Any] = dict(self.statistic)
        if not settings:
            low, high = -self.offset / self.gain, (1 - self.offset) / self.gain
            settings = {"method": "fixed", "low": tuple(low.tolist()), "high": tuple(high.tolist())}
        try:
            return Normalization(clip_low=tuple(self.low.tolist()), clip_high=tuple(self.high.tolist()), **settings)
        except ValidationError as error:
            self.refuse(f"its normalization contradicts itself ({shorten(error.errors()[0]['msg'], 100)})")


def _values(value: Any) -> Values:  # noqa: ANN401
    array = np.atleast_1d(np.asarray(value, np.float64))
    if array.ndim != 1 or not np.isfinite(array).all():
        message = f"{value!r} is no number a channel"
        raise ValueError(message)
    return array
