"""Spelling to phonemes with one mechanism after the other.

python benchmarks/spelling_mechanisms.py --data FOLDER [--words 20000]
    [--epochs 6] [--only "local-m,local-p"]

FOLDER holds `train.txt` of g014b2b: WORD, tab, phonemes with spaces between.
Its last 2,670 words of a shuffle are not trained on. Luong et al. 2015 (arXiv
1508.04025) introduced the local kinds; on these words their error is a little
above that of global attention.
"""

import argparse
import pathlib
import random
import time

import keras
import tensorflow as tf
from mechanism_kinds import mechanisms

import keras_attention as ka

HELD_OUT, BATCH, UNITS = 2670, 128, 128


def pairs_of(folder, number):
    """Returns pairs to train on, and pairs to test."""
    path = pathlib.Path(folder) / "train.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    random.Random(0).shuffle(lines)
    pairs = [tuple(line.split("\t")) for line in lines]
    pairs = [(" ".join(word), phonemes) for word, phonemes in pairs]
    return pairs[:-HELD_OUT][:number], pairs[-HELD_OUT:]


def error_rates(model, pairs):
    """Returns phoneme and word error rate of greedy answers, in per cent."""
    answers = model.generate([word for word, _ in pairs], verbose=0).texts[:, 0]
    edits = phonemes = wrong = 0
    for answer, (_, wanted) in zip(answers, pairs, strict=True):
        wanted = wanted.split()
        distance = ka.training.edit_distance(answer.split(), wanted)
        edits, phonemes = edits + distance, phonemes + len(wanted)
        wrong += distance > 0
    return 100 * edits / phonemes, 100 * wrong / len(pairs)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="folder of train.txt")
    parser.add_argument("--words", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--only", help="mechanisms, with commas between")
    options = parser.parse_args()
    kinds = mechanisms(UNITS // 2)
    names = options.only.split(",") if options.only else list(kinds)
    trained, tested = pairs_of(options.data, options.words)
    source, target = (
        ka.Vocabulary.build((pair[side] for pair in trained), unit="symbols")
        for side in (0, 1)
    )
    data = ka.training.make_dataset(trained, source, target, batch_size=BATCH)
    data = data.prefetch(tf.data.AUTOTUNE)
    print("| mechanism | PER | WER | seconds an epoch |\n|---|---|---|---|")
    for name in names:
        keras.utils.set_random_seed(0)
        model = ka.Seq2Seq(
            ka.RNNEncoder(len(source), UNITS // 2),
            ka.RNNDecoder(len(target), UNITS, kinds[name]()),
            source_vocabulary=source,
            target_vocabulary=target,
            max_length=32,
        )
        model.compile(
            keras.optimizers.Adam(3e-3, global_clipnorm=5.0),
            ka.training.MaskedCrossentropy(),
        )
        start = time.perf_counter()
        model.fit(data, epochs=options.epochs, shuffle=False, verbose=0)
        seconds = (time.perf_counter() - start) / options.epochs
        per, wer = error_rates(model, tested)
        print(f"| {name} | {per:.2f} | {wer:.2f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
