"""How keys and values go round the devices of a ring, block by block.

Letters as in `attention.py`, of what one device holds; J keys of a block.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from keras import ops

BLOCK_SIZE = 512  # keys whose scores a device holds at a time


@dataclasses.dataclass(frozen=True)
class Place:
    """Where in the matrix of scores a block stands.

    Args:
        query_start: number of the first query.
        queries: how many there are.
        key_start: number of the first key.
        is_real: boolean (J,): the last block of a share may be longer than it.
    """

    query_start: Any
    queries: int
    key_start: Any
    is_real: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Trip:
    """Takes keys and values once round the ring.

    Args:
        axis_name: name of the axis of the mesh.
        num_devices: how many stand in the ring.
        mask: a `Mask` or None; what it hides from all queries is passed by.
        queries: how many queries each device has.
        keys: how many keys.
    """

    axis_name: str
    num_devices: int
    mask: Any
    queries: int
    keys: int

    @property
    def _num_blocks(self):
        return -(-self.keys // BLOCK_SIZE)

    @property
    def _block(self):
        return -(-self.keys // self._num_blocks)

    def around(
        self,
        visit: Callable,
        key: Any,
        value: Any,
        travelling: Any,
        at_home: Any,
    ) -> tuple[Any, Any]:
        """Visits all blocks of keys of all devices.

        Args:
            visit: function of the `Place` of a block, its keys and values,
                its part of what travels and what stays at home, that returns
                the last two.
            key: (B, S, K, H), those that this device holds at first.
            value: (B, S, K, V).
            travelling: tensors (B, S, ...) that go round with the keys, or
                None.
            at_home: tensors that stay.

        Returns:
            What travels, home again, and what stays.
        """
        import jax

        missing = self._num_blocks * self._block - self.keys
        moving = jax.tree.map(
            lambda tensor: _padded(tensor, missing), (key, value, travelling)
        )
        ring = range(self.num_devices)
        forward = [(one, (one + 1) % self.num_devices) for one in ring]

        def visit_device(step, carry):
            (key, value, travelling), at_home = carry
            travelling, at_home = self._visit_device(
                visit, step, key, value, travelling, at_home
            )
            moved = jax.lax.ppermute(
                (key, value, travelling), self.axis_name, forward
            )
            return moved, at_home

        (_, _, travelling), at_home = jax.lax.fori_loop(
            0, self.num_devices, visit_device, (moving, at_home)
        )
        return jax.tree.map(lambda x: x[:, : self.keys], travelling), at_home

    def _visit_device(self, visit, step, key, value, travelling, at_home):
        """Visits the blocks of the keys that are here after so many steps."""
        import jax

        number = jax.lax.axis_index(self.axis_name)
        first = (number - step) % self.num_devices * self.keys

        def visit_one(index, carry):
            start = index * self._block
            is_real = ops.arange(self._block) < self.keys - start
            place = Place(
                number * self.queries, self.queries, first + start, is_real
            )
            return jax.lax.cond(
                self._sees(place),
                lambda: self._visit_block(
                    visit, place, start, key, value, *carry
                ),
                lambda: carry,
            )

        carry = travelling, at_home
        return jax.lax.fori_loop(0, self._num_blocks, visit_one, carry)

    def _visit_block(
        self, visit, place, start, key, value, travelling, at_home
    ):
        import jax

        def cut(tensor):
            return jax.lax.dynamic_slice_in_dim(
                tensor, start, self._block, axis=1
            )

        def put_back(whole, part):
            return jax.lax.dynamic_update_slice_in_dim(
                whole, part, start, axis=1
            )

        part = jax.tree.map(cut, travelling)
        part, at_home = visit(place, cut(key), cut(value), part, at_home)
        return jax.tree.map(put_back, travelling, part), at_home

    def _sees(self, place):
        """Whether the mask may let any of the queries see any of the keys."""
        if self.mask is None:
            return True
        ranges = self.mask.key_ranges(
            place.query_start,
            place.query_start + self.queries,
            self.keys * self.num_devices,
        )
        key_end = place.key_start + self._block
        seen = (
            ops.logical_and(place.key_start < last, key_end > first)
            for first, last in ranges
        )
        return functools.reduce(ops.logical_or, seen)


def _padded(tensor, keys):
    """Returns (B, S + keys, ...), zeros at the end."""
    return ops.pad(tensor, ((0, 0), (0, keys), *((0, 0),) * (tensor.ndim - 2)))
