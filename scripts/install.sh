#!/bin/sh
# Make a virtual environment if there is none, and install napari-unet into it: install.sh VENV PIP_ARGS
set -eu

venv=$1
pip_args=${2:-}
if [ ! -x "$venv/bin/python" ]; then
    python=$(sh scripts/find_python.sh)
    echo "Making $venv with $python"
    "$python" -m venv "$venv"
fi
echo "Installing napari-unet and what it needs into $venv (about 2 GB; this takes some minutes the first time)"
# Somebody who watches sees the progress; a log file gets warnings and errors only.
[ -t 1 ] && quiet="" || quiet="--quiet"
# shellcheck disable=SC2086  # several words, or none
"$venv/bin/python" -m pip install $pip_args $quiet --constraint constraints.txt --editable ".[dev]"
