"""Programs as XLA sees them: lowered or compiled, read as text."""

import math
import re

# How a program leaves the device: whatever Python or a library runs for it.
_OUTSIDE = re.compile(
    r"\s((?:custom-call|send|recv|infeed|outfeed)[\w-]*)\("
    r"|custom_call_target=\"([^\"]*)\""
)
_SHAPE = re.compile(r"\b[a-z]+\d*\[([\d,<=]+)\]")


def lowered(function, *arguments, platform="CPU", stage="hlo"):
    """Returns the program of a function of tensors, as text.

    Nothing is run, and the platform need not be at hand.

    Args:
        function: function of nests of tensors. It must read no variable.
        *arguments: its arguments, nests of tensors.
        platform: "CPU" or "GPU".
        stage: "hlo" as it was written, "optimized_hlo" as it would run; the
            latter is compiled first.
    """
    import tensorflow as tf

    function = tf.function(function, jit_compile=True, autograph=False)
    return function.experimental_get_compiler_ir(*arguments)(
        stage=stage, platform_name=platform
    )


def tensor_shapes(program):
    """Returns the shape of every tensor in the program, as a set."""
    return {
        tuple(int(size) for size in re.findall(r"\d+", shape))
        for shape in _SHAPE.findall(program)
    }


def largest_tensor(program):
    """Returns how many entries the largest tensor of the program has."""
    return max(map(math.prod, tensor_shapes(program)))


def calls_outside(program):
    """Returns what the program calls that is not its own, as a set."""
    return {name for pair in _OUTSIDE.findall(program) for name in pair} - {""}
