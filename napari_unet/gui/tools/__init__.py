"""Tools on the correction layer, beside napari's own brush, fill, polygon and eraser."""
