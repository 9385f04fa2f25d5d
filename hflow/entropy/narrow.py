"""Tables for a value of which much is known already: nearly all of the probability goes to where it can be."""

import numpy as np

from hflow.entropy.tables import Ints

BIAS = 15  # symbol s in 0..30 is the value s - BIAS
ESCAPE = 31
RARE = 8  # what lies outside keeps this many halvings of its frequency: it can still be said


def narrowed(freqs: Ints, low: Ints, high: Ints, total: int) -> Ints:
    """The tables freqs (N, 32), summing to `total`, for values in low..high (N,), bounds included, low <= high."""
    values = np.arange(ESCAPE + 1) - BIAS
    inside = (values >= low[:, None]) & (values <= high[:, None])
    inside[:, ESCAPE] = (high > BIAS) | (low < -BIAS)
    kept = np.where(inside, freqs, freqs >> RARE)
    out = 1 + kept * (total - ESCAPE - 1) // kept.sum(1, keepdims=True)
    out[np.arange(len(out)), out.argmax(1)] += total - out.sum(1)
    return out
