"""Images as lazily read regions, and the normalization that training and inference share."""
