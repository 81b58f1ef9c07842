"""A measurement: whether a network that says more than three classes finds more objects."""
