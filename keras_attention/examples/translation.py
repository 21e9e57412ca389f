"""English to German on Multi30k: 29,000 captions of photographs.

    python -m keras_attention.examples.translation --data multi30k \\
        --output translation

trains a Transformer that is narrow, deep and full of dropout, since the data
is small. Both sides are lower-cased tokens, and one table of embeddings serves
both languages and the logits. BLEU is counted on such tokens; beside it, on
German as it is written. The validation set chooses the epoch, or the mean of
the last ones, and the length penalty; the test sets are looked at once. The
same command goes on with a training that was cut short.
"""

import sys
import types
from collections.abc import Sequence

from keras_attention.cli import values
from keras_attention.cli.parser import Parser
from keras_attention.examples import captions
from keras_attention.examples import task
from keras_attention.examples import text_to_text

PUBLISHED = {
    "test_2016_flickr": "41.02 BLEU (Transformer-tiny, Wu et al. 2021)"
}
UNITS = {"words": "symbols"}  # of tokens with spaces between
PENALTIES = (0.6, 1.0, 1.4)
RECIPE = {
    "unit": "pieces",
    "vocabulary_size": 10_000,
    "units": 128,
    "feed_forward_units": 256,
    "num_heads": 4,
    "num_layers": 4,
    "dropout": 0.3,
    "attention_dropout": 0.1,
    "label_smoothing": 0.1,
    "epochs": 80,
    "batch_tokens": 4096,
    "learning_rate": 5e-3,
    "warmup_steps": 1000,
    "average": 5,
    "beam": 5,
}
QUICK = {"units": 8, "feed_forward_units": 8, "num_layers": 1, "epochs": 1}
QUICK |= {"unit": "words", "batch_tokens": 64, "warmup_steps": 0, "beam": 2}


def run(options: types.SimpleNamespace) -> list[task.Result]:
    """Trains, chooses on the validation set, and measures on both tests."""
    from keras_attention import Beam
    from keras_attention import Greedy
    from keras_attention.training import bleu

    def lower(pairs):
        return [tuple(map(captions.tokenized, pair)) for pair in pairs]

    def translate(pairs, search):
        sources = [source for source, _ in pairs]
        return text_to_text.generate(model, sources, search)

    def score(pairs, texts):
        return bleu([target for _, target in pairs], texts, "none")

    pairs = captions.read_split(options.data, "train")
    held_out = lower(captions.read_split(options.data, "val"))
    unit = UNITS.get(options.unit, options.unit)
    model, minutes = text_to_text.train(
        options,
        RECIPE,
        lower(pairs),
        held_out,
        source_unit=unit,
        target_unit=unit,
        shared_vocabulary=True,
        share_embeddings=True,
        tie_embeddings=True,
        monitor="bleu",
        bleu_tokenizer="none",
    )
    penalties = PENALTIES[: 1 if options.quick else None]
    beams = [Beam(options.beam, length_penalty=p) for p in penalties]
    scores = [score(held_out, translate(held_out, beam)) for beam in beams]
    print(f"BLEU of the validation set with {penalties}: {scores}")
    beam = beams[scores.index(max(scores))]
    case = captions.usual_case([target for _, target in pairs])
    results = []
    for name in captions.TESTS:
        raw = captions.read_split(options.data, name)
        test = lower(raw)
        found = translate(test, beam)
        greedy = score(test, translate(test, Greedy()))
        sentences = [captions.written(text, case) for text in found]
        cased = bleu([target for _, target in raw], sentences)
        results.append(
            task.Result(
                f"translation en -> de, {options.unit}, beam {options.beam}",
                f"Multi30k, {name}",
                model.count_params(),
                minutes,
                f"{score(test, found):.2f} BLEU (greedy {greedy:.2f}; as "
                f"written, sacreBLEU 13a, {cased:.2f})",
                PUBLISHED.get(name, "none"),
            )
        )
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="translation",
        description="Translate captions of photographs, English to German.",
        recipe=RECIPE,
        quick=QUICK,
        source=captions.SOURCE,
        write_sample=captions.write_sample,
        add_options=_add_unit,
    )


def _add_unit(parser: Parser) -> None:
    parser.add_option(
        "--unit",
        type=values.choice(["pieces", "words"]),
        metavar="NAME",
        default=RECIPE["unit"],
        help="what both sides are cut into: pieces, words",
    )


if __name__ == "__main__":
    sys.exit(main())
