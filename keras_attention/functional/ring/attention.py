"""Attention over several devices, each of which holds a share of the keys.

The devices stand in a ring. Each keeps its queries and passes keys and values
on, so that after as many steps as there are devices each query has met every
key (ring attention, Liu et al. 2023, arXiv 2310.01889). The sums of a softmax
compose, so it is exact. On JAX alone.
"""

from typing import Any

from keras import backend
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional import padding
from keras_attention.functional import scores as score_functions
from keras_attention.functional.arguments import check_arguments
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.ring.share import Share
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore


def attend_in_ring(
    *,
    query: Any,
    key: Any,
    value: Any,
    mesh: Any,
    axis_name: str,
    score: DotProductScore | AdditiveScore = score_functions.DotProductScore(),  # noqa: B008 (frozen)
    mask: Any = None,
    logit_soft_cap: float | None = None,
    sink: Any = None,
    dropout: Dropout | None = None,
) -> Any:
    """Attends as `attend` does, with sequences cut into shares over devices.

    For sequences too long for one device (ring attention, Liu et al. 2023,
    arXiv 2310.01889, algorithm 1): of n devices each has 1/n of the queries,
    keys and values, and never more than a block of scores, forward and
    backward. The result is that of `attend`, up to rounding, masks and
    dropout included. What a mask hides from all queries of a device is passed
    on and not computed; with a causal mask the device of the last queries
    does all of the work, so that the gain is in memory.

    Args:
        query: float array (batch, query_length, num_heads, key_dim), whose
            query_length is a multiple of the devices.
        key: float array (batch, key_length, num_key_value_heads, key_dim),
            whose key_length is a multiple, too.
        value: float array (batch, key_length, num_key_value_heads,
            value_dim).
        mesh: a `jax.sharding.Mesh`, or a `keras.distribution.DeviceMesh`.
        axis_name: name of the axis of the mesh that cuts the sequences; over
            the others, all is repeated.
        score: `DotProductScore(scale)` or `AdditiveScore(vector)`.
        mask: as in `attend`. Its own tensors are on each device.
        logit_soft_cap: as in `attend`.
        sink: as in `attend`.
        dropout: as in `attend`; the same weights are dropped.

    Returns:
        Array (batch, query_length, num_heads, value_dim) of the dtype of
        `query`, cut as `query` is. There is no bias, and no second
        derivative.

    Masking:
        As in `attend`.

    Raises:
        ValueError: on another backend than JAX, if shapes do not fit, or a
            length is no multiple of the devices.

    Example (one device; more with `jax.devices()` of them):

    >>> import keras
    >>> if keras.config.backend() == "jax":
    ...     import jax
    ...     from keras_attention.functional import attend_in_ring
    ...     ones = jax.numpy.ones((1, 4, 2, 3))
    ...     mesh = jax.sharding.Mesh(jax.devices()[:1], ("sequence",))
    ...     tensors = {"query": ones, "key": ones, "value": ones}
    ...     output = attend_in_ring(**tensors, mesh=mesh, axis_name="sequence")
    """
    if backend.backend() != "jax":
        raise validation.invalid(
            "backend",
            "'jax' for attention over several devices",
            repr(backend.backend()),
            "On TensorFlow, `attend` needs little memory on one device.",
        )
    import jax

    mesh = getattr(mesh, "backend_mesh", mesh)
    logit_soft_cap = validation.check_positive_number(
        "logit_soft_cap", logit_soft_cap, optional=True
    )
    query, key, value = map(ops.convert_to_tensor, (query, key, value))
    sink = None if sink is None else ops.convert_to_tensor(sink)
    mask = masks.as_mask(mask)
    check_arguments(query, key, value, score, mask, None, sink, dropout)
    count = _num_devices(mesh, axis_name, query, key)
    query, key, value = padding.zero_padding(mask, query, key, value)
    share = Share(axis_name, count, score, mask, logit_soft_cap, dropout)
    # What has a gradient is an argument; what has none here is empty.
    extras = {"vector": score.vector, "sink": sink}
    scale = getattr(score, "scale", None)
    if not validation.is_number(scale):
        extras["scale"] = scale
    extras = {name: x for name, x in extras.items() if x is not None}
    cut = jax.sharding.PartitionSpec(None, axis_name)
    whole = jax.sharding.PartitionSpec()
    attend = jax.shard_map(
        share.attend,
        mesh=mesh,
        in_specs=(cut, cut, cut, whole),
        out_specs=cut,
        check_vma=False,  # of a gradient that is written by hand
    )
    return attend(query, key, value, extras)


def _num_devices(mesh, axis_name, query, key):
    if axis_name not in mesh.axis_names:
        raise validation.invalid(
            "axis_name", f"one of the axes {mesh.axis_names}", repr(axis_name)
        )
    count = mesh.shape[axis_name]
    for name, tensor in (("query", query), ("key", key)):
        length = tensor.shape[1]
        if length == 0 or length % count:
            raise validation.invalid(
                f"{name}_length",
                f"a multiple of the {count} devices along {axis_name!r}",
                length,
                "Pad the sequence, and hide the padding with `masks.Lengths`.",
            )
    return count
