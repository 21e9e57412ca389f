"""Functions whose gradient is written by hand, and has none of its own."""

from keras import ops


def differentiable_once(solve, backward, refusal):
    """Returns a function of tensors that has a first derivative alone.

    Args:
        solve: function of the tensors; returns the result, and a tuple of
            tensors to keep for the gradient.
        backward: function of the tensors, of those kept and of the gradient
            of the result; returns the gradients of the tensors, a tuple.
        refusal: what the ValueError says where a second derivative is taken.
    """

    def run(*tensors):
        # A gradient tape would record, and so keep, each step of a loop.
        result, kept = solve(*map(ops.stop_gradient, tensors))

        def gradient(upstream):
            backward_once = ops.custom_gradient(run_backward)
            return backward_once(*tensors, *kept, upstream)

        return result, gradient

    def run_backward(*tensors):
        return tuple(backward(*map(ops.stop_gradient, tensors))), refuse

    def refuse(*upstream):
        raise ValueError(refusal)

    def call(*tensors):
        # A cast reads a variable, for which TensorFlow's custom gradients
        # would ask a second kind of gradient.
        tensors = (ops.cast(tensor, tensor.dtype) for tensor in tensors)
        return ops.custom_gradient(run)(*tensors)

    return call
