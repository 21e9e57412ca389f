"""What `fit` does for our models beside what Keras does."""

import functools
import inspect
from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional.contexts import current_contexts
from keras_attention.functional.replicas import num_replicas
from keras_attention.functional.replicas import num_workers
from keras_attention.functional.replicas import sum_over_replicas
from keras_attention.layers import AttentionCell
from keras_attention.layers.frozen import StaysFrozen
from keras_attention.models.first_step import build_optimizer
from keras_attention.models.tracing import parts_of
from keras_attention.special_ids import PAD_ID

MOST_CONTEXTS = 16  # whose functions of a step are kept


class FittedModel(StaysFrozen, keras.Model):
    """A model whose `fit` starts quickly, and is the same on many devices.

    Under a `tf.distribute` strategy the replicas together do what one does
    with the whole batch, up to rounding and dropout, where Keras 3.15 does
    not: it clips the gradients of each replica before it sums them, and
    under MultiWorkerMirroredStrategy it fails at the first batch. Two
    private methods of Keras are replaced for that; the tests that compare
    with one device tell when a new version has others.
    """

    def compile(self, *args, **kwargs) -> None:
        vars(self).pop("_made_within", None)
        super().compile(*args, **kwargs)
        if self.optimizer is not None and num_replicas() > 1:
            _sum_gradients_before_clipping(self.optimizer)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a model that is loaded as it was when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            build_optimizer(self)

    @functools.wraps(keras.Model.quantize)
    def quantize(self, mode: Any = None, *args, **kwargs) -> None:
        steps = [x for x in parts_of(self) if isinstance(x, AttentionCell)]
        if steps and "float8" in str(getattr(mode, "mode", mode)):
            raise validation.invalid(
                "mode",
                "'int8' or 'int4' for a recurrent decoder with attention",
                repr(mode),
                "Its loop would add up the scales that float8 learns.",
            )
        super().quantize(mode, *args, **kwargs)

    @functools.wraps(keras.Model.fit)
    def fit(self, *args, **kwargs) -> Any:
        _refuse_class_weight(super().fit, args, kwargs)
        return super().fit(*args, **kwargs)

    @functools.wraps(keras.Model.train_on_batch)
    def train_on_batch(self, *args, **kwargs) -> Any:
        _refuse_class_weight(super().train_on_batch, args, kwargs)
        return super().train_on_batch(*args, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        weights = _weights_of_tokens(sample_weight, y)
        return super().compute_loss(x, y, y_pred, weights, training)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        weights = _weights_of_tokens(sample_weight, y)
        return super().compute_metrics(x, y, y_pred, weights)

    def make_train_function(self, force: bool = False) -> Any:
        build_optimizer(self)
        self._recall("train_function", force)
        return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> Any:
        self._recall("test_function", force)
        return super().make_test_function(force)

    def make_predict_function(self, force: bool = False) -> Any:
        self._recall("predict_function", force)
        return super().make_predict_function(force)

    def _recall(self, name, force):
        """Sets a function to that of the contexts in effect, None if new."""
        # Not an attribute, which Keras would track.
        kept = vars(self).setdefault("_made_within", {})
        of_name = kept.setdefault(name, {"now": None})
        if force:
            of_name.clear()
        before, now = of_name.get("now"), current_contexts()
        if before not in (None, now):
            of_name[before] = getattr(self, name)
            setattr(self, name, of_name.pop(now, None))
            if len(of_name) > MOST_CONTEXTS:
                del of_name[next(key for key in of_name if key != "now")]
        of_name["now"] = now

    def train_step(self, *args, **kwargs) -> Any:
        return self._reducible(super().train_step(*args, **kwargs))

    def test_step(self, *args, **kwargs) -> Any:
        return self._reducible(super().test_step(*args, **kwargs))

    def _reducible(self, results):
        """Returns results that Keras can take the mean of over workers.

        It takes it along an axis, which a scalar does not have.
        """
        if not _has_workers(self):
            return results
        return {name: ops.expand_dims(x, 0) for name, x in results.items()}

    def _maybe_symbolic_build(
        self, iterator: Any = None, data_batch: Any = None
    ) -> None:
        """Builds metrics from the first batch, that of one replica.

        Keras would take the mean of the batches of all workers, which are
        dicts, and may differ in shape.
        """
        if iterator is not None and _has_workers(self):
            local = self.distribute_strategy.experimental_local_results
            for *_, batches in iterator:
                batch = next(batches)
                break
            data_batch = keras.tree.map_structure(lambda x: local(x)[0], batch)
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)


def _refuse_class_weight(method, args, kwargs):
    """Keras would take the largest token of each target for its class."""
    given = inspect.signature(method).bind(*args, **kwargs).arguments
    if given.get("class_weight") is not None:
        raise validation.invalid(
            "class_weight",
            "None, since a target has a token at each step",
            f"a {type(given['class_weight']).__name__}",
            "Pass the weight of each token as `sample_weight`, of shape "
            "(batch, target_length).",
        )


def _weights_of_tokens(weights, labels):
    """Returns weights of rows, (batch,) or (batch, 1), for all their tokens.

    Labels 0, which are padding, get none. Keras would multiply (batch,) with
    a mask (batch, target_length), and so weigh steps in place of rows.
    """
    if weights is None or len(getattr(labels, "shape", ())) != 2:
        return weights
    if len(weights.shape) == 1:
        weights = ops.expand_dims(weights, 1)
    if len(weights.shape) == 2 and weights.shape[1] == 1:
        real = ops.not_equal(labels, PAD_ID)
        weights = weights * ops.cast(real, weights.dtype)
    return weights


def _has_workers(model):
    """Whether the strategy of the model has more than one process."""
    is_tensorflow = keras.config.backend() == "tensorflow"
    return is_tensorflow and num_workers(model.distribute_strategy) > 1


def _sum_gradients_before_clipping(optimizer):
    """Has an optimizer sum the gradients of all replicas before all else."""
    if "apply" in vars(optimizer):
        return  # it was compiled before
    apply = optimizer.apply

    def apply_sum(grads, trainable_variables=None):
        there = [grad for grad in grads if grad is not None]
        summed = iter(sum_over_replicas(there))
        grads = [None if grad is None else next(summed) for grad in grads]
        return apply(grads, trainable_variables)

    optimizer.apply = apply_sum
    while hasattr(optimizer, "inner_optimizer"):  # that of a loss scale
        optimizer = optimizer.inner_optimizer
    optimizer._all_reduce_sum_gradients = list
