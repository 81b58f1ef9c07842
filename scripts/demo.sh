#!/bin/sh
# Run the demo where there is a display, and under Xvfb where there is none: demo.sh PYTHON FOLDER
set -eu

python=$1
out=$2
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || [ "$(uname -s)" = Darwin ]; then
    exec "$python" -m napari_unet.gui.demo --out "$out"
fi
echo "There is no display, so napari runs under Xvfb and closes when the demo is done."
exec xvfb-run -a -s "-screen 0 1600x1200x24" "$python" -m napari_unet.gui.demo --out "$out" --exit
