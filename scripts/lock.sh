#!/bin/sh
# Write constraints.txt: the newest versions of everything, resolved in an empty environment.
set -eu

cd "$(dirname "$0")/.."
python=$(sh scripts/find_python.sh)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder/venv"
# shellcheck disable=SC2086  # PIP_ARGS holds several words
"$folder/venv/bin/python" -m pip install ${PIP_ARGS:-} --editable ".[dev]"
{
    echo "# Exact versions of everything that development and CI install. Written by: make lock"
    # Without the local part of a version, such as +cpu, any build of that version fits.
    "$folder/venv/bin/python" -m pip freeze --exclude-editable | sed 's/+[A-Za-z0-9.]*$//' | grep '=='
} > constraints.txt.new
mv constraints.txt.new constraints.txt
