"""Keys and values that are made of one latent (DeepSeek-V2).

In the letters of Liu et al. 2024, arXiv 2405.04434, 2.1: head i has the key
[W_UK,i c; k_R] and the value W_UV,i c, where the latent c and the rotary key
k_R of a position are shared by all heads. So

    q_C . W_UK c = (W_UK^T q_C) . c
    sum over s of weight[s] W_UV c[s] = W_UV (sum over s of weight[s] c[s])

and there are two forms that give the same numbers. The expanded one makes keys
and values of each head, which costs least for a whole sequence. The absorbed
one moves W_UK to the query and W_UV behind the sum, and attends to the latents
as to one head: nothing but [c; k_R] need be kept, or made again for a step.

Letters: B batch, T queries, S keys, N heads, C latent_dim, H key_dim, R
rotary_dim, V value_dim.
"""

from typing import Any

from keras import ops


def expand_latents(
    latent: Any, rotary_key: Any, key_kernel: Any, value_kernel: Any
) -> tuple:
    """Returns keys (B, S, N, H + R) and values (B, S, N, V) of each head.

    Equations 10, 11 and 17.

    Args:
        latent: (B, S, C).
        rotary_key: (B, S, 1, R), rotated.
        key_kernel: (C, N, H), the W_UK.
        value_kernel: (C, N, V), the W_UV.
    """
    key_kernel, value_kernel = (
        ops.cast(kernel, latent.dtype) for kernel in (key_kernel, value_kernel)
    )
    content = ops.einsum("bsc,cnh->bsnh", latent, key_kernel)
    rotary = ops.repeat(rotary_key, content.shape[2], axis=2)  # (B, S, N, R)
    key = ops.concatenate([content, rotary], axis=-1)  # (B, S, N, H + R)
    return key, ops.einsum("bsc,cnv->bsnv", latent, value_kernel)


def absorb_query(query: Any, key_kernel: Any) -> Any:
    """Returns what asks latents, W_UK^T q_C and q_R: (B, T, N, C + R).

    Args:
        query: (B, T, N, H + R).
        key_kernel: (C, N, H), the W_UK.
    """
    width = key_kernel.shape[-1]
    content, rotary = query[..., :width], query[..., width:]
    key_kernel = ops.cast(key_kernel, query.dtype)
    content = ops.einsum("btnh,cnh->btnc", content, key_kernel)
    return ops.concatenate([content, rotary], axis=-1)


def values_of_latents(latents: Any, value_kernel: Any) -> Any:
    """Returns W_UV of the weighted sums of [c; k_R]: (B, T, N, V).

    Args:
        latents: (B, T, N, C + R). The sum of rotary keys is no value, and is
            left out.
        value_kernel: (C, N, V), the W_UV.
    """
    latents = latents[..., : value_kernel.shape[0]]
    value_kernel = ops.cast(value_kernel, latents.dtype)
    return ops.einsum("btnc,cnv->btnv", latents, value_kernel)
