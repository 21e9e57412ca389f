"""The file model.keras: which members it has and how large they are.

A `.keras` file is a zip file of the configuration, of facts about how it was
saved, and of the weights. Keras writes them uncompressed.
"""

import io
import pathlib
import shutil
import typing
import zipfile

from keras_attention.models import strict_json

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# The compressions of zip that unpack piece by piece.
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1
# Weights hardly shrink: what unpacks to more than this was made to do so.
MAX_RATIO = 20
# Smaller than this, anything may unpack to anything.
FREE_BYTES = 64 * 2**20
CHUNK = 2**20
IF_TRUSTED = (
    "If you trust the source of the file, load it with keras.saving.load_model."
)


class Contents(typing.NamedTuple):
    """What is in a `.keras` file."""

    config: dict
    weights: io.BytesIO  # an HDF5 file


def read_archive(path: str | pathlib.Path) -> Contents:
    """Reads a `.keras` file in bounds, checksums compared.

    Args:
        path: path of the file.

    Returns:
        Its `Contents`.

    Raises:
        ValueError: if the file has other members than Keras writes, or one
            that is larger than it may be.
        zipfile.BadZipFile: if the file is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        members = _members(archive)
        config = _read(archive, members[CONFIG], strict_json.MAX_BYTES)
        if METADATA in members:
            _read(archive, members[METADATA], strict_json.MAX_BYTES)
        weights = members[WEIGHTS]
        limit = bound_of(weights.compress_size)
        # Keras writes NaN and Infinity into configurations.
        config = strict_json.parse_object(config.getvalue(), allow_nan=True)
        return Contents(config, _read(archive, weights, limit))


def bound_of(stored_bytes: int) -> int:
    """Returns how many bytes `stored_bytes` may unpack to."""
    return max(FREE_BYTES, MAX_RATIO * stored_bytes)


def _members(archive):
    members = {}
    for info in archive.infolist():
        name = info.filename
        if name not in (CONFIG, METADATA, WEIGHTS):
            raise ValueError(
                f"it must hold {CONFIG}, {METADATA} and {WEIGHTS} alone, and "
                f"not {name!r}"
            )
        if name in members:
            raise ValueError(f"it holds {name!r} twice")
        if info.flag_bits & ENCRYPTED or info.compress_type not in COMPRESSIONS:
            raise ValueError(f"{name!r} must be stored or deflated")
        members[name] = info
    for name in (CONFIG, WEIGHTS):
        if name not in members:
            raise ValueError(f"it lacks {name!r}")
    return members


def _read(archive, info, limit):
    """Returns the content of one member, its checksum compared."""
    # `zipfile` never gives more bytes than this size says, even if it lies.
    if info.file_size > limit:
        raise ValueError(
            f"{info.filename!r} unpacks to {info.file_size:,} bytes, more "
            f"than the {limit:,} that are allowed for it. {IF_TRUSTED}"
        )
    content = io.BytesIO()
    # In chunks, a size that lies makes nothing large be allocated.
    with archive.open(info) as stream:
        shutil.copyfileobj(stream, content, CHUNK)
    content.seek(0)
    return content
