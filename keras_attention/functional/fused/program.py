"""A module of one call of a library, as StableHLO text.

The call may ask for a layout of its results; the module returns them row by
row, as TensorFlow has them.
"""

import dataclasses
import json
from typing import NamedTuple

# As StableHLO has the dtypes.
ELEMENTS = {
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "f32",
    "int32": "i32",
}
NAN = {"float16": "0x7E00", "bfloat16": "0x7FC0", "float32": "0x7FC00000"}


class Tensor(NamedTuple):
    """Shape and dtype of an operand or a result.

    `heads_first` says that the call gives it as (B, N, T, H), which lies in
    memory as (B, T, N, H) does.
    """

    shape: tuple[int, ...]
    dtype: str
    heads_first: bool = False

    @property
    def text(self) -> str:
        return _text(self.shape, self.dtype)

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """The shape that the call itself has."""
        if not self.heads_first:
            return self.shape
        batch, length, heads, width = self.shape
        return batch, heads, length, width

    @property
    def raw_text(self) -> str:
        return _text(self.raw_shape, self.dtype)

    @property
    def layout(self) -> str:
        order = tuple(reversed(range(len(self.shape))))
        return _layout((3, 1, 2, 0) if self.heads_first else order)


@dataclasses.dataclass(frozen=True)
class Program:
    """A module that is one call, and what it takes and returns.

    Args:
        target: name of the call.
        settings: what the library is told, which becomes JSON, or what a typed
            call is told (version 4), strings and integers.
        operands: the `Tensor` of each operand.
        results: the `Tensor` of each result.
        version: of the custom call.
        has_workspace: whether the call asks for memory to work in, its last
            result.
    """

    target: str
    settings: dict
    operands: tuple[Tensor, ...]
    results: tuple[Tensor, ...]
    version: int = 2
    has_workspace: bool = True

    @property
    def text(self) -> str:
        """The module. It compiles on a processor too, which must not run it.

        A program for any device does not. One that was asked to be for a GPU
        may; its numbers are NaN there.
        """
        arguments = "".join(
            f", %operand{i}: {operand.text}"
            for i, operand in enumerate(self.operands)
        )
        returned = ", ".join(result.text for result in self.results)
        many, names = "", "%out"
        if len(self.results) > 1:
            many = f":{len(self.results)}"
            names = ", ".join(f"%out#{i}" for i in range(len(self.results)))
        return f"""module @attention {{
  func.func public @main(%platform: tensor<i32>{arguments}) -> ({returned}) {{
    %out{many} = "stablehlo.case"(%platform) ({{
      {self._nothing()}
    }}, {{
      {self._call()}
    }}) : (tensor<i32>) -> ({returned})
    return {names} : {returned}
  }}
}}
"""

    def _nothing(self):
        lines = [
            f"%nan{i} = stablehlo.constant dense<{NAN[result.dtype]}> : "
            f"{result.text}"
            for i, result in enumerate(self.results)
        ]
        names = [f"%nan{i}" for i in range(len(self.results))]
        return "\n      ".join([*lines, self._return(names)])

    def _call(self):
        operands = ", ".join(f"%operand{i}" for i in range(len(self.operands)))
        taken = ", ".join(operand.text for operand in self.operands)
        given = ", ".join(result.raw_text for result in self.results)
        operand_layouts = ", ".join(
            _layout(tuple(reversed(range(len(operand.shape)))))
            for operand in self.operands
        )
        layouts = ", ".join(result.layout for result in self.results)
        if self.has_workspace:
            layouts += ", " + _layout((0,))
            given += ", tensor<0xui8>"
        lines = [
            f"%call:{len(self.results) + self.has_workspace} = "
            f"stablehlo.custom_call @{self.target}({operands}) "
            f"{{api_version = {self.version} : i32, "
            f"backend_config = {self._settings()}, "
            f"operand_layouts = [{operand_layouts}], "
            f"result_layouts = [{layouts}]}} : ({taken}) -> ({given})"
        ]
        names = []
        for i, result in enumerate(self.results):
            names.append(f"%call#{i}")
            if result.heads_first:
                lines.append(
                    f"%moved{i} = stablehlo.transpose %call#{i}, dims = "
                    f"[0, 2, 1, 3] : ({result.raw_text}) -> {result.text}"
                )
                names[-1] = f"%moved{i}"
        return "\n      ".join([*lines, self._return(names)])

    def _settings(self):
        if self.version == 2:
            return _quoted(json.dumps(self.settings))
        pairs = (
            f"{name} = {_quoted(x) if isinstance(x, str) else f'{x} : i32'}"
            for name, x in self.settings.items()
        )
        return f"{{{', '.join(pairs)}}}"

    def _return(self, names):
        types = ", ".join(result.text for result in self.results)
        return f"stablehlo.return {', '.join(names)} : {types}"


def _quoted(text):
    """Returns a string of MLIR."""
    escapes = {"\\": "\\5C", '"': "\\22", "\n": "\\0A", "\t": "\\09"}
    return f'"{text.translate(str.maketrans(escapes))}"'


def _text(shape, dtype):
    sizes = "".join(f"{size}x" for size in shape)
    return f"tensor<{sizes}{ELEMENTS[dtype]}>"


def _layout(order):
    if len(order) == 1:
        return "dense<0> : tensor<1xindex>"
    axes = ", ".join(map(str, order))
    return f"dense<[{axes}]> : tensor<{len(order)}xindex>"
