"""What lies beside the file of another runtime: vocabularies, and a guide.

The guide holds a whole program from text to text that needs neither
TensorFlow nor this package.
"""

import dataclasses
import pathlib
import string

import tensorflow as tf

from keras_attention import files
from keras_attention.export import guide
from keras_attention.export import runtime_texts as texts
from keras_attention.export import search_texts
from keras_attention.export.records import BATCH
from keras_attention.export.records import SOURCE_LENGTH
from keras_attention.export.records import TensorRecord
from keras_attention.export.whole_search import WholeSearch
from keras_attention.models import vocabularies

README = "README.md"
# A folder that is replaced holds the file of its runtime, and these at most.
OTHER_FILES = (README, *(f"{name}.json" for name in vocabularies.NAMES))


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What runs a file.

    Args:
        title: what it is called.
        file: name of the file it runs.
        packages: what a Python program needs, for pip.
        start: lines of Python that make `search`, a function of named arrays
            that returns a dict.
    """

    title: str
    file: str
    packages: str
    start: str


ONNX = Runtime(
    title="onnxruntime",
    file="model.onnx",
    packages="numpy onnxruntime",
    start="""\
import onnxruntime

session = onnxruntime.InferenceSession(
    "model.onnx", providers=["CPUExecutionProvider"]
)
names = [output.name for output in session.get_outputs()]


def search(**inputs):
    return dict(zip(names, session.run(names, inputs)))
""",
)
LITERT = Runtime(
    title="LiteRT",
    file="model.tflite",
    packages="numpy ai-edge-litert",
    start="""\
from ai_edge_litert.interpreter import Interpreter

search = Interpreter("model.tflite").get_signature_runner()
""",
)


def check_free(folder: pathlib.Path, runtime: Runtime, overwrite: bool) -> None:
    """Checks that `write` may write, and raises a ValueError if not."""
    files.check_free(folder, overwrite, (runtime.file,), OTHER_FILES)


def write(
    folder: pathlib.Path,
    data: bytes,
    traced: WholeSearch,
    runtime: Runtime,
    overwrite: bool,
) -> None:
    """Writes the folder of a file, whole or not at all.

    Args:
        folder: path of the new folder.
        data: the bytes of the file.
        traced: what the file was made of.
        runtime: what runs it.
        overwrite: whether to replace an earlier folder at this path.
    """
    with files.replace_folder(
        folder, (runtime.file,), overwrite, OTHER_FILES
    ) as new:
        (new / runtime.file).write_bytes(data)
        _describe(new, traced, runtime)


def _describe(folder, traced, runtime):
    """Writes the vocabularies and `README.md` beside the file."""
    found = vocabularies.of(traced.model)
    for name, vocabulary in found.items():
        if vocabularies.has_file(vocabulary):
            vocabulary.save(folder / f"{name}.json")
    names = list(found)
    text = texts.GUIDE.substitute(
        title=runtime.title,
        file=runtime.file,
        packages=runtime.packages,
        search=traced.search,
        scores=search_texts.scores_of(traced.search),
        order=search_texts.order_of(traced.search),
        count=traced.num_hypotheses,
        max_length=traced.max_length,
        length=_of_length(traced),
        batch=_of_batch(traced),
        tensorflow=tf.__version__,
        table="\n".join(_rows_of_table(traced)),
        vocabularies=_of_vocabularies(found),
        example=_example(traced, runtime, found, names[0], names[-1]),
    )
    (folder / README).write_text(text, encoding="utf-8")


def _of_length(traced):
    if traced.inputs[0].axes[1] != SOURCE_LENGTH:
        return "Sources are read whole."
    return (
        f"Longest source: {traced.max_source_length} positions; what is "
        "longer is cut."
    )


def _of_batch(traced):
    if traced.batch_size is None:
        return "Sources in one call: any number."
    return (
        f"Sources in one call: {traced.batch_size}, no more and no fewer; a\n"
        "  row of one id 2 stands for no source."
    )


def _rows_of_table(traced):
    rows = traced.batch_size or BATCH
    several = (rows, traced.num_hypotheses)
    axes = (*several, traced.max_length)
    outputs = {
        "tokens": TensorRecord("tokens", "int32", axes),
        "scores": TensorRecord("scores", "float32", several),
        "lengths": TensorRecord("lengths", "int32", several),
        "alignments": TensorRecord(
            "alignments", "float32", (*axes, SOURCE_LENGTH)
        ),
    }
    for record in traced.inputs:
        fixed = dataclasses.replace(record, axes=(rows, *record.axes[1:]))
        yield f"| input | {fixed} |"
    for name in traced.outputs:
        yield f"| output | {outputs[name]} |"


def _of_vocabularies(found):
    kinds = {
        "pieces": texts.OF_PIECES,
        **dict.fromkeys(texts.CUTS, texts.OF_TOKENS),
    }
    told = []
    for name, vocabulary in found.items():
        unit = getattr(vocabulary, "unit", None)
        phrase = texts.OF_NOBODY if vocabulary is None else texts.OF_OTHERS
        if vocabularies.has_file(vocabulary):
            phrase = kinds.get(unit, texts.OF_OTHERS)
        function = "join" if name == "target_vocabulary" else "cut"
        told.append(
            string.Template(phrase).substitute(
                file=f"{name}.json", unit=unit, function=function
            )
        )
    return "\n\n".join(told)


def _example(traced, runtime, found, source, target):
    """Returns a program from text to text, or from ids or arrays to ids."""
    reads, writes = (_is_plain(found[name]) for name in (source, target))
    imports = "import json\n\n" if reads or writes else ""
    program = [f"{imports}import numpy as np\n{runtime.start}"]
    if reads:
        is_prompt = source == target  # of which the file reads the last ids
        values = {
            "file": f"{source}.json",
            "cut": texts.CUTS[found[source].unit],
            "before_end": "" if is_prompt else traced.max_source_length - 1,
        }
        program.append(texts.READS_TEXT.substitute(values))
    if writes:
        values = {
            "file": f"{target}.json",
            "join": texts.JOINS[found[target].unit],
        }
        program.append(texts.WRITES_TEXT.substitute(values))
    program.append(_call(traced, found[source] if reads else None, writes))
    return "".join(program)


def _is_plain(vocabulary):
    """Whether a few lines of Python cut and join its texts."""
    has_file = vocabularies.has_file(vocabulary)
    return has_file and getattr(vocabulary, "unit", None) in texts.CUTS


def _call(traced, vocabulary, writes):
    rows = traced.batch_size or 1
    if vocabulary is None:
        arrays = [
            f"{record.name}={guide.example_of(record, rows).format('np')}"
            for record in traced.inputs
        ]
    else:
        sample = guide.sample_text(vocabulary)
        arrays = [f"ids=ids_of({[sample] * rows!r})"]
    ids = 'answer["tokens"][0, 0]'
    shown = f"text_of({ids})" if writes else ids
    return f"""

answer = search({", ".join(arrays)})
print({shown}, answer["scores"][0, 0])
"""
