"""The papers of alignments that move on, one number at a time in float64."""

import math

import numpy as np

from keras_attention.functional.gaussian_mixture import LEAST_WIDTH


def aligned(probabilities, previous):
    """Raffel et al. 2017, equations 8 to 10, along the last axis."""
    found = np.zeros_like(previous)
    for place in np.ndindex(previous.shape[:-1]):
        reached = 0.0
        for key in range(previous.shape[-1]):
            if key > 0:
                reached *= 1 - probabilities[(*place, key - 1)]
            reached += previous[(*place, key)]
            found[(*place, key)] = probabilities[(*place, key)] * reached
    return found


def chunked(monotonic, scores, size, visible):
    """Chiu & Raffel 2018, equations 19 to 23, hidden keys left out."""
    found = np.zeros_like(scores)
    for place in np.ndindex(scores.shape):
        *row, end = place
        keys = [k for k in range(max(0, end - size + 1), end + 1)]
        keys = [k for k in keys if visible[(*row, k)]]
        if keys:
            odds = np.exp([scores[(*row, k)] for k in keys])
            for key, share in zip(keys, odds / odds.sum(), strict=True):
                found[(*row, key)] += monotonic[place] * share
    return found


def softmax(row):
    odds = np.exp(row - row.max())
    return odds / odds.sum()


def softplus(number):
    return math.log1p(math.exp(number))


def mixture_weights(parameters, previous, keys, version):
    """Graves 2013 and Battenberg et al. 2020, one number at a time."""
    batch, queries, _, mixtures = parameters.shape
    weights, means = np.zeros((batch, queries, keys)), np.zeros_like(previous)
    for place in np.ndindex(batch, queries):
        shares, steps, widths = parameters[place]
        for number in range(mixtures):
            omega, step, width = shares[number], steps[number], widths[number]
            if version == "v0":
                omega, step = math.exp(omega), math.exp(step)
                width = math.sqrt(math.exp(-width) / 2)
            elif version == "v1":
                omega, step = softmax(shares)[number], math.exp(step)
                width = math.sqrt(math.exp(width))
            else:
                omega, step = softmax(shares)[number], softplus(step)
                width = softplus(width)
            width += LEAST_WIDTH
            area = 1 if version == "v0" else math.sqrt(2 * math.pi) * width
            mean = previous[(*place, number)] + step
            means[(*place, number)] = mean
            for key in range(keys):
                away = (key + 1 - mean) ** 2 / (2 * width**2)
                weights[(*place, key)] += omega / area * math.exp(-away)
    return weights, means
