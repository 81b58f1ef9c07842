"""The optional packages of the fast mode."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from types import ModuleType

from napari_unet.errors import FastModeError

MISSING = (
    'The fast mode needs OpenVINO and NNCF, which are not installed. Install them with: pip install "napari-unet[fast]"'
)
# Would tell a server of its maker each time that one of the packages is imported or used, without asking.
REPORTS = "openvino_telemetry"


def load_library() -> tuple[ModuleType, ModuleType]:
    """Import OpenVINO and NNCF, and keep them from reporting their use.

    Returns
    -------
    openvino, nncf : modules

    Raises
    ------
    FastModeError
        If they are not installed.
    """
    sys.modules.setdefault(REPORTS, None)  # type: ignore[arg-type]  # None makes its import fail, which both expect
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            openvino, nncf = (import_module(name) for name in ("openvino", "nncf"))
    except ImportError as error:
        raise FastModeError(MISSING) from error
    return openvino, nncf
