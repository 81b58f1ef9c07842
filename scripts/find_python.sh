#!/bin/sh
# Print the first Python on this machine that can run napari-unet (at least 3.11, with venv).
set -u

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' >/dev/null 2>&1
}

for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
    if command -v "$candidate" >/dev/null 2>&1 && usable "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
done

{
    printf '%s\n' "No Python 3.11 to 3.14 with the venv module was found (python3 is $(python3 --version 2>&1))."
    printf '%s\n' "On Debian or Ubuntu: sudo apt-get install python3 python3-venv"
    printf '%s\n' "Or name one: make PYTHON=/path/to/python3.12 test"
} >&2
exit 1
