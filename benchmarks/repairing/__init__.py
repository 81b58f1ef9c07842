"""A scripted annotator that repairs segmented nuclei, with our tools and with napari's own."""
