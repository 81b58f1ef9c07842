"""Labels that other programs have written."""
