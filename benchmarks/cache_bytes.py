"""How large the caches of the attentions are, in bytes for each sequence.

One layer of 16 heads of 64, as `make_cache` makes its cache in bfloat16. The
latent has the proportions of DeepSeek-V2: 4 heads wide, and half a head of it
rotary besides. Linear attention keeps sums in float32.

    python benchmarks/cache_bytes.py
    python benchmarks/cache_bytes.py --lengths 1024,131072
"""

import measure
from keras import ops

import keras_attention as ka

SIZES = {"num_heads": 16, "key_dim": 64, "dtype": "bfloat16"}
LAYERS = {
    "MultiHeadAttention": ka.MultiHeadAttention(**SIZES),
    "4 key/value heads (GQA)": ka.MultiHeadAttention(
        **SIZES, num_key_value_heads=4
    ),
    "1 key/value head (MQA)": ka.MultiHeadAttention(
        **SIZES, num_key_value_heads=1
    ),
    "a window of 256": ka.MultiHeadAttention(**SIZES, sliding_window=256),
    "LatentAttention (MLA)": ka.LatentAttention(**SIZES, latent_dim=256),
    "LinearAttention": ka.LinearAttention(**SIZES),
}
BYTES = {"bfloat16": 2, "float32": 4}


def cache_bytes(layer, length):
    """Returns the bytes of the tensors that a sequence of `length` needs."""
    is_linear = isinstance(layer, ka.LinearAttention)
    cache = layer.make_cache(1) if is_linear else layer.make_cache(1, length)
    return sum(
        int(ops.size(part)) * BYTES[ops.dtype(part)] for part in cache.values()
    )


def main():
    parser = measure.parser_of(__doc__, lengths=(1024, 32768))
    arguments = parser.parse_args()
    lengths = arguments.lengths[:1] if arguments.quick else arguments.lengths
    measure.print_header("Bytes of a cache, one sequence, one layer")
    rows = [
        [name, *(f"{cache_bytes(layer, n):,}" for n in lengths)]
        for name, layer in LAYERS.items()
    ]
    measure.print_table(
        ["", *(f"{length:,} positions" for length in lengths)], rows
    )


if __name__ == "__main__":
    main()
