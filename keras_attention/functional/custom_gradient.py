"""Functions whose gradient is written by hand, and has none of its own."""

from collections.abc import Callable

from keras import ops

from keras_attention.functional import compiling


def first_order_only(
    forward: Callable, backward: Callable, *, error: str
) -> Callable:
    """Returns a function of tensors that has a first derivative only.

    Inside `compiling.forward_only()` it has none.

    Args:
        forward: function of the tensors; returns the result, and a tuple of
            residuals, the tensors that the gradient needs.
        backward: function of the tensors, of the residuals and of the gradient
            of the result; returns the gradients of the tensors, a tuple.
        error: what the ValueError says where a second derivative is taken.
    """

    def run(*tensors):
        # A gradient tape would record, and so keep, each step of a loop.
        result, residuals = forward(*map(ops.stop_gradient, tensors))

        def gradient(upstream):
            backward_once = ops.custom_gradient(run_backward)
            return backward_once(*tensors, *residuals, upstream)

        return result, gradient

    def run_backward(*tensors):
        return tuple(backward(*map(ops.stop_gradient, tensors))), refuse

    def refuse(*upstream):
        raise ValueError(error)

    def call(*tensors):
        # A cast reads a variable, for which TensorFlow's custom gradients
        # would ask a second kind of gradient.
        tensors = [ops.cast(tensor, tensor.dtype) for tensor in tensors]
        if compiling.is_forward_only():
            return forward(*tensors)[0]
        return ops.custom_gradient(run)(*tensors)

    return call
