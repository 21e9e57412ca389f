"""The device that JAX puts things on."""


def default_platform() -> str:
    """Returns "cpu", "gpu" or another: that of `keras.device`, if in effect."""
    import jax

    device = jax.config.jax_default_device
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else device.platform
