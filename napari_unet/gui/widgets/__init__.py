"""Thin widgets: they show the state and call one controller method a button."""
