"""Edits of label images: each looks only at the neighbourhood of what it changes."""
