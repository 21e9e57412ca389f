"""The peers of `decoding.py`: the same model, random weights, other engines.

Each function takes the sizes and returns, for one batch and one search, a
function of no arguments that decodes `steps` tokens for each row and returns
them, (batch, steps). The end of a sequence is never chosen.
"""

import functools
import tempfile

import numpy as np

BOS, EOS = 1, 2


def peers(sizes):
    """Returns a dict from name to a function (source, beams, steps) -> run."""
    return {
        "CTranslate2 float32": lambda: ctranslate2_peer(sizes, "float32"),
        "CTranslate2 int8": lambda: ctranslate2_peer(sizes, "int8"),
        "KerasHub compiled": lambda: keras_hub_peer(sizes, True),
        "KerasHub not compiled": lambda: keras_hub_peer(sizes, False),
        "Transformers (PyTorch)": lambda: transformers_peer(sizes),
    }


def ctranslate2_peer(sizes, compute_type):
    """The C++ engine, on a model of the same sizes."""
    import ctranslate2

    folder = ctranslate2_model(sizes)
    translator = ctranslate2.Translator(
        folder, device="cpu", compute_type=compute_type
    )

    def peer(source, beams, steps):
        rows = [[f"t{token}" for token in row] for row in source]

        def run():
            found = translator.translate_batch(
                rows,
                beam_size=beams,
                max_batch_size=0,
                min_decoding_length=steps,
                max_decoding_length=steps,
                return_scores=True,
            )
            return np.array(
                [[int(t[1:]) for t in row.hypotheses[0]] for row in found]
            )

        return run

    return peer


@functools.cache
def ctranslate2_model(sizes):
    """Writes a model of random weights by the converter's own specification."""
    from ctranslate2.specs import transformer_spec

    generator = np.random.default_rng(0)
    spec = transformer_spec.TransformerSpec.from_config(
        sizes.layers, sizes.heads, pre_norm=True
    )
    encodings = positions(sizes)
    for side in (spec.encoder, spec.decoder):
        embeddings = side.embeddings
        if isinstance(embeddings, list):
            (embeddings,) = embeddings
        embeddings.weight = normal(
            generator, sizes.vocabulary, sizes.units, 1 / sizes.units**0.5
        )
        side.position_encodings.encodings = encodings
        fill_normalization(side.layer_norm, sizes.units)
        for layer in side.layer:
            fill_layer(layer, generator, sizes)
    fill_dense(
        spec.decoder.projection, generator, sizes.units, sizes.vocabulary
    )
    spec.decoder.projection.bias[:4] = -100.0  # the special tokens
    names = ["<blank>", "<s>", "</s>", "<unk>"]
    names += [f"t{token}" for token in range(4, sizes.vocabulary)]
    spec.register_source_vocabulary(names)
    spec.register_target_vocabulary(names)
    spec.config.bos_token = "<s>"
    spec.config.eos_token = "</s>"
    spec.config.decoder_start_token = "<s>"
    spec.config.add_source_bos = spec.config.add_source_eos = False
    spec.validate()
    folder = tempfile.mkdtemp(prefix="ctranslate2-")
    spec.save(folder)
    return folder


def fill_layer(layer, generator, sizes):
    units, hidden = sizes.units, sizes.feed_forward_units
    widths = {2: (3 * units, units), 3: (units, 2 * units, units)}
    for name in ("self_attention", "attention"):
        attention = getattr(layer, name, None)
        if attention is None:
            continue
        fill_normalization(attention.layer_norm, units)
        for dense, width in zip(
            attention.linear, widths[len(attention.linear)], strict=True
        ):
            fill_dense(dense, generator, units, width)
    fill_normalization(layer.ffn.layer_norm, units)
    fill_dense(layer.ffn.linear_0, generator, units, hidden)
    fill_dense(layer.ffn.linear_1, generator, hidden, units)


def fill_dense(dense, generator, width, output_width):
    scale = (2 / (width + output_width)) ** 0.5
    dense.weight = normal(generator, output_width, width, scale)
    dense.bias = np.zeros(output_width, "float32")


def fill_normalization(normalization, units):
    normalization.gamma = np.ones(units, "float32")
    normalization.beta = np.zeros(units, "float32")


def normal(generator, rows, columns, scale):
    return generator.normal(scale=scale, size=(rows, columns)).astype("float32")


def positions(sizes):
    position = np.arange(sizes.max_length)[:, None]
    rate = 1e4 ** (-np.arange(0, sizes.units, 2) / sizes.units)
    angle = position * rate
    return np.concatenate([np.sin(angle), np.cos(angle)], 1).astype("float32")


def keras_hub_peer(sizes, jit_compile):
    """BART of KerasHub: its layers, caches and samplers."""
    import keras_hub

    backbone = keras_hub.models.BartBackbone(
        vocabulary_size=sizes.vocabulary,
        num_layers=sizes.layers,
        num_heads=sizes.heads,
        hidden_dim=sizes.units,
        intermediate_dim=sizes.feed_forward_units,
        max_sequence_length=sizes.max_length,
        dropout=0.0,
    )
    model = keras_hub.models.BartSeq2SeqLM(backbone, preprocessor=None)

    def peer(source, beams, steps):
        sampler = keras_hub.samplers.GreedySampler()
        if beams > 1:
            sampler = keras_hub.samplers.BeamSampler(num_beams=beams)
        model.compile(sampler=sampler, jit_compile=jit_compile)
        generate = model.make_generate_function()
        batch = len(source)
        first = np.arange(steps + 1) == 0
        inputs = {
            "encoder_token_ids": source,
            "encoder_padding_mask": np.ones_like(source),
            "decoder_token_ids": np.tile(first * BOS, (batch, 1)),
            "decoder_padding_mask": np.tile(first, (batch, 1)).astype("int32"),
        }

        def run():
            found = generate(inputs, stop_token_ids=None)
            return np.asarray(found["decoder_token_ids"])[:, 1:]

        return run

    return peer


def transformers_peer(sizes):
    """Marian of Hugging Face transformers."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.MarianConfig(
        vocab_size=sizes.vocabulary,
        d_model=sizes.units,
        encoder_layers=sizes.layers,
        decoder_layers=sizes.layers,
        encoder_attention_heads=sizes.heads,
        decoder_attention_heads=sizes.heads,
        encoder_ffn_dim=sizes.feed_forward_units,
        decoder_ffn_dim=sizes.feed_forward_units,
        max_position_embeddings=sizes.max_length,
        activation_function="relu",
        pad_token_id=0,
        bos_token_id=BOS,
        eos_token_id=EOS,
        decoder_start_token_id=BOS,
        forced_eos_token_id=None,
    )
    model = transformers.MarianMTModel(config).eval()

    def peer(source, beams, steps):
        ids = torch.tensor(source, dtype=torch.long)
        mask = torch.ones_like(ids)

        def run():
            with torch.inference_mode():
                found = model.generate(
                    ids,
                    attention_mask=mask,
                    num_beams=beams,
                    do_sample=False,
                    min_new_tokens=steps,
                    max_new_tokens=steps,
                )
            return found[:, 1:].numpy()

        return run

    return peer
