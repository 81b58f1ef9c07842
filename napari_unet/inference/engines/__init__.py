"""Ways to run a network over planes and volumes that no memory could hold at once."""
