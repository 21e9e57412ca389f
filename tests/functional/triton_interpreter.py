"""Runs kernels in Triton's interpreter, with NumPy: a program of its own.

Triton and TensorFlow do not live in one process, and kernels are read in
another way where TRITON_INTERPRET is set. The file of calls says for each call
the name of the kernel, its grid, its last two arguments (sizes of a block),
its operands and the shapes of its results.

    python triton_interpreter.py SOURCE CALLS RESULTS
"""

import importlib.util
import os
import pickle
import sys
from pathlib import Path

import numpy as np


class Pointer:
    """What the interpreter asks of a tensor, around an array."""

    def __init__(self, array):
        self.array, self.dtype = array, str(array.dtype)

    def data_ptr(self):
        return self.array.ctypes.data

    def untyped_storage(self):
        return self

    cpu = untyped_storage

    def new_empty(self, *shape, device):
        return self

    def set_(self, *layout):
        return self

    def storage_offset(self):
        return 0

    size = stride = storage_offset

    def copy_(self, other):
        """Nothing to copy: it was written in place."""


def main(source, calls, results):
    os.environ["TRITON_INTERPRET"] = "1"
    spec = importlib.util.spec_from_file_location("kernels", source)
    kernels = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kernels)
    kernels._reciprocal = lambda x: 1.0 / x  # it is in PTX
    found = []
    for name, grid, sizes, operands, shapes in pickle.loads(
        Path(calls).read_bytes()
    ):
        # Each number has to be written.
        arrays = [np.full(shape, np.nan, "float32") for shape in shapes]
        pointers = map(Pointer, [*operands, *arrays])
        getattr(kernels, name)[grid](*pointers, *sizes)
        found.append(arrays)
    Path(results).write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
