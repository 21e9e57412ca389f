"""PyTorch's formula in NumPy, and PyTorch itself where it is installed."""

import numpy as np
import pytest

from keras_attention import migration

BATCH, QUERIES, KEYS, HEADS, SIZE = 2, 5, 7, 3, 4
WIDTH, KEY_WIDTH, VALUE_WIDTH = HEADS * SIZE, 11, 13
GENERATOR = np.random.default_rng(0)


def normal(*shape):
    return GENERATOR.normal(size=shape).astype("float32")


QUERY = normal(BATCH, QUERIES, WIDTH)
SAME_WIDTH = (normal(BATCH, KEYS, WIDTH), normal(BATCH, KEYS, WIDTH))
OTHER_WIDTHS = (
    normal(BATCH, KEYS, KEY_WIDTH),
    normal(BATCH, KEYS, VALUE_WIDTH),
)


def state_dict(packed=True, bias=True):
    widths = {"q": WIDTH, "k": KEY_WIDTH, "v": VALUE_WIDTH}
    weights = {f"{n}_proj_weight": normal(WIDTH, w) for n, w in widths.items()}
    if packed:
        weights = {"in_proj_weight": normal(3 * WIDTH, WIDTH)}
    weights["out_proj.weight"] = normal(WIDTH, WIDTH)
    if bias:
        weights["in_proj_bias"] = normal(3 * WIDTH)
        weights["out_proj.bias"] = normal(WIDTH)
    return weights


def oracle(weights, key, value):
    """The formula in the documentation of `torch.nn.MultiheadAttention`."""
    kernels = [weights.get(f"{name}_proj_weight") for name in "qkv"]
    if "in_proj_weight" in weights:
        kernels = np.split(weights["in_proj_weight"], 3)
    biases = np.split(weights.get("in_proj_bias", np.zeros(3 * WIDTH)), 3)
    output = np.zeros((BATCH, QUERIES, WIDTH))
    for b in range(BATCH):
        projected = [
            x[b].astype("float64") @ kernel.T + bias
            for x, kernel, bias in zip(
                (QUERY, key, value), kernels, biases, strict=True
            )
        ]
        for head in range(HEADS):
            part = slice(head * SIZE, (head + 1) * SIZE)
            q, k, v = (x[:, part] for x in projected)
            exps = np.exp(q @ k.T / np.sqrt(SIZE))
            output[b, :, part] = exps / exps.sum(-1, keepdims=True) @ v
    output = output @ weights["out_proj.weight"].T
    return output + weights.get("out_proj.bias", 0)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_state_dict_is_carried(packed, bias):
    weights = state_dict(packed, bias)
    key, value = SAME_WIDTH if packed else OTHER_WIDTHS
    model = {f"layers.0.{name}": w for name, w in weights.items()}
    model["layers.1.weight"] = normal(3)
    layer = migration.from_torch(model, HEADS, prefix="layers.0.", dropout=0.1)
    assert layer.dropout == 0.1
    expected = oracle(weights, key, value)
    np.testing.assert_allclose(layer(QUERY, value, key), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "heads", "message"),
    [
        ({"bias_k": np.ones((1, 1, WIDTH))}, HEADS, "with add_bias_kv=False"),
        ({"weight": np.ones(3)}, HEADS, r"Received also: \['weight'\]"),
        ({"out_proj.weight": None}, HEADS, "no 'out_proj.weight' among"),
        ({"in_proj_weight": None}, HEADS, "no 'q_proj_weight' among"),
        ({"in_proj_weight": np.ones((17, 3))}, HEADS, "must have 3 \\* embed"),
        ({"in_proj_weight": np.ones(36)}, HEADS, r"the shape \(any, any\)"),
        ({"out_proj.weight": np.ones((5, 5))}, HEADS, r"shape \(12, 12\). Rec"),
        ({"in_proj_bias": np.ones(9)}, HEADS, r"Received: the sizes \[3, 12\]"),
        ({}, 5, "`num_heads` must be a divisor of embed_dim=12"),
    ],
)
def test_what_does_not_fit_is_refused(change, heads, message):
    weights = {**state_dict(), **change}
    weights = {name: w for name, w in weights.items() if w is not None}
    with pytest.raises(ValueError, match=message):
        migration.from_torch(weights, heads)


@pytest.mark.parametrize("name", ["use_bias", "key_dim", "output_shape"])
def test_what_the_weights_tell_is_no_option(name):
    with pytest.raises(ValueError, match=f"`{name}` must be left out"):
        migration.from_torch(state_dict(), HEADS, **{name: 3})


def test_arrays_without_names_are_refused():
    with pytest.raises(ValueError, match="arrays by name.*Received:.*list"):
        migration.from_torch(list(state_dict().values()), HEADS)


@pytest.mark.parametrize("options", [{}, {"kdim": 11, "vdim": 13}])
def test_module_of_torch_keeps_its_numbers(options):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(
        WIDTH, HEADS, batch_first=True, **options
    ).eval()
    torch.nn.init.normal_(module.in_proj_bias)
    key, value = OTHER_WIDTHS if options else SAME_WIDTH
    padding = np.arange(KEYS) >= np.array([[KEYS], [4]])
    hidden = np.triu(np.ones((QUERIES, KEYS), bool), 3)
    expected, weights = module(
        *(torch.tensor(x) for x in (QUERY, key, value)),
        key_padding_mask=torch.tensor(padding),
        attn_mask=torch.tensor(hidden),
        average_attn_weights=False,
    )
    layer = migration.from_torch(module.state_dict(), HEADS)
    output, scores = layer(
        QUERY,
        value,
        key,
        value_mask=~padding,
        attention_mask=~hidden,
        return_attention_scores=True,
    )
    np.testing.assert_allclose(output, expected.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(scores, weights.detach().numpy(), atol=1e-5)


def test_sinks_of_zero_are_add_zero_attn():
    weights = state_dict()
    layer = migration.from_torch(weights, HEADS, use_sink=True)
    key, value = SAME_WIDTH
    kernels = np.split(weights["in_proj_weight"].astype("float64"), 3)
    biases = np.split(weights["in_proj_bias"], 3)
    query, key_heads, value_heads = (
        (x @ kernel.T + bias).reshape(*x.shape[:2], HEADS, SIZE)
        for x, kernel, bias in zip(
            (QUERY, key, value), kernels, biases, strict=True
        )
    )
    scores = np.einsum("btnh,bsnh->bnts", query, key_heads) / np.sqrt(SIZE)
    exps = np.exp(scores)  # and a key and a value of zeros, whose score is 0
    found = exps / (exps.sum(-1, keepdims=True) + 1)
    heads = np.einsum("bnts,bsnh->btnh", found, value_heads)
    expected = heads.reshape(BATCH, QUERIES, WIDTH)
    expected = expected @ weights["out_proj.weight"].T
    expected = expected + weights["out_proj.bias"]
    np.testing.assert_allclose(
        layer(QUERY, value, key), expected, rtol=1e-4, atol=1e-5
    )
