"""The stories of bAbI, the questions about them, and their ids."""

import itertools
import pathlib
from typing import Any

import numpy as np

from keras_attention.examples.task import data_file
from keras_attention.examples.task import reading

FILES = {
    "1": "qa1_single-supporting-fact",
    "2": "qa2_two-supporting-facts",
    "4": "qa4_two-arg-relations",
    "6": "qa6_yes-no-questions",
}
WORDS = 10  # of the longest sentence, and its end
SOURCE = "a folder of Facebook's bAbI tasks, en-10k (CC BY 3.0)"
# A model of the paper.
PUBLISHED = {
    "1": "50 (LSTM, 1,000 questions)",
    "2": "20 (LSTM, 1,000 questions)",
}
Question = tuple[list[str], str, str]  # sentences so far, question, answer


def read_task(
    folder: pathlib.Path, number: str
) -> tuple[list[Question], list[Question]]:
    """Returns the questions of a task to train on, and those to test."""
    names = (f"{FILES[number]}_{part}.txt" for part in ("train", "test"))
    train, test = (read_questions(data_file(folder, name)) for name in names)
    return train, test


def read_questions(path: pathlib.Path) -> list[Question]:
    """Returns (sentences of the story so far, question, answer) of a file."""
    questions, story = [], []
    with reading(path, "stories of bAbI, with questions"):
        for line in path.read_text(encoding="utf-8").splitlines():
            number, _, text = line.partition(" ")
            if number == "1":
                story = []
            if "\t" in text:
                question, answer, _ = text.split("\t")
                questions.append((list(story), _words(question), answer))
            else:
                story.append(_words(text))
        if not questions:
            raise ValueError("no question")
    return questions


def _words(text):
    return text.lower().strip(" .?").replace("?", "")


def encode(
    questions: list[Question],
    vocabulary: Any,
    answers: list[str],
    memories: int,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the ids of stories and questions, and the numbers of answers.

    Args:
        questions: as `read_questions` has them.
        vocabulary: a `Vocabulary` of words.
        answers: all answers; one that is not among them has the number -1.
        memories: how many sentences are kept, the last ones.

    Returns:
        {"story": (questions, memories, words), the last sentence first,
        "question": (questions, words)} with 0 as padding, and (questions,).
    """
    texts = [text for story, asked, _ in questions for text in (*story, asked)]
    unique = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    rows = np.asarray(vocabulary.encode(list(unique), max_length=WORDS))
    rows = np.pad(rows, ((0, 1), (0, WORDS - rows.shape[1])))  # none: zeros
    places = np.full((len(questions), memories), len(unique))
    for place, (story, _, _) in zip(places, questions, strict=True):
        last = [unique[text] for text in reversed(story[-memories:])]
        place[: len(last)] = last
    asked = [unique[question] for _, question, _ in questions]
    numbers = {answer: number for number, answer in enumerate(answers)}
    labels = np.array([numbers.get(answer, -1) for *_, answer in questions])
    return {"story": rows[places], "question": rows[asked]}, labels


def share_right(model: Any, inputs: Any, labels: np.ndarray) -> float:
    """Returns the share of right answers; one never trained on is wrong."""
    logits = model.predict(inputs, batch_size=200, verbose=0)
    return np.mean(logits.argmax(axis=-1) == labels)


def write_sample(folder: pathlib.Path) -> None:
    """Writes stories of one person who walks about, as task 1 has them."""
    rooms, lines = ("kitchen", "garden", "office"), []
    for first, second in itertools.product(rooms, rooms):
        lines += [
            f"1 Mary moved to the {first}.",
            f"2 Where is Mary? \t{first}\t1",
            f"3 Mary went to the {second}.",
            f"4 Where is Mary? \t{second}\t3",
        ]
    for name, part in itertools.product(FILES.values(), ("train", "test")):
        path = folder / f"{name}_{part}.txt"
        path.write_text("\n".join(lines * 3) + "\n", encoding="utf-8")
