"""Attention of PyTorch, where it is installed, on the tensors of JAX."""

import numpy as np

from gpu_parts.clock import LeftOut
from gpu_parts.clock import Program

BACKENDS = {
    "PyTorch, flash": "FLASH_ATTENTION",
    "PyTorch, cudnn": "CUDNN_ATTENTION",
}
FLEX = "PyTorch, FlexAttention"
NAMES = (*BACKENDS, FLEX)


def compiled(name, case, tensors):
    """Returns the `Program` of that name."""
    try:
        import torch
    except ImportError:
        raise LeftOut("PyTorch is not installed") from None
    if case.mask == "window" and name != FLEX:
        raise LeftOut("it has no window")
    on_gpu = next(iter(tensors[0].devices())).platform != "cpu"
    attention = (
        flex(case, on_gpu) if name == FLEX else fused(BACKENDS[name], case)
    )

    views = {}  # of the same memory

    def call(*tensors):
        key = tuple(map(id, tensors))
        if key not in views:
            # (B, T, N, H) -> (B, N, T, H)
            views[key] = [torch.from_dlpack(x).transpose(1, 2) for x in tensors]
        tensors = views[key]
        if not case.backward:
            with torch.no_grad():
                return [attention(*tensors)]
        *tensors, upstream = tensors
        tensors = [x.detach().requires_grad_() for x in tensors]
        output = attention(*tensors)
        return [output, *torch.autograd.grad(output, tensors, upstream)]

    def wait(_):
        if on_gpu:
            torch.cuda.synchronize()

    def results(found):
        found = (x.detach().transpose(1, 2).float() for x in found)
        return [np.asarray(x.cpu()) for x in found]

    memory = torch_peak(torch, call, tensors) if on_gpu else None
    return Program(call, wait, results, memory)


def fused(backend, case):
    """`scaled_dot_product_attention` by one of its kernels."""
    from torch import nn
    from torch.nn.attention import SDPBackend
    from torch.nn.attention import sdpa_kernel

    kernel = getattr(SDPBackend, backend)

    def run(query, key, value):
        with sdpa_kernel(kernel):
            return nn.functional.scaled_dot_product_attention(
                query, key, value, is_causal=case.mask != "full"
            )

    return run


def flex(case, on_gpu):
    """FlexAttention, compiled where there is a GPU."""
    import torch
    from torch.nn.attention import flex_attention

    def sees(batch, head, query, key):
        visible = query >= key
        if case.window is not None:
            visible = visible & (query - key < case.window)
        return visible

    block_mask = None
    if case.mask != "full":
        block_mask = flex_attention.create_block_mask(
            sees,
            *(None, None, case.length, case.length),
            device="cuda" if on_gpu else "cpu",
        )
    attention = flex_attention.flex_attention
    if on_gpu:
        attention = torch.compile(attention)
    return lambda query, key, value: attention(
        query, key, value, block_mask=block_mask
    )


def torch_peak(torch, call, tensors):
    """Returns what a call takes at most, in bytes, by PyTorch's allocator."""
    call(*tensors)  # what is compiled or planned once
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call(*tensors)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
