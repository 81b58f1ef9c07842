"""``python -m napari_unet.cli``, where the command is not on the path."""

from napari_unet.cli import main

main()
