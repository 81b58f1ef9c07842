"""From an image to probabilities and labels, tile by tile."""
