"""Packages of the bioimage.io model zoo, which ilastik, deepImageJ, QuPath and others open."""
