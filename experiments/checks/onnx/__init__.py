"""Files of ONNX that are written and read, beside other engines and the official tests."""
