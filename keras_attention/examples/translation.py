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
from typing import Any

from keras_attention.cli import values
from keras_attention.cli.parser import Parser
from keras_attention.examples import multi30k
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
    "epochs": 40,
    "batch_tokens": 2048,
    "learning_rate": 2.5e-3,
    "warmup_steps": 1000,
    "average": 5,
    "beam": 5,
}
QUICK = {"units": 8, "feed_forward_units": 8, "num_layers": 1, "epochs": 1}
QUICK |= {"unit": "words", "batch_tokens": 64, "warmup_steps": 0, "beam": 2}


def lowered(pairs: Sequence) -> list[tuple[str, str]]:
    """Returns pairs as lower-cased tokens with spaces between."""
    return [tuple(map(multi30k.tokenized, pair)) for pair in pairs]


def translated(model: Any, pairs: Sequence, search: Any) -> tuple:
    """Returns the translations of the sources, and their BLEU."""
    from keras_attention.training import bleu

    sources, targets = zip(*pairs, strict=True)
    texts = text_to_text.generate(model, sources, search)
    return texts, bleu(targets, texts, tokenizer="none")


def chosen_beam(model: Any, pairs: Sequence, options: Any) -> Any:
    """Returns the beam search with the length penalty that does best."""
    from keras_attention import Beam

    penalties = PENALTIES[: 1 if options.quick else None]
    beams = [Beam(options.beam, length_penalty=p) for p in penalties]
    scores = [translated(model, pairs, beam)[1] for beam in beams]
    print(f"BLEU of the validation set with {penalties}: {scores}")
    return beams[scores.index(max(scores))]


def run(options: types.SimpleNamespace) -> list[task.Result]:
    """Trains, chooses on the validation set, and measures on both tests."""
    from keras_attention import Greedy
    from keras_attention.training import bleu

    written = multi30k.read_split(options.data, "train")
    held_out = lowered(multi30k.read_split(options.data, "val"))
    pairs, unit = lowered(written), UNITS.get(options.unit, options.unit)
    model, minutes = text_to_text.train(
        options,
        RECIPE,
        pairs,
        held_out,
        share_embeddings=True,
        tie_embeddings=True,
        monitor="bleu",
        bleu_tokenizer="none",
        max_measured=None,
        **text_to_text.one_vocabulary(unit, options.vocabulary_size, pairs),
    )
    beam = chosen_beam(model, held_out, options)
    case = multi30k.usual_case([german for _, german in written])
    results = []
    for name in multi30k.TESTS:
        test = multi30k.read_split(options.data, name)
        texts, best = translated(model, lowered(test), beam)
        _, greedy = translated(model, lowered(test), Greedy())
        sentences = [multi30k.written(text, case) for text in texts]
        cased = bleu([german for _, german in test], sentences)
        result = task.Result(
            task=f"translation en -> de, {options.unit}, beam {options.beam}",
            data=f"Multi30k, {name}",
            parameters=model.count_params(),
            minutes=minutes,
            figure=f"{best:.2f} BLEU (greedy {greedy:.2f}; as written, "
            f"sacreBLEU 13a, {cased:.2f})",
            published=PUBLISHED.get(name, "none"),
        )
        results.append(result)
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
        source=multi30k.SOURCE,
        write_sample=multi30k.write_sample,
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
