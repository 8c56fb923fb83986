"""What runs a network: PyTorch, ONNX Runtime and OpenVINO, and which of them is taken."""
