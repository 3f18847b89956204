"""One hash for a quantised network: whatever computes its integers must give the same codes.

`python -m experiments.checks.integer_hash RUN [--test 10000] [--samples 512]`

RUN is a folder that `engine.train` wrote. Its network is quantised with power-of-two scales, and the codes of its
logits for the images of its test part are hashed: by every instruction set that this machine has, with and without
VNNI, on 1, 2, 3 and 7 threads, one image and 64 at a time; by the twin in NumPy; by the exported C file under every
compiler that is there, foreign machines under QEMU; by the page in a headless Chromium; by ONNX Runtime and tract from
the exported ONNX file. What is missing is said and left out. Status 1 where two hashes differ.
"""
