"""Statistics of a few samples."""

import math
from collections.abc import Sequence


def median(samples: Sequence[float]) -> float:
    """Return the middle sample, or the mean of the two in the middle. Raise ValueError where there is none."""
    return quantile(samples, 0.5)


def quantile(samples: Sequence[float], fraction: float) -> float:
    """Return the value below which `fraction` (0..1) of the samples lie, interpolated between neighbours.

    Raise ValueError where there is no sample.
    """
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    place = fraction * (len(ordered) - 1)
    below = math.floor(place)
    above = math.ceil(place)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def spread(samples: Sequence[float]) -> float:
    """Return by how much the samples differ: (largest - smallest) / median. Raise ValueError where there is none."""
    middle = median(samples)
    return (max(samples) - min(samples)) / middle if middle else 0.0
