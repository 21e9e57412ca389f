"""Attention over several devices, each of which holds a share of the keys.

The devices stand in a ring. Each keeps its queries and passes keys and values
on, so that after as many steps as there are devices each query has met every
key (ring attention, Liu et al. 2023, arXiv 2310.01889). The sums of a softmax
compose, so it is exact. On JAX alone.

Letters as in `attention.py`, of what one device holds; J keys of a block.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from keras import backend
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional import biases
from keras_attention.functional import padding
from keras_attention.functional import scores as score_functions
from keras_attention.functional.attention import check_arguments
from keras_attention.functional.dense import weighted_values
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore

BLOCK_SIZE = 512  # keys whose scores a device holds at a time


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
    mask = masks.as_mask(mask)
    check_arguments(query, key, value, score, mask, None, sink)
    count = _num_devices(mesh, axis_name, query, key)
    query, key, value = padding.zero_padding(mask, query, key, value)
    ring = _Ring(axis_name, count, score, mask, logit_soft_cap, dropout)
    # What has a gradient is an argument; what has none here is empty.
    extras = {"vector": score.vector, "sink": sink}
    scale = getattr(score, "scale", None)
    if not validation.is_number(scale):
        extras["scale"] = scale
    extras = {name: x for name, x in extras.items() if x is not None}
    cut = jax.sharding.PartitionSpec(None, axis_name)
    whole = jax.sharding.PartitionSpec()
    attend = jax.shard_map(
        ring.attend,
        mesh=mesh,
        in_specs=(cut, cut, cut, whole),
        out_specs=cut,
        check_vma=False,  # of a gradient that is written by hand
    )
    return attend(query, key, value, extras)


@dataclasses.dataclass(frozen=True, eq=False)
class _Ring:
    """What one device of the ring does, and what it is asked."""

    axis_name: str
    num_devices: int
    score: Any
    mask: Any
    logit_soft_cap: float | None
    dropout: Dropout | None

    def attend(self, query, key, value, extras):
        """Returns the output (B, T, N, V) of the queries of this device."""
        import jax

        @jax.custom_vjp
        def attend(*arguments):
            return self._forward(*arguments)[0]

        attend.defvjp(self._forward, self._backward)
        return attend(query, key, value, extras)

    def _forward(self, query, key, value, extras):
        rows = self._rows(query, extras)

        def visit(place, keys, values, _, sums):
            maximum, total, output = sums
            scores = self._hidden(self._scores(query, keys, extras), place)
            highest = ops.max(scores, axis=-1, keepdims=True)  # (B, N, T, 1)
            highest = ops.maximum(maximum, highest)
            powers = ops.exp(scores - highest)  # (B, N, T, J)
            shrink = ops.exp(maximum - highest)
            total = total * shrink + ops.sum(powers, axis=-1, keepdims=True)
            powers = self._dropped(powers, place)
            found = weighted_values(powers, at_least_float32(values))
            output = output * _beside_values(shrink) + found  # (B, T, N, V)
            return None, (highest, total, output)

        shape = (*query.shape[:3], value.shape[3])
        output = ops.zeros(shape, rows[0].dtype)
        _, sums = self._around(visit, query, key, value, None, (*rows, output))
        maximum, total, output = sums
        total = ops.where(total > 0, total, ops.ones_like(total))
        output = output / _beside_values(total)
        kept = (query, key, value, extras, output, maximum, total)
        return ops.cast(output, query.dtype), kept

    def _backward(self, kept, upstream):
        import jax

        query, key, value, extras, output, maximum, total = kept
        upstream = ops.cast(upstream, output.dtype)  # (B, T, N, V)
        delta = ops.sum(upstream * output, axis=-1)  # (B, T, N)
        delta = ops.transpose(delta, (0, 2, 1))[..., None]  # (B, N, T, 1)

        def visit(place, keys, values, gradients, sums):
            def scores_of(query, keys, extras):
                return self._scores(query, keys, extras)

            scores, pull_back = jax.vjp(scores_of, query, keys, extras)
            powers = ops.exp(self._hidden(scores, place) - maximum)
            weights = powers / total  # (B, N, T, J)
            heads = values.shape[2]
            by_value = _values_gradient(
                self._dropped(weights, place), upstream, heads
            )
            gradient = _weights_gradient(upstream, at_least_float32(values))
            gradient = self._dropped(gradient, place)
            by_query, by_key, by_extras = pull_back(
                weights * (gradient - delta)
            )
            sums = jax.tree.map(_add, sums, (by_query, by_extras))
            return jax.tree.map(_add, gradients, (by_key, by_value)), sums

        wide = functools.partial(ops.zeros_like, dtype=output.dtype)
        travelling = (wide(key), wide(value))
        at_home = (wide(query), jax.tree.map(wide, extras))
        (by_key, by_value), (by_query, by_extras) = self._around(
            visit, query, key, value, travelling, at_home
        )
        if "sink" in extras:
            # Its weight is that of a key whose value is zero.
            weight = ops.exp(self._sink(extras, maximum) - maximum) / total
            by_extras["sink"] -= ops.sum(weight * delta, axis=(0, 2, 3))
        return (
            ops.cast(by_query, query.dtype),
            ops.cast(by_key, key.dtype),
            ops.cast(by_value, value.dtype),
            jax.tree.map(lambda x, y: ops.cast(x, y.dtype), by_extras, extras),
        )

    def _around(self, visit, query, key, value, travelling, at_home):
        """Visits all blocks of keys of all devices.

        Args:
            visit: function of the place of a block, its keys and values, what
                travels with it and what stays at home, that returns the last
                two.
            query: (B, T, N, H), of this device.
            key: (B, S, K, H), those that it holds at first.
            value: (B, S, K, V).
            travelling: tensors (B, S, ...) that go round with the keys, or
                None.
            at_home: tensors that stay.
        """
        import jax

        lax = jax.lax
        number = lax.axis_index(self.axis_name)
        queries, keys = query.shape[1], key.shape[1]
        num_blocks = -(-keys // BLOCK_SIZE)
        block = -(-keys // num_blocks)
        key, value, travelling = jax.tree.map(
            lambda tensor: _padded(tensor, num_blocks * block - keys),
            (key, value, travelling),
        )
        forward = [
            (one, (one + 1) % self.num_devices)
            for one in range(self.num_devices)
        ]

        def visit_block(start, key, value, travelling, at_home, first):
            def cut(tensor):
                return lax.dynamic_slice_in_dim(tensor, start, block, axis=1)

            real = ops.arange(block) < keys - start
            place = _Place(number * queries, queries, first + start, real)
            share, at_home = visit(
                place,
                cut(key),
                cut(value),
                jax.tree.map(cut, travelling),
                at_home,
            )
            travelling = jax.tree.map(
                lambda whole, part: lax.dynamic_update_slice_in_dim(
                    whole, part, start, axis=1
                ),
                travelling,
                share,
            )
            return travelling, at_home

        def visit_device(step, carry):
            key, value, travelling, at_home = carry
            first = (number - step) % self.num_devices * keys

            def visit_one(index, carry):
                start = index * block
                ends = first + start, first + start + block
                return lax.cond(
                    self._sees(number * queries, queries, *ends, keys),
                    lambda: visit_block(start, key, value, *carry, first),
                    lambda: carry,
                )

            carry = travelling, at_home
            carry = lax.fori_loop(0, num_blocks, visit_one, carry)
            travelling, at_home = carry
            moved = lax.ppermute(
                (key, value, travelling), self.axis_name, forward
            )
            return (*moved, at_home)

        carry = (key, value, travelling, at_home)
        carry = lax.fori_loop(0, self.num_devices, visit_device, carry)
        _, _, travelling, at_home = carry
        return jax.tree.map(lambda x: x[:, :keys], travelling), at_home

    def _sees(self, query_start, queries, key_start, key_end, keys):
        """Whether the mask may let any of the queries see any of the keys."""
        if self.mask is None:
            return True
        ranges = self.mask.key_ranges(
            query_start, query_start + queries, keys * self.num_devices
        )
        return functools.reduce(
            ops.logical_or,
            (
                ops.logical_and(key_start < last, key_end > first)
                for first, last in ranges
            ),
        )

    def _scores(self, query, keys, extras):
        """Returns float32 scores (B, N, T, J), nothing hidden yet."""
        score = self.score
        if "vector" in extras:
            score = AdditiveScore(extras["vector"])
        elif "scale" in extras:
            score = DotProductScore(extras["scale"])
        query, keys = at_least_float32(query), at_least_float32(keys)
        scores = score.scores(query, keys)
        return biases.soft_cap(scores, self.logit_soft_cap)

    def _hidden(self, scores, place):
        """Returns the scores, minus infinity where a mask hides a key."""
        visible = place.is_real
        if self.mask is not None:
            keys = visible.shape[0]
            place = (place.query_start, place.queries, place.key_start, keys)
            visible = ops.logical_and(visible, self.mask.block(*place))
        return ops.where(visible, scores, ops.cast(-np.inf, scores.dtype))

    def _dropped(self, tensor, place):
        if self.dropout is None or not self.dropout.rate:
            return tensor
        starts = (0, 0, place.query_start, place.key_start)
        keep = self.dropout.keep(tensor.shape, starts)
        kept = tensor / (1.0 - self.dropout.rate)
        return ops.where(keep, kept, ops.zeros_like(kept))

    def _rows(self, query, extras):
        """Returns the maximum and the sum of each row before the first key."""
        zeros = at_least_float32(query[..., :1])
        zeros = ops.transpose(ops.zeros_like(zeros), (0, 2, 1, 3))  # (B,N,T,1)
        # Finite, so that hidden scores are zero weights before any is seen.
        lowest = ops.cast(np.finfo(ops.dtype(zeros)).min, zeros.dtype)
        if "sink" not in extras:
            return zeros + lowest, zeros
        sink = zeros + self._sink(extras, zeros)
        maximum = ops.maximum(sink, lowest)
        return maximum, ops.exp(sink - maximum)

    def _sink(self, extras, like):
        sink = ops.cast(extras["sink"], like.dtype)
        return ops.reshape(sink, (1, -1, 1, 1))


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where in the matrix of scores a block stands."""

    query_start: Any
    queries: int
    key_start: Any
    is_real: Any  # (J,): the last block of a share may be longer than it


