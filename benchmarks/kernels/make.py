"""Makes the PTX of the package of `additive.py`, offline: no GPU is needed.

    pip install --target /tmp/triton triton==3.9.0
    PYTHONPATH=/tmp/triton python benchmarks/kernels/make.py [folder]

Nothing of the package needs Triton when it runs: XLA gives the PTX to the
driver, which compiles it for its GPU. It is made for compute capability 8.0
and for PTX 8.0 (CUDA 12.0), so that all from A100 on can run it.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Before Triton is imported: no path of this machine goes into the text, and
# products and sums are fused whatever the default of the version.
os.environ["TRITON_DISABLE_LINE_INFO"] = "1"
os.environ["TRITON_DEFAULT_FP_FUSION"] = "1"

import additive
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

FOLDER = Path(__file__).parents[2] / "keras_attention/functional/fused/ptx"
SOURCE = Path(additive.__file__)
TARGET = GPUTarget("cuda", 80, 32)
# One warp is one program, so that no sum over units waits for a barrier; with
# sixteen numbers of each tile to a thread nothing leaves its registers.
OPTIONS = {"num_warps": 1, "ptx_version": 80}
ROWS = {64: 8, 128: 4, 256: 2}
# Bytes of a thread: a few registers, kept elsewhere outside of the loop.
MOST_SPILLED = 32
KERNELS = ("forward", "query_gradients", "key_gradients")


def compiled(name, width):
    """Returns the kernel, for units and values of this width."""
    function = getattr(additive, name)
    pointers = [x for x in function.arg_names if x.islower()]
    integers = ("query_lengths", "key_lengths", "is_small", "sizes")
    source = ASTSource(
        fn=function,
        signature={
            **{x: "*i32" if x in integers else "*fp32" for x in pointers},
            "ROWS": "constexpr",
            "WIDTH": "constexpr",
        },
        constexprs={"ROWS": ROWS[width], "WIDTH": width},
        # XLA aligns each buffer so.
        attrs={(i,): [["tt.divisibility", 16]] for i in range(len(pointers))},
    )
    return triton.compile(source, target=TARGET, options=OPTIONS)


def without_scratch(text):
    """Returns PTX without the last two parameters of its entry.

    Triton adds two pointers to memory that kernels like these do not ask for,
    and XLA has nothing to pass.
    """
    entry = re.search(r"\.entry \w+\((.*?)\n\)", text, re.S).group(1)
    parameters = entry.split(",\n")
    for parameter in parameters[-2:]:
        name = parameter.split()[-1]
        if len(re.findall(rf"\b{name}\b", text)) != 1:
            raise RuntimeError(f"{name} is read: it cannot be left out")
    return text.replace(entry, ",\n".join(parameters[:-2]))


def check(text):
    """Assembles PTX for two generations; raises if it fails or spills much."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(text)
        for architecture in ("sm_80", "sm_90"):
            report = subprocess.run(
                [knobs.nvidia.ptxas.path, "-v", f"-arch={architecture}"]
                + [str(path), "-o", str(path.with_suffix(".cubin"))],
                capture_output=True,
                text=True,
                check=True,
            ).stderr
            registers = re.search(r"Used \d+ registers", report).group()
            spilled = int(re.search(r"(\d+) bytes spill stores", report)[1])
            if spilled > MOST_SPILLED:
                raise RuntimeError(report)
            print(f"  {architecture}: {registers}, {spilled} bytes spilled")


def main(folder=FOLDER):
    Path(folder).mkdir(exist_ok=True)
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    for name in KERNELS:
        for width, rows in ROWS.items():
            kernel = compiled(name, width)
            sizes = kernel.metadata
            if sizes.global_scratch_size or sizes.profile_scratch_size:
                raise RuntimeError(f"{name} asks for memory of its own")
            text = without_scratch(kernel.asm["ptx"])
            header = (
                f"// additive.py, sha256 {digest}\n"
                f"// Triton {triton.__version__}\n"
                f"// rows {rows}\n"
                f"// shared_mem_bytes {sizes.shared}\n"
            )
            path = Path(folder) / f"additive_{name}_{width}.ptx"
            print(f"{path.name}: {len(text)} characters")
            check(text)
            path.write_text(header + text, encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
