"""Model folders as an attacker would write them, around one small model."""

import io
import json
import zipfile

import h5py
import numpy as np

CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def members_of(path):
    """Returns the members of a `.keras` file, names to bytes."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path, members, compression=zipfile.ZIP_STORED):
    """Writes a zip file; `members` is a dict or a list of pairs."""
    pairs = members.items() if isinstance(members, dict) else members
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in pairs:
            archive.writestr(name, content)


def folder_of(parent, members, **options):
    """Writes a folder of a model without card; returns its path."""
    folder = parent / "model"
    folder.mkdir()
    write_members(folder / "model.keras", members, **options)
    return folder


def with_config(members, change):
    """Returns the members with the configuration that `change` mutates."""
    config = json.loads(members[CONFIG])
    change(config)
    return {**members, CONFIG: json.dumps(config)}


def with_weights(members, change):
    """Returns the members with the HDF5 file that `change` mutates."""
    content = io.BytesIO(members[WEIGHTS])
    with h5py.File(content, "r+") as file:
        change(file)
    return {**members, WEIGHTS: content.getvalue()}


def external_link(file):
    file["stranger"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file):
    file["stranger"] = h5py.SoftLink("/decoder")


def external_storage(file):
    file.create_dataset(
        "stranger", (7,), "uint8", external=[("/etc/hostname", 0, 7)]
    )


def virtual_dataset(file):
    layout = h5py.VirtualLayout((7,), "uint8")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "data", (7,))
    file.create_virtual_dataset("stranger", layout)


def strings(file):
    file["stranger"] = "text"


def never_written(file):
    file.create_dataset("stranger", (2**40,), "float32")


def compressed_zeros(file):
    file.create_dataset(
        "stranger",
        data=np.zeros(2**26, "float32"),
        chunks=(2**22,),
        compression="gzip",
    )


def named_type(file):
    file["stranger"] = np.dtype("float32")


HOSTILE_WEIGHTS = {
    "external link": (external_link, "is a ExternalLink"),
    "soft link": (soft_link, "is a SoftLink"),
    "external storage": (external_storage, "kept outside of the file"),
    "virtual dataset": (virtual_dataset, "kept outside of the file"),
    "strings": (strings, "not numbers"),
    "never written": (never_written, "more than the 67,108,864 bytes"),
    "compressed zeros": (compressed_zeros, "more than the 67,108,864 bytes"),
    "named type": (named_type, "is not an array"),
}