def _padded(tensor, keys):
    """Returns (B, S + keys, ...), zeros at the end."""
    return ops.pad(tensor, ((0, 0), (0, keys), *((0, 0),) * (tensor.ndim - 2)))


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


def _beside_values(rows):
    """Turns (B, N, T, 1) into (B, T, N, 1)."""
    return ops.transpose(rows, (0, 2, 1, 3))


def _weights_gradient(upstream, values):
    """Returns (B, N, T, J) from (B, T, N, V) and values (B, J, K, V)."""
    upstream = score_functions.group_heads(upstream, values.shape[2])
    gradient = ops.einsum("btkgv,bjkv->bkgtj", upstream, values)
    return score_functions.merge_groups(gradient)


def _values_gradient(weights, upstream, num_key_value_heads):
    """Returns (B, J, K, V) from weights (B, N, T, J) and (B, T, N, V)."""
    batch, heads, queries, keys = weights.shape
    groups = heads // num_key_value_heads
    weights = ops.reshape(
        weights, (batch, num_key_value_heads, groups, queries, keys)
    )
    upstream = score_functions.group_heads(upstream, num_key_value_heads)
    return ops.einsum("bkgtj,btkgv->bjkv", weights, upstream)


def _add(one, other):
    return one + ops.cast(other, one.dtype)
