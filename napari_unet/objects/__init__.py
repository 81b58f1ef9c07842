"""From a probability map to labels, and labels kept when predicting again."""
