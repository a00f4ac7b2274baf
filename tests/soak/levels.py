"""Whether a figure that was read again and again stayed level."""

from collections.abc import Sequence
from statistics import median

LEAST_SAMPLES = 6


def thirds(samples: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the middle and of the last third: the first one is the way up to the working level."""
    size = len(samples) // 3
    return median(samples[size : 2 * size]), median(samples[2 * size :])


def grew(samples: Sequence[float], *, share: float, slack: float) -> bool:
    """Tell whether the last third is above the middle one by more than this share of it, and by more than `slack`.

    Fewer than LEAST_SAMPLES samples tell nothing.
    """
    if len(samples) < LEAST_SAMPLES:
        return False
    middle, last = thirds(samples)
    return last - middle > max(share * middle, slack)
