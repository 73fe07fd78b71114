"""The tracker's graphs in files that other programs run: StableHLO and ONNX."""
