"""What one device of a ring computes: its queries against all keys.

Letters as in `attention.py`, of what one device holds; J keys of a block.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from keras import ops

from keras_attention.functional import biases
from keras_attention.functional import scores as score_functions
from keras_attention.functional.blockwise.forward import add_to_sum
from keras_attention.functional.dense import weighted_values
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.ring.trip import Trip
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore


@dataclasses.dataclass(frozen=True, eq=False)
class Share:
    """What one device of the ring computes, and what it is asked.

    Args:
        axis_name: name of the axis of the mesh.
        num_devices: how many stand in the ring.
        score, mask, logit_soft_cap, dropout: as in `attend`.
    """

    axis_name: str
    num_devices: int
    score: Any
    mask: Any
    logit_soft_cap: float | None
    dropout: Dropout | None

    def attend(self, query: Any, key: Any, value: Any, extras: dict) -> Any:
        """Returns the output (B, T, N, V) of the queries of this device.

        Args:
            query: (B, T, N, H), of this device.
            key: (B, S, K, H), those that it holds at first.
            value: (B, S, K, V).
            extras: what else has a gradient: "vector", "scale", "sink".
        """
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
            # (B, N, T, J), and (B, N, T, 1) of the rows.
            powers, maximum, total, shrink = add_to_sum(scores, maximum, total)
            powers = self._dropped(powers, place)
            found = weighted_values(powers, at_least_float32(values))
            output = output * _beside_values(shrink) + found  # (B, T, N, V)
            return None, (maximum, total, output)

        shape = (*query.shape[:3], value.shape[3])
        output = ops.zeros(shape, rows[0].dtype)
        sums = (*rows, output)
        _, sums = self._trip(query, key).around(visit, key, value, None, sums)
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
        trip = self._trip(query, key)
        (by_key, by_value), (by_query, by_extras) = trip.around(
            visit, key, value, travelling, at_home
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

    def _trip(self, query, key):
        lengths = query.shape[1], key.shape[1]
        return Trip(self.axis_name, self.num_devices, self.mask, *lengths)

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
