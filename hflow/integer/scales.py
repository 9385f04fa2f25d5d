"""Fixed-point formats: a value v with b fractional bits is stored as round(v * 2^b)."""

from __future__ import annotations

import math
from typing import Any

ACT = 4  # hidden activations, queries, keys, values: int8, range +-8
NORM = 5  # normalised activations: int8, range +-4
RES = 8  # residual stream: 16 bits, range +-128
RES_MAX = 2**15 - 1
SCORE_SHIFT = 6  # attention scores to sixteenths of an octave
OCTAVE = 16  # steps per octave of attention weights
LOGIT = 5  # logits: 32 steps per octave
ACC_LIMIT = 2**24  # every accumulated sum stays below: exact in fp32, in any order
FREQ_BITS = 16  # frequencies of a symbol sum to 2^16
MEAN = 3  # means of the continuous latent: eighths
WIDER = 32  # of the scale indices that a bundle has for its latent, those from an output of zero on
OCTAVES = 10  # by which steps of two layers of the latent can differ at most
SCALE_ZERO, SCALE_STEP = math.log(0.055) + 8 * 0.155, 0.155  # log of the logistic scale at an output of zero; a step
TABLE_BITS = {40: 16, 48: 24}  # by the number of scales: frequencies of the latent's tables sum to 2 to the power of it


def gelu_table() -> list[int]:
    """256 entries, input and output with ACT fractional bits."""
    unit = 2**ACT
    gelu = [0.5 * (i / unit) * (1 + math.erf(i / unit / math.sqrt(2))) for i in range(-128, 128)]
    return [max(-128, min(127, math.floor(g * unit + 0.5))) for g in gelu]


def squash_table() -> list[int]:
    """256 entries: a latent integer v to sign(v) * min(127, round(127 log2(1 + |v|) / 7)), rounded half up."""
    return [
        int(math.copysign(min(127, math.floor(127 * math.log2(1 + abs(v)) / 7 + 0.5)), v)) for v in range(-128, 128)
    ]


def attention_table() -> list[int]:
    """256 entries: round(255 * 2^(-d / 16)) for d = distance from the largest score in sixteenths of an octave."""
    return [math.floor(255 * 2 ** (-d / OCTAVE) + 0.5) for d in range(256)]


def exp2_table() -> list[int]:
    """512 entries: round(2^15 * 2^(-d / 32)), d = distance from the largest logit."""
    return [math.floor(2**15 * 2 ** (-d / 2**LOGIT) + 0.5) for d in range(512)]


def power_table() -> list[int]:
    """64 entries: floor(2^(16 + i / 64)), the first one exact and none other near an integer, so floats find them."""
    return [math.floor(2 ** (16 + i / 64)) for i in range(64)]


def log_scale(index: Any, scales: int) -> Any:
    """Logarithm of the logistic scale of an index in 0..scales-1."""
    return SCALE_ZERO + (index + (WIDER - scales)) * SCALE_STEP


def latent_tables(scales: int) -> list[list[int]]:
    """scales * 8 tables of 32 frequencies: logistic, scale index major, mean fraction minor. scales: of TABLE_BITS.

    Entry s < 31 is the value s - 15 relative to the integer mean, entry 31 is everything else.
    """

    def cdf(x: float) -> float:
        return 0.5 * (1 + math.tanh(x / 2))

    out, total = [], 2 ** TABLE_BITS[scales]
    half = 0.5 if scales > 40 else 0.0  # finer tables are rounded: then next to nothing less than 1/2 is as good as 1/2
    for index in range(scales):
        scale = math.exp(log_scale(index, scales))
        for frac in range(2**MEAN):
            mean = frac / 2**MEAN
            p = [max(0.0, cdf((v + 0.5 - mean) / scale) - cdf((v - 0.5 - mean) / scale)) for v in range(-15, 16)]
            p.append(max(0.0, 1 - sum(p)))
            freq = [1 + math.floor(q * (total - 32) / sum(p) + half) for q in p]
            freq[freq.index(max(freq))] += total - sum(freq)
            out.append(freq)
    return out
