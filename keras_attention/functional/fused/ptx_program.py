"""A kernel as PTX, which XLA gives to the driver of the GPU.

XLA runs the call `__gpu$xla.gpu.ptx`: it loads the text and passes a pointer
to each operand, then to each result, in their order. The target is internal to
XLA: its fields are those that TensorFlow 2.21 parses.

The texts are made by `benchmarks/kernels/make.py`.
"""

import functools
import importlib.resources
import re

from keras_attention.functional.fused.program import Program
from keras_attention.functional.fused.program import Tensor

TARGET = "__gpu$xla.gpu.ptx"
_ENTRY = re.compile(r"\.entry (\w+)\(")
_THREADS = re.compile(r"\.reqntid (\d+)")
_FACT = re.compile(r"^// (\w+) (\d+)$", re.M)


@functools.cache
def _text(name):
    folder = importlib.resources.files(__package__) / "ptx"
    return (folder / f"{name}.ptx").read_text(encoding="ascii")


def rows_of(name: str) -> int:
    """Returns how many rows one program of the kernel answers."""
    return int(dict(_FACT.findall(_text(name)))["rows"])


def program(
    name: str,
    grid: tuple[int, int, int],
    operands: tuple[Tensor, ...],
    results: tuple[Tensor, ...],
) -> Program:
    """Returns the program of a kernel.

    Args:
        name: of the file, without its ending.
        grid: how many programs run, on three axes.
        operands, results: the `Tensor` of each.
    """
    text = _text(name)
    settings = {
        "name": _ENTRY.search(text).group(1),
        "kernel_type": "ptx",
        "kernel_data": text,
        **dict(zip(("grid_x", "grid_y", "grid_z"), grid, strict=True)),
        "block_x": int(_THREADS.search(text).group(1)),
        "block_y": 1,
        "block_z": 1,
        "shared_mem_bytes": int(dict(_FACT.findall(text))["shared_mem_bytes"]),
    }
    return Program(
        TARGET, settings, operands, results, version=4, has_workspace=False
    )
