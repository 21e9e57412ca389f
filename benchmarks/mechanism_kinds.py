"""The mechanisms that the benchmarks train side by side."""

import keras_attention as ka


def mechanisms(units):
    """Returns a function for each mechanism, by the name that tables give it.

    Each makes a new one, with score networks of `units`.
    """
    location = {"filters": 8, "kernel_size": 7, "cumulative": True}

    def normalized():
        return ka.AdditiveAttention(units, normalize=True)

    return {
        "additive (content only)": lambda: ka.AdditiveAttention(units),
        "dot product, general": lambda: ka.DotProductAttention("general"),
        "sparsemax": lambda: ka.AdditiveAttention(
            units, normalizer="sparsemax"
        ),
        "local-m": lambda: ka.LocalAttention(4, units),
        "local-p": lambda: ka.LocalAttention(4, units, predictive=True),
        "coverage": lambda: ka.CoverageAttention(units),
        "location-sensitive": lambda: ka.LocationSensitiveAttention(
            units, **location
        ),
        "forward": lambda: ka.ForwardAttention(units),
        "forward, transition agent": lambda: ka.ForwardAttention(
            score=ka.LocationSensitiveAttention(units, **location),
            use_transition_agent=True,
        ),
        # A query walks on by e^2 keys at first, about a digit.
        "monotonic": lambda: ka.MonotonicAttention(
            score=normalized(), score_bias=-2.0
        ),
        "MoChA": lambda: ka.MonotonicAttention(
            score=normalized(), chunk_size=4, score_bias=-2.0
        ),
        "Gaussian mixture": lambda: ka.GaussianMixtureAttention(units),
    }
