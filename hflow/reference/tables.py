"""The constant tables (integer.md, section 3), computed once and held against their SHA-256."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from hflow.errors import HflowError

EIGHTS, SYMBOLS = 8, 32


def checked(name: str, entries: Sequence[int], sha256: str) -> np.ndarray:
    """The entries as int64, if they are the normative ones."""
    if hashlib.sha256(np.array(entries, "<i4").tobytes()).hexdigest() != sha256:
        raise HflowError(f"table {name} comes out wrong with this machine's mathematical functions")
    return np.array(entries, np.int64)


def gelu(x: int) -> int:
    u = x / 16
    g = u * (1 + math.erf(u / math.sqrt(2))) / 2
    return max(-128, min(127, math.floor(16 * g + 1 / 2)))


def squash(x: int) -> int:
    size = min(127, math.floor(127 * math.log2(1 + abs(x)) / 7 + 1 / 2))
    return size if x >= 0 else -size


def latent(i: int, f: int, scales: int, total: int) -> list[int]:
    """The 32 frequencies of scale index i, one of `scales`, and mean fraction f; their sum is `total`."""

    def cdf(u: float) -> float:
        return (1 + math.tanh(u / 2)) / 2  # the same, and no overflow

    sigma = 0.055 * math.exp(0.155 * (i + 40 - scales))
    p = [cdf((s - 15 + 1 / 2 - f / 8) / sigma) - cdf((s - 15 - 1 / 2 - f / 8) / sigma) for s in range(31)]
    p.append(1 - sum(p))
    half = 0 if scales == 40 else 1 / 2
    g = [1 + math.floor((total - 32) * max(0, q) + half) for q in p]
    g[g.index(max(g))] += total - sum(g)
    return g


# GELU and SQUASH are indexed by x + 128.
GELU = checked(
    "GELU", [gelu(x) for x in range(-128, 128)],
    "3eb72af88bfe20a3b8ca11bad7c9e6a9c23ecdd48843a1e2ba54ab52ddcda80e",
)  # fmt: skip
SQUASH = checked(
    "SQUASH", [squash(x) for x in range(-128, 128)],
    "d1f225309e14bf14a4873adf732ee6936d01f5786c1c8922f36642dc96eba80a",
)  # fmt: skip
WEIGHT = checked(
    "WEIGHT", [math.floor(255 * 2 ** (-d / 16) + 1 / 2) for d in range(256)],
    "360dde6b7e83955ceceae005ca5d27766117a3496c7edbf386591db9720ecc36",
)  # fmt: skip
EXP2 = checked(
    "EXP2", [math.floor(2**15 * 2 ** (-d / 32) + 1 / 2) for d in range(512)],
    "eea26e8c3914997d379e2a79a93e83977ffad855ea597a44dda7e4245ea4cd11",
)  # fmt: skip
POWER = checked(
    "POWER", [math.floor(2 ** (16 + i / 64)) for i in range(64)],
    "3406ab67645f0306144520bd38be42c2b5d70a79225840a04d61b25f6b778209",
).tolist()  # fmt: skip
LATENT = {
    scales: checked(
        f"LATENT{scales}",
        [g for i in range(scales) for f in range(EIGHTS) for g in latent(i, f, scales, total)], sha256,
    ).reshape(-1, SYMBOLS).tolist()
    for scales, total, sha256 in (
        (40, 2**16, "6a04272c04dbf8b07a42db6f0de3e757ee11e21b1146208a8ac8857416260a73"),
        (48, 2**24, "aef06496e731f87e73d3d38bd52fc2dc51d5016162ebf4ed9e7da7702a85ee88"),
    )
}  # fmt: skip
