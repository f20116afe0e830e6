"""The student without this project: ONNX, a web page, an HTTP server."""
