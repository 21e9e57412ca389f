"""The commands of SNIPS: words, the tags of their slots, and an intent."""

import dataclasses
import json
import pathlib
import re
from typing import Any

import numpy as np

from keras_attention.examples.task import data_file
from keras_attention.examples.task import reading

SOURCE = "the folder of snips nlu-benchmark, 2017-06 (CC0): "
SOURCE += "train_INTENT_full.json and validate_INTENT.json"
INTENTS = ("AddToPlaylist", "BookRestaurant", "GetWeather", "PlayMusic")
INTENTS += ("RateBook", "SearchCreativeWork", "SearchScreeningEvent")
# Words of a command with its end, letters of a word: the rest is not read.
LENGTH, LETTERS = 24, 16
TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command: its words, a tag for each ("B-city", "O"), its intent."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    intent: str


def read_commands(
    folder: pathlib.Path, part: str, intents: tuple[str, ...] = INTENTS
) -> list[Command]:
    """Returns the commands of "train" or of "validate"."""
    pattern = {"train": "train_{}_full.json", "validate": "validate_{}.json"}
    commands = []
    for intent in intents:
        path = data_file(folder, pattern[part].format(intent))
        with reading(path, f"the commands of {intent} as JSON"):
            entries = json.loads(text_of(path.read_bytes()))[intent]
            commands += [_command(entry["data"], intent) for entry in entries]
    return commands


def text_of(content: bytes) -> str:
    """Decodes UTF-8 among which are some bytes of Latin-1, as in PlayMusic."""
    text = content.decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda m: chr(ord(m[0]) - 0xDC00), text)


def _command(chunks, intent):
    """Cuts the whole text into words, then asks which slot each begins in.

    The words must not show where slots are: they are not cut at their edges.
    """
    text, owners = "", []
    for number, chunk in enumerate(chunks):
        text += chunk["text"]
        owners += [(number, chunk.get("entity"))] * len(chunk["text"])
    words, tags, before = [], [], None
    for match in TOKEN.finditer(text):
        number, slot = owners[match.start()]
        begins = "I" if before == number else "B"
        words.append(match[0].lower())
        tags.append(f"{begins}-{slot}" if slot else "O")
        before = number
    return Command(tuple(words), tuple(tags), intent)


def make_vocabularies(commands: list[Command]) -> dict[str, Any]:
    """Returns those of words, letters, tags and intents."""
    from keras_attention import Vocabulary

    words = [" ".join(command.words) for command in commands]
    tags = [" ".join(command.tags) for command in commands]
    return {
        "words": Vocabulary.build(words, "symbols", min_count=2),
        "letters": Vocabulary.build(words, "characters"),
        "tags": Vocabulary.build(tags, "symbols"),
        "intents": sorted({command.intent for command in commands}),
    }


def encode(commands: list[Command], vocabularies: dict) -> tuple:
    """Returns the inputs of the model and its labels; 0 is padding."""

    def ids(texts, name, length):
        found = np.asarray(vocabularies[name].encode(texts, max_length=length))
        return np.pad(found, ((0, 0), (0, length - found.shape[1])))

    words = [" ".join(command.words) for command in commands]
    flat = [
        word[: LETTERS - 1] for command in commands for word in command.words
    ]
    unique = {word: row + 1 for row, word in enumerate(dict.fromkeys(flat))}
    spelt = np.pad(ids(list(unique), "letters", LETTERS), ((1, 0), (0, 0)))
    rows = np.zeros((len(commands), LENGTH), int)
    for row, command in zip(rows, commands, strict=True):
        found = [unique[word[: LETTERS - 1]] for word in command.words]
        row[: len(found[: LENGTH - 1])] = found[: LENGTH - 1]
    inputs = {"words": ids(words, "words", LENGTH), "letters": spelt[rows]}
    tags = ids([" ".join(c.tags) for c in commands], "tags", LENGTH)
    intents = [vocabularies["intents"].index(c.intent) for c in commands]
    return inputs, {"tags": tags, "intent": np.array(intents)}


def write_sample(folder: pathlib.Path) -> None:
    """Writes commands of every intent that name a thing."""
    for intent in INTENTS:
        entries = [
            {
                "data": [
                    {"text": f"{intent} "},
                    {"text": thing, "entity": "thing"},
                ]
            }
            for thing in ("the moon", "a long walk", "bread", "Bread and roses")
        ]
        for name in (f"train_{intent}_full.json", f"validate_{intent}.json"):
            text = json.dumps({intent: entries})
            (folder / name).write_text(text, encoding="utf-8")
