"""Models: the file they live in, and those that come with the package."""

SUFFIX = ".safetensors"
"""Of model files."""
