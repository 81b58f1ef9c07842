"""Models that are more than one file of weights: folders and packages."""
