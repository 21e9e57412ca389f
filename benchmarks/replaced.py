"""Peak memory of Keras models, with their attention and with ours in place.

python benchmarks/replaced.py [--quick] [--lengths 1024,4096]
    [--models encoder,bert,gemma] [--passes forward,backward]

Each cell is a fresh process: a model is made, its attention replaced or not,
and one example of this many tokens goes through it. `bert` and `gemma` are
backbones of KerasHub made from a config (extra: benchmarks); `encoder` is of
Keras's own layers. Backward means forward and backward.
"""

import json
import sys

import measure

WIDTH, HEADS, DEPTH, VOCABULARY = 256, 4, 2, 1000
MODELS = ("encoder", "bert", "gemma")
LENGTHS = (1024, 2048, 4096)
PASSES = ("forward", "backward")
WARM = 64  # length of the call before, which pays for all but the length


def encoder():
    import keras
    from keras import layers

    ids = keras.Input((None,), dtype="int32", name="token_ids")
    x = layers.Embedding(VOCABULARY, WIDTH)(ids)
    for _ in range(DEPTH):
        attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
        x = layers.LayerNormalization()(x + attention(x, x))
        hidden = layers.Dense(2 * WIDTH, "relu")(x)
        x = layers.LayerNormalization()(x + layers.Dense(WIDTH)(hidden))
    return keras.Model({"token_ids": ids}, x)


def bert():
    import keras_hub

    return keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY,
        num_layers=DEPTH,
        num_heads=HEADS,
        hidden_dim=WIDTH,
        intermediate_dim=2 * WIDTH,
        max_sequence_length=max(LENGTHS),
    )


def gemma():
    import keras_hub

    return keras_hub.models.GemmaBackbone(
        vocabulary_size=VOCABULARY,
        num_layers=DEPTH,
        num_query_heads=HEADS,
        num_key_value_heads=1,
        hidden_dim=WIDTH,
        intermediate_dim=4 * WIDTH,
        head_dim=WIDTH // HEADS,
    )


def inputs(model, length):
    import numpy as np

    ids = np.random.default_rng(0).integers(1, VOCABULARY, (1, length))
    possible = {
        "token_ids": ids,
        "padding_mask": np.ones_like(ids),
        "segment_ids": np.zeros_like(ids),
    }
    return {name: possible[name].astype("int32") for name in model.input}


def call_of(model, passed):
    import keras
    import tensorflow as tf

    @tf.function(autograph=False, reduce_retracing=True)
    def run(tensors):
        if passed == "forward":
            return keras.tree.flatten(model(tensors))[-1]
        with tf.GradientTape() as tape:
            output = keras.tree.flatten(model(tensors, training=True))
            loss = sum(tf.reduce_sum(tf.square(x)) for x in output)
        gradients = tape.gradient(loss, model.trainable_variables)
        return [tf.convert_to_tensor(x) for x in gradients if x is not None]

    return run


def cell(name, whose, passed, length):
    """Prints by how many MiB the call makes this process grow."""
    model = {"encoder": encoder, "bert": bert, "gemma": gemma}[name]()
    if whose == "ours":
        import keras_attention as ka

        replacement = ka.replace_attention(model)
        assert len(replacement.changed) == DEPTH, replacement
        model = replacement.model
    run = call_of(model, passed)
    measure.finish(run(inputs(model, WARM)))
    arrays = inputs(model, int(length))
    print(json.dumps(measure.growth(lambda: measure.finish(run(arrays)))))


def shown(*arguments):
    peak = measure.run_cell(sys.argv[0], *arguments)
    return "failed" if peak is None else f"{peak:,.0f}"


def main():
    parser = measure.parser_of(
        __doc__, lengths=LENGTHS, models=MODELS, passes=PASSES
    )
    parser.add_argument("--cell", nargs=4)
    options = parser.parse_args()
    if options.cell:
        cell(*options.cell)
        return
    if options.quick:
        options.lengths, options.models = (1024,), ("encoder",)
    measure.print_header("Peak memory of a model, attention replaced, MiB")
    for passed in options.passes:
        print(f"\n{'forward + ' * (passed == 'backward')}{passed}\n")
        rows = (
            [
                f"{name}, {title}",
                *(shown(name, whose, passed, n) for n in options.lengths),
            ]
            for name in options.models
            for whose, title in (("keras", "before"), ("ours", "after"))
        )
        measure.print_table(["", *map(str, options.lengths)], rows)


if __name__ == "__main__":
    main()
