"""What TensorFlow compiles, written on one machine and run on another.

TensorFlow traces and lowers a function for a GPU that need not be at hand.
The program it would run there is a file; JAX's client runs it, on a machine
without TensorFlow.
"""

import json
from importlib import metadata
from pathlib import Path

from gpu_parts.clock import LeftOut
from gpu_parts.clock import Program

INDEX = "programs.json"
NAMES = {
    "TensorFlow, ours auto": "auto",
    "TensorFlow, ours fused": "fused",
    "TensorFlow, ours blockwise": "blockwise",
    "TensorFlow, Keras": None,
}


def write(folder, groups, models, tiny):
    """Writes every program of TensorFlow in the groups, and an index.

    Args:
        folder: where; it is made.
        groups: as `plan` returns them.
        models: dict from the key of a model to a function of the name of a
            program and of sizes, that returns a function of TensorFlow and
            its arguments.
        tiny: for the processor, not for a GPU.
    """
    from keras_attention.functional import target_device

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    device, index = "cpu" if tiny else "gpu", []
    with target_device(device):
        for group in groups:
            for name in group.names:
                if not name.startswith("TensorFlow"):
                    continue
                entry = {"case": group.key, "program": name}
                file = f"{len(index):02d}.hlo"
                try:
                    function, arguments = (
                        traced(group.case, NAMES[name])
                        if group.case is not None
                        else models[group.key](name, group.sizes)
                    )
                    (folder / file).write_bytes(
                        lowered(function, arguments, device)
                    )
                except Exception as error:
                    entry["left_out"] = first_line(error)
                else:
                    entry |= {"file": file, "arguments": described(arguments)}
                index.append(entry)
                print(json.dumps(entry | {"arguments": None}), flush=True)
    versions = {
        name: metadata.version(name) for name in ("tensorflow", "keras")
    }
    content = {"device": device, "versions": versions, "programs": index}
    (folder / INDEX).write_text(json.dumps(content, indent=1) + "\n")


def first_line(error):
    """Returns the first line of an exception, with its kind if it says none."""
    lines = str(error).strip().splitlines()
    return lines[0][:250] if lines else type(error).__name__


def traced(case, implementation):
    """Returns a function of TensorFlow, and what it is called with."""
    import keras
    import tensorflow as tf

    from keras_attention.functional import AdditiveScore
    from keras_attention.functional import attend
    from keras_attention.functional import float32_products
    from keras_attention.masks import Causal
    from keras_attention.masks import SlidingWindow

    mask = {
        "full": lambda: None,
        "causal": Causal,
        "window": lambda: SlidingWindow(case.window - 1, 0),
    }[case.mask]()

    def attention(query, key, value, *vector):
        if implementation is None:
            return keras.ops.dot_product_attention(
                query, key, value, is_causal=case.mask != "full"
            )
        score = {"score": AdditiveScore(*vector)} if vector else {}
        with float32_products(case.float32_products):
            return attend(
                query=query,
                key=key,
                value=value,
                mask=mask,
                implementation=implementation,
                **score,
            )

    def run(*tensors):
        if not case.backward:
            return [attention(*tensors)]
        *tensors, upstream = tensors
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            output = attention(*tensors)
        return [output, *tape.gradient(output, tensors, upstream)]

    return run, [tf.TensorSpec(shape, case.dtype) for shape in case.shapes]


def lowered(function, arguments, device):
    """Returns the program that TensorFlow would compile, as bytes."""
    import tensorflow as tf

    function = tf.function(function, jit_compile=True, autograph=False)
    return function.experimental_get_compiler_ir(*arguments)(
        stage="hlo_serialized", platform_name=device.upper()
    )


def described(arguments):
    """Returns [shape, dtype] of each tensor of a nest, flat."""
    import tensorflow as tf

    return [
        [list(x.shape), tf.as_dtype(x.dtype).name]
        for x in tf.nest.flatten(arguments)
    ]


class Written:
    """The programs of a folder.

    Args:
        folder: path, or None where there are no programs.
    """

    def __init__(self, folder):
        self.folder = None if folder is None else Path(folder)
        self.programs, self.versions = {}, {}
        if self.folder is not None:
            index = json.loads((self.folder / INDEX).read_text())
            self.versions = index["versions"]
            self.programs = {
                (x["case"], x["program"]): x for x in index["programs"]
            }

    def compiled(self, name, key, tensors):
        """Returns the `Program` of that name, and of that case or model."""
        entry = self.programs.get((key, name))
        if entry is None:
            raise LeftOut("not among the programs written beforehand")
        if "left_out" in entry:
            raise LeftOut(entry["left_out"])
        found = [[list(x.shape), x.dtype.name] for x in tensors]
        if found != entry["arguments"]:
            raise LeftOut(
                f"it was written for {entry['arguments']}, not for {found}"
            )
        return loaded((self.folder / entry["file"]).read_bytes())


def loaded(program):
    """Returns the `Program` of bytes that `lowered` returned."""
    import jax
    from jaxlib import xla_client

    from gpu_parts.jax_programs import numpy_results
    from gpu_parts.jax_programs import planned_bytes

    device = jax.devices()[0]
    # JAX has no public name for either step.
    module = xla_client._xla.mlir.xla_computation_to_mlir_module(
        xla_client.XlaComputation(program)
    )
    executable = device.client.compile_and_load(
        module, xla_client.DeviceList((device,)), xla_client.CompileOptions()
    )
    return Program(
        lambda *tensors: executable.execute(tensors),
        jax.block_until_ready,
        numpy_results,
        planned_bytes(executable.get_compiled_memory_stats()),
    )
