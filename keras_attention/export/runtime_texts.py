"""The texts of the guide to a file; `runtime_folder` fills them in."""

import string

from keras_attention.text import units

GUIDE = string.Template("""\
# This model in $title

`$file` holds the encoder, the decoder and the search with its loop:
ids go in, ids come out. It needs $title alone, in any language that has it.

- Search: `$search`, which finds n = $count targets of each source.
- Longest target: $max_length tokens, the end (id 2) counted.
- $length
- $batch
- Written with TensorFlow $tensorflow.

## Inputs and outputs

| name | what |
|---|---|
$table

Id 0 is padding, which stands at the end of a row and is ignored; 1 is the
begin, which no text holds; 2 is the end of a text; 3 is whatever the
vocabulary does not know.
$scores
$order

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
