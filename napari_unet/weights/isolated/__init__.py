"""Networks that are programs (ONNX, TorchScript), run in a process of their own, for prediction only."""
