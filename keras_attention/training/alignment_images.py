"""Pictures of alignments in TensorBoard, while `fit` runs."""

import io
import os
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_attention import validation
from keras_attention.decoding import Greedy

DOTS_PER_INCH = 80


class AlignmentImages(keras.callbacks.Callback):
    """Writes what each target token looked at to TensorBoard, epoch by epoch.

    After an epoch the model generates for each source, and its alignment is
    drawn as `Seq2Seq.plot_alignment` draws it. `tensorboard --logdir` shows
    the pictures under "Images", with a slider over the epochs.

    Args:
        log_dir: folder of the logs; that of `keras.callbacks.TensorBoard` or
            another. It is made where it is missing.
        sources: the texts to generate for, a list of str.
        every: epochs between two pictures. The last epoch is always drawn.
        search: search object, such as `Greedy()`.
        max_length: longest target, EOS counted. Defaults to the model's.

    Raises:
        ValueError: if an argument is out of range, or, when the training
            begins, if the model cannot draw alignments.
        ImportError: when the training begins, if tensorboard is not
            installed; or matplotlib, which draws.

    Example:

    >>> from keras_attention.training import AlignmentImages
    >>> AlignmentImages("logs", ["hello", "world"], every=5).sources
    ['hello', 'world']
    """

    def __init__(
        self,
        log_dir: str | os.PathLike,
        sources: Sequence[str],
        every: int = 1,
        search: Any = Greedy(),  # noqa: B008 (frozen)
        max_length: int | None = None,
    ):
        super().__init__()
        self.log_dir = os.fspath(log_dir)
        self.sources = _checked_sources(sources)
        self.every = validation.check_positive_integer("every", every)
        self.search = search
        self.max_length = validation.check_positive_integer(
            "max_length", max_length, optional=True
        )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        _check_tensorboard()
        vocabularies = ("source_vocabulary", "target_vocabulary")
        missing = any(
            getattr(self.model, x, None) is None for x in vocabularies
        )
        if missing or not hasattr(self.model, "plot_alignment"):
            raise validation.invalid(
                "model",
                "a `Seq2Seq` with both vocabularies, to draw alignments of",
                f"{type(self.model).__name__} {self.model.name!r}",
                "`read_attention` reads those of any model.",
            )

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        is_due = (epoch + 1) % self.every == 0
        if is_due or epoch + 1 == self.params.get("epochs"):
            self.write(epoch)

    def write(self, epoch: int) -> None:
        """Draws the alignments now, under the number of an epoch, from 0."""
        pictures = [self._picture_of(source) for source in self.sources]
        # Opened for each epoch: what a killed training has drawn is there.
        writer = tf.summary.create_file_writer(self.log_dir)
        with writer.as_default(step=epoch):
            for number, picture in enumerate(pictures):
                tf.summary.image(f"alignment/{number}", picture[None])
        writer.close()

    def _picture_of(self, source):
        """Returns the picture of an alignment, uint8 (height, width, 3)."""
        figure = self.model.plot_alignment(
            source, search=self.search, max_length=self.max_length
        )
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=DOTS_PER_INCH)
        return tf.io.decode_png(file.getvalue(), channels=3)


def _check_tensorboard():
    """Raises an ImportError without tensorboard, which makes `tf.summary`."""
    if not hasattr(tf.summary, "image"):
        raise ImportError(
            "Pictures in TensorBoard need tensorboard, which is not "
            "installed. Install it with `pip install tensorboard`."
        )


def _checked_sources(sources):
    is_list = isinstance(sources, Sequence) and not isinstance(sources, str)
    if not is_list or not sources or not all(map(_is_text, sources)):
        raise validation.invalid(
            "sources",
            "a list of texts, at least one",
            repr(sources),
            "Put a single text into a list.",
        )
    return list(sources)


def _is_text(source):
    return isinstance(source, str)
