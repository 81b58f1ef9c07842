"""Lengths in the units that image files use."""

from __future__ import annotations

import math

_UM = {
    "pm": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "centimetre": 1e4,
    "m": 1e6,
    "meter": 1e6,
    "metre": 1e6,
    "inch": 25400.0,
    "in": 25400.0,
}


def to_um(length: object, unit: str | None) -> float | None:
    """Convert a length to µm; None where the unit is none of length or the number makes no sense.

    >>> to_um(250, "nm")
    0.25
    >>> to_um(1, "pixel") is None
    True
    """
    # U+03BC (Greek mu) and the escape that ImageJ writes both stand for U+00B5 (micro sign).
    name = (unit or "").strip().replace("\\u00B5", "µ").lower().replace("\u03bc", "µ")
    factor = _UM.get(name)
    try:
        value = float(length)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if factor is None or not math.isfinite(value) or value <= 0:
        return None
    return value * factor
