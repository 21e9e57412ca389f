"""What is written beside a SavedModel: how to serve and call it."""

import dataclasses

from keras_attention.decoding.search import Search

BATCHING = """\
max_batch_size { value: 32 }
batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 256 }
num_batch_threads { value: 4 }
allowed_batch_sizes: 1
allowed_batch_sizes: 2
allowed_batch_sizes: 4
allowed_batch_sizes: 8
allowed_batch_sizes: 16
allowed_batch_sizes: 32
"""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the graphs do not say by themselves."""

    search: Search
    max_length: int
    max_source_length: int


def write(folder, signatures, facts):
    """Writes README.md and batching_parameters.txt into `folder`."""
    (folder / "batching_parameters.txt").write_text(BATCHING)
    (folder / "README.md").write_text(f"{facts}\n")
