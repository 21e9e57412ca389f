"""What lies beside the file of another runtime: vocabularies, and a guide.

The guide holds a whole program from text to text that needs neither
TensorFlow nor this package.
"""

import dataclasses
import pathlib
import string

import tensorflow as tf

from keras_attention.export import guide
from keras_attention.export.records import BATCH
from keras_attention.export.records import SOURCE_LENGTH
from keras_attention.export.records import TensorRecord
from keras_attention.export.whole_search import WholeSearch
from keras_attention.models import vocabularies
from keras_attention.text import units

README = "README.md"


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

GUIDE = string.Template("""\
# This model in $title

`$file` holds the encoder, the decoder and the search with its loop:
ids go in, ids come out. It needs $title alone, in any language that has it.

- Search: `$search`, which finds n = $count targets of each source.
- Longest target: $max_length tokens, the end (id 2) counted.
- Longest source: $max_source_length; what is longer is cut.
- $batch
- Written with TensorFlow $tensorflow.

## Inputs and outputs

| name | what |
|---|---|
$table

Id 0 is padding, which stands at the end of a row and is ignored; 1 is the
begin, which no text holds; 2 is the end of a text; 3 is whatever the
vocabulary does not know. Hypotheses come best first; where fewer than n were
found, the others are empty and score -infinity. A score is the sum of the log
probabilities of the tokens, divided by the length penalty of the search if it
has one.

## Text

$vocabularies

## Example

`pip install $packages`, then in this folder

```python
$example```
""")

OF_TOKENS = """\
`$file` is JSON in UTF-8. In it `tokens` lists the tokens,
each at its id, and `unit` says how they make a text: `$unit`, as
`$function` below does it."""
OF_PIECES = """\
`$file` is JSON in UTF-8. Its `pieces` have the ids from 4
on, in their order. Texts are cut into pieces, and pieces joined, by the
tokenizer that the vocabulary was read from, or by `read_vocabulary` of
`keras_attention.text`."""
OF_OTHERS = """\
There is no `$file`: the model was built with a tokenizer of
the caller's own."""
OF_NOBODY = """\
There is no `$file`: the model was built without that
vocabulary."""

CUTS = {
    "characters": "    return list(text)\n",
    "symbols": '    return [token for token in text.split(" ") if token]\n',
    "words": f'''\
    import regex  # pip install regex

    text = regex.sub(r"{units.SEPARATORS}", " ", text.lower())
    return regex.findall(
        r"{units.WORD}",
        text,
    )
''',
}
JOINS = {
    "characters": '    return "".join(tokens)\n',
    "symbols": '    return " ".join(tokens)\n',
    "words": f"""\
    closing = "{units.CLOSING_PUNCTUATION}"
    joined = "".join(t if t in closing else " " + t for t in tokens)
    return joined.removeprefix(" ")
""",
}

READS_TEXT = string.Template("""

def cut(text):
$cut

with open("$file", encoding="utf-8") as file:
    tokens = json.load(file)["tokens"]
known = {token: id for id, token in enumerate(tokens) if id > 3}


def ids_of(texts):
    rows = [[known.get(token, 3) for token in cut(text)] for text in texts]
    rows = [[*row[:$before_end], 2] for row in rows]
    length = max(map(len, rows))
    rows = [row + [0] * (length - len(row)) for row in rows]
    return np.array(rows, "int32")
""")
WRITES_TEXT = string.Template("""

def join(tokens):
$join

with open("$file", encoding="utf-8") as file:
    said = json.load(file)["tokens"]


def text_of(ids):
    ids = list(ids)
    ids = ids[: ids.index(2)] if 2 in ids else ids
    return join([said[id] for id in ids if id > 1])
""")


def write(folder: pathlib.Path, traced: WholeSearch, runtime: Runtime) -> None:
    """Writes the vocabularies and `README.md` into `folder`.

    Args:
        folder: path of a folder that holds the file.
        traced: what the file was made of.
        runtime: what runs it.
    """
    found = vocabularies.of(traced.model)
    for name, vocabulary in found.items():
        if vocabularies.has_file(vocabulary):
            vocabulary.save(folder / f"{name}.json")
    names = list(found)
    text = GUIDE.substitute(
        title=runtime.title,
        file=runtime.file,
        packages=runtime.packages,
        search=traced.search,
        count=traced.num_hypotheses,
        max_length=traced.max_length,
        max_source_length=traced.max_source_length,
        batch=_of_batch(traced),
        tensorflow=tf.__version__,
        table="\n".join(_rows_of_table(traced)),
        vocabularies=_of_vocabularies(found),
        example=_example(traced, runtime, found, names[0], names[-1]),
    )
    (folder / README).write_text(text, encoding="utf-8")


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
    for name in traced.function.structured_outputs:
        yield f"| output | {outputs[name]} |"


def _of_vocabularies(found):
    kinds = {"pieces": OF_PIECES, **dict.fromkeys(CUTS, OF_TOKENS)}
    told = []
    for name, vocabulary in found.items():
        unit = getattr(vocabulary, "unit", None)
        phrase = OF_NOBODY if vocabulary is None else OF_OTHERS
        if vocabulary is not None and vocabularies.has_file(vocabulary):
            phrase = kinds.get(unit, OF_OTHERS)
        function = "join" if name == "target_vocabulary" else "cut"
        told.append(
            string.Template(phrase).substitute(
                file=f"{name}.json", unit=unit, function=function
            )
        )
    return "\n\n".join(told)


def _example(traced, runtime, found, source, target):
    """Returns a program from text to text, or from ids or arrays to ids."""
    reads, writes = (
        getattr(found[name], "unit", None) in CUTS for name in (source, target)
    )
    imports = "import json\n\n" if reads or writes else ""
    program = [f"{imports}import numpy as np\n{runtime.start}"]
    if reads:
        end = traced.max_source_length - 1
        unit = found[source].unit
        program.append(
            READS_TEXT.substitute(
                file=f"{source}.json", cut=CUTS[unit], before_end=end
            )
        )
    if writes:
        unit = found[target].unit
        program.append(
            WRITES_TEXT.substitute(file=f"{target}.json", join=JOINS[unit])
        )
    program.append(_call(traced, found[source] if reads else None, writes))
    return "".join(program)


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
