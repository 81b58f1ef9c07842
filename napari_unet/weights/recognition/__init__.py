"""Telling which network weights belong to, from the names and shapes of the tensors."""
