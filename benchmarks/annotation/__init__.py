"""A scripted annotator that plays the user: correct a few images, fine-tune for a few seconds, measure on others."""
