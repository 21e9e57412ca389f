"""The mean of several models: of the last epochs, or of several trainings."""

import copy
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_attention import files
from keras_attention import validation
from keras_attention.models import folders
from keras_attention.models.finite import non_finite_weight
from keras_attention.training import archives

H5, NPZ = ".weights.h5", ".npz"


def average_weights(
    sources: Sequence, model: keras.Model | None = None
) -> keras.Model:
    """Returns a model whose weights are the mean of those of several.

    Averaging the last checkpoints of one training often gains as much as a
    longer training (Vaswani et al. 2017, section 6.1, average the last 5 or
    20). The sums are in float64. Weights that are not floats are those of the
    first source.

    Args:
        sources: list of models of one architecture, paths of model folders,
            of `.weights.h5` files of Keras, or of `.npz` files of `KeepLast`
            and `KeepBest`. One after the other is in memory.
        model: the model whose weights are set; it may be one of `sources`.
            Needed where none of the sources says more than its weights.
            Defaults to a copy of the first source.

    Returns:
        The model.

    Raises:
        ValueError: if there is no source, one cannot be read, has other
            weights than the first, or has one that is NaN or infinite; then
            no weight of `model` is changed.

    Example:

    >>> import keras
    >>> from keras_attention.training import average_weights
    >>> models = []
    >>> for value in (1.0, 4.0):
    ...     layer = keras.layers.Dense(1, use_bias=False)
    ...     models.append(keras.Sequential([keras.Input((1,)), layer]))
    ...     _ = layer.kernel.assign([[value]])
    >>> average_weights(models).get_weights()
    [array([[2.5]], dtype=float32)]
    """
    sources = _as_list(sources)
    if model is None:
        model = _model_of(sources[0])
    names = [variable.path for variable in model.weights]
    totals = None
    for source in sources:
        arrays = _arrays_of(source, model)
        _check_finite(arrays, names, source)
        arrays = [
            array.astype("float64") if _is_float(variable) else array
            for array, variable in zip(arrays, model.weights, strict=True)
        ]
        if totals is None:
            totals = arrays
            continue
        totals = [
            total + array if _is_float(variable) else total
            for total, array, variable in zip(
                totals, arrays, model.weights, strict=True
            )
        ]
    for variable, total in zip(model.weights, totals, strict=True):
        mean = total / len(sources) if _is_float(variable) else total
        variable.assign(mean.astype(np.asarray(variable.value).dtype))
    return model


class KeepLast(keras.callbacks.Callback):
    """Keeps the weights of the last epochs in files, to be averaged.

        keep = KeepLast("model-epochs", count=5)
        model, card = train(pairs, "model", callbacks=[keep])
        averaged = average_weights(keep.paths(), model)

    A file is whole or absent, and a training that goes on after a crash, in
    the same folder, ends with the files of one that did not. Weights that are
    NaN or infinite are not kept.

    Args:
        folder: path of a folder for the files, made if need be; a new one for
            each training.
        count: how many epochs are kept.

    Raises:
        ValueError: if `count` is not a positive integer.

    Example:

    >>> from keras_attention.training import KeepLast
    >>> KeepLast("model-epochs", count=5).paths()
    []
    """

    def __init__(self, folder: str | os.PathLike, count: int = 5):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.count = validation.check_positive_integer("count", count)

    def paths(self) -> list[pathlib.Path]:
        """Returns the files of the last epochs, in order."""
        return self._all()[-self.count :]

    def epochs(self) -> list[int]:
        """Returns the numbers of the last epochs, from 1."""
        return [int(path.stem.removeprefix("epoch-")) for path in self.paths()]

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if non_finite_weight(self.model) is not None:
            return
        files.make_folder(self.folder)
        arrays = archives.variable_arrays(self.model.weights)
        path = self.folder / f"epoch-{epoch + 1:06}{NPZ}"
        archives.write_archive(path, arrays, {"epoch": epoch + 1})
        for old in self._all()[: -self.count]:
            old.unlink(missing_ok=True)

    def _all(self):
        # One that was removed is there again after a loss of power.
        return sorted(self.folder.glob(f"epoch-*{NPZ}"))


def _as_list(sources):
    is_one = isinstance(sources, (str, os.PathLike, keras.Model))
    sources = [] if is_one else list(sources)
    if not sources:
        raise validation.invalid(
            "sources",
            "a list of models, folders or files of weights, not empty",
            "one source" if is_one else sources,
        )
    return sources


def _model_of(source):
    """Returns a model of its own to hold the mean."""
    if isinstance(source, keras.Model):
        return copy.deepcopy(source)
    if str(source).endswith((H5, NPZ)):
        raise validation.invalid(
            "model",
            "given where the first source is a file of weights alone",
            None,
            f"The first source is {str(source)!r}.",
        )
    return folders.load(source)


def _arrays_of(source, model):
    """Returns the weights of a source, checked to be like those of `model`."""
    if str(source).endswith(NPZ):
        arrays, _ = archives.read_archive(source)
        names = [variable.path for variable in model.weights]  # it has none
    else:
        found = source
        if str(source).endswith(H5):
            found = _loaded(source, model)
        elif not isinstance(source, keras.Model):
            found = folders.load(source)
        arrays = archives.variable_arrays(found.weights)
        names = [variable.path for variable in found.weights]
    _check_alike(model, names, arrays, source)
    dtypes = [np.asarray(variable.value).dtype for variable in model.weights]
    # What `archives` kept as bits becomes numbers again.
    return [
        array.view(dtype)
        if dtype.kind == "V" and array.dtype.kind == "u"
        else array
        for array, dtype in zip(arrays, dtypes, strict=True)
    ]


def _loaded(path, model):
    """Returns a copy of `model` with the weights of a file of Keras."""
    found = copy.deepcopy(model)
    try:
        found.load_weights(path)
    except Exception as error:  # of Keras and of HDF5, of many kinds
        raise ValueError(
            f"The file {str(path)!r} cannot be read into this model: "
            f"{str(error)[:500]}"
        ) from error
    return found


def _check_alike(model, paths, arrays, source):
    """Checks names and shapes of weights; the first that differs is told.

    Of a path only its end: Keras numbers layers that have no name of their
    own, and puts the name of a model in front or not.
    """
    ours = [(v.path, tuple(v.shape)) for v in model.weights]
    theirs = list(zip(paths, (a.shape for a in arrays), strict=False))
    for (our, shape), (their, received) in zip(ours, theirs, strict=False):
        same_name = our.rpartition("/")[2] == their.rpartition("/")[2]
        if not same_name or shape != received:
            raise ValueError(
                f"`sources` must all have the weight {our!r} of shape "
                f"{shape}. Received: {_name_of(source)} with {their!r} of "
                f"shape {received}. Is it another model?"
            )
    if len(ours) != len(arrays):
        raise ValueError(
            f"`sources` must all have {len(ours)} weights. Received: "
            f"{_name_of(source)} with {len(arrays)}. Is it another model?"
        )


def _name_of(source):
    if isinstance(source, keras.Model):
        return f"the model {source.name!r}"
    return repr(str(source))


def _is_float(variable):
    return "float" in variable.dtype


def _check_finite(arrays, names, source):
    for name, array in zip(names, arrays, strict=True):
        # NumPy has no `isfinite` for bfloat16 and the float8 types.
        if (
            array.dtype.kind in "fV"
            and not np.isfinite(array.astype("float32")).all()
        ):
            raise ValueError(
                "`sources` must have finite weights. Received: "
                f"{_name_of(source)}, whose weight {name!r} holds NaN or "
                "infinity."
            )
