"""The HDF5 file of weights: everything it names is inside it."""

import typing

from keras_attention.models import archive

# Kinds of NumPy types: numbers, and "V" for bfloat16, which HDF5 lacks.
KINDS = "biufcV"


class Stored(typing.NamedTuple):
    """How much a file of weights holds."""

    arrays: int
    numbers: int


def check_weights(file: typing.BinaryIO) -> Stored:
    """Checks that an HDF5 file holds arrays of numbers and nothing else.

    Links to other files and arrays that are kept elsewhere would read any
    file of this machine; arrays that were never written, or are compressed,
    can be far larger than the file.

    Args:
        file: a binary file, open for reading.

    Returns:
        How much it holds, a `Stored`.

    Raises:
        ValueError: if there is anything else in the file.
        OSError: if it is not an HDF5 file, or damaged.
    """
    # Here and not above: Keras loads it late, too.
    import h5py

    limit = archive.bound_of(file.seek(0, 2))
    arrays, numbers, size, seen = 0, 0, 0, set()
    with h5py.File(file, "r") as weights:
        groups = [weights["/"]]
        while groups:
            group = groups.pop()
            address = h5py.h5o.get_info(group.id).addr
            if address in seen:  # groups may hold each other
                continue
            seen.add(address)
            for name in group:
                item = _item(group, name)
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    continue
                arrays += 1
                numbers += item.size
                size += item.size * item.dtype.itemsize
                if size > limit:
                    raise ValueError(
                        f"its weights are more than the {limit:,} bytes "
                        "that are allowed for a file of this size. "
                        f"{archive.IF_TRUSTED}"
                    )
    return Stored(arrays, numbers)


def _item(group, name):
    """Returns a group or an array of numbers inside the file."""
    import h5py

    place = f"{group.name.rstrip('/')}/{name}"
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{place!r} is a {type(link).__name__}")
    item = group[name]
    if isinstance(item, h5py.Group):
        return item
    if not isinstance(item, h5py.Dataset) or item.shape is None:
        raise ValueError(f"{place!r} is not an array")
    if item.external or item.is_virtual:
        raise ValueError(f"{place!r} is kept outside of the file")
    if item.dtype.kind not in KINDS:
        raise ValueError(f"{place!r} holds {item.dtype}, not numbers")
    return item
