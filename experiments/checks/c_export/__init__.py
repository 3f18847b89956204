"""Networks as C files: whether every compiler gives the engine's bits, what they take of a device, and their speed.

`python -m experiments.checks.c_export [--emx COMMAND] [--networks NAMES] [--rounds 9]`

Every network is exported with its built-in test vector, compiled by each compiler that is there at each level of
optimisation, and run, foreign machines under QEMU. What is missing is said and left out. With --emx COMMAND, the
command of emx-onnx-cgen, the same networks go through ONNX into another generator's plain loops, and both are timed
with the same flags, turn by turn.
"""
