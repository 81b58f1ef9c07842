"""Fine-tuning on reviewed corrections, and the gate that a new model has to pass."""
