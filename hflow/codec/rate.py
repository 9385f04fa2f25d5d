"""Choosing settings for a size: the bundle's ladder names the tokens, a search over rate steps fills what is left.

A rate level changes the continuous stream by some five per cent. Between two levels lie finer steps, which are the
encoder's own: the next level with a little more rounded to zero. The decoder sees the level only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from hflow import masks
from hflow.codec import latents, pixels, tokens
from hflow.codec.geometry import LEVELS, Geometry
from hflow.container import MaskSchedule
from hflow.errors import TargetError
from hflow.nets.analysis import OFFSET
from hflow.nets.bundle import Model
from hflow.nets.grids import sent_grid

FINE = 4  # steps to a level
TOP = FINE * (LEVELS - 1)
NARROW = 0.005  # of the rounding offset, to a step: about what a quarter of a level changes
FIXED = 18  # bytes of a file that are not entropy-coded: header, checksums and the first section's length, at least


def setting(step: int) -> tuple[int, float]:
    """Rate level and rounding offset of a rate step, 0 to TOP."""
    return -(-step // FINE), OFFSET - NARROW * (-step % FINE)


@dataclass(frozen=True)
class Choice:
    """Everything the file will say. `level` None: no continuous stream; m = 0: no tokens."""

    level: int | None
    m: int
    mask: str
    y: np.ndarray | None = None
    continuous: bytes = b""
    chunks: tuple[bytes, ...] = ()
    tokens: np.ndarray | None = None  # (th, tw, m), as the decoder will hold them
    sent: np.ndarray | None = None  # (th, tw) bool

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        parts = ([self.continuous] if self.level is not None else []) + list(self.chunks)
        return 16 + sum(len(p) + max(1, -(-len(p).bit_length() // 7)) for p in parts)


@dataclass
class Coder:
    """One picture's trunk features, and what has been tried with them."""

    model: Model
    geo: Geometry
    found: tuple[Tensor, Tensor]
    tried: dict[tuple[int, float], tuple[np.ndarray, np.ndarray, float]] = field(default_factory=dict)

    def continuous(self, level: int, offset: float = OFFSET) -> tuple[np.ndarray, np.ndarray, float]:
        """z, y and the estimated bytes of the continuous stream at a rate level and rounding offset."""
        if (level, offset) not in self.tried:
            z, y = pixels.latents(self.model, self.found, level, offset)
            self.tried[level, offset] = z, y, latents.measure(self.model, self.geo, level, z, y) / 8
        return self.tried[level, offset]

    def highest(self, budget: float) -> int | None:
        """The highest rate step whose continuous stream fits in `budget` bytes: whole levels first, then between."""
        if self.continuous(*setting(0))[2] > budget:
            return None
        low, high = 0, TOP + FINE  # `low` fits, `high` does not or is beyond
        for stride in (FINE, 1):
            while high - low > stride:
                mid = (low + high) // (2 * stride) * stride
                low, high = (mid, high) if self.continuous(*setting(mid))[2] <= budget else (low, mid)
            high = min(high, TOP + 1)
        return low

    def code(self, level: int | None, m: int, mask: str, offset: float = OFFSET) -> Choice:
        """Real bytes at these settings."""
        data, y = b"", None
        if level is not None:
            z, y, _ = self.continuous(level, offset)
            data = latents.write(self.model, self.geo, level, z, y)
        if m == 0:
            return Choice(level, 0, "none", y, data)
        q = pixels.token_indices(self.model, self.found, y, level)[: self.geo.th, : self.geo.tw]
        sent = sent_grid(self.geo.th, self.geo.tw, mask)
        chunks, full = tokens.write(self.model, self.geo, level, y, m, sent, q)
        return Choice(level, m, mask, y, data, () if mask == "none" else tuple(chunks), full, sent)

    def fit(self, budget: int, m: int, mask: str) -> Choice | None:
        """The best choice with these tokens in at most `budget` bytes, None if there is none."""
        # What the tokens take is known once they have been coded; until then a guess is set aside.
        aside = min(0.6 * m * masks.count(self.geo.th, self.geo.tw, mask), 0.5 * budget)
        best: Choice | None = None
        least, limit = 0, TOP
        for _ in range(5):
            found = self.highest(budget - FIXED - 1 - aside)
            step = -1 if found is None else min(found, limit)
            if step < least:
                break
            level, offset = setting(step)
            choice = self.code(level, m, mask, offset)
            used = float(sum(map(len, choice.chunks)))
            if choice.size > budget:
                limit, aside = step - 1, max(aside, used)
                continue
            best, least = choice, step + 1
            if aside - used < 0.02 * budget:
                break
            aside = used + 0.005 * budget
        return best


def steps(ladder: tuple[dict[str, Any], ...], bpp: float) -> list[tuple[int, str]]:
    """Token settings (m, mask) to try for a target, the ladder's own first, then richer ones, then poorer ones."""
    order = [(int(s["m"]), str(s["mask"])) for s in ladder]
    at = next((i for i, s in enumerate(ladder) if bpp <= s["bpp"]), len(ladder) - 1)
    return order[at:] + order[:at][::-1]


def choose(coder: Coder, bpp: float) -> Choice:
    """The settings for a file of at most `bpp` bits per pixel. TargetError names the smallest possible file."""
    geo = coder.geo
    budget = int(bpp * geo.width * geo.height / 8)
    best: Choice | None = None
    for m, mask in steps(coder.model.ladder, bpp):
        choice = coder.fit(budget, m, mask)
        if choice is not None and (best is None or choice.size > best.size):
            best = choice
        # A picture that its richest continuous stream does not fill may take more tokens; others are done.
        if best is not None and (best.size >= 0.85 * budget or best.level != LEVELS - 1):
            return best
    if best is not None:
        return best
    bare = coder.code(0, 0, "none")
    if bare.size <= budget:
        return bare
    smallest = min((bare, coder.code(None, 1, "none")), key=lambda c: c.size)
    if smallest.size <= budget:
        return smallest
    least = math.ceil(8e6 * smallest.size / (geo.width * geo.height)) / 1e6  # rounded up: this much is enough
    raise TargetError(
        f"{bpp:g} bpp is {budget} bytes for {geo.width}x{geo.height} pixels; "
        f"the smallest file is {smallest.size} bytes ({least:.6f} bpp)"
    )


def schedule(mask: str) -> MaskSchedule:
    """The container's name of a mask schedule."""
    return next(s for s in MaskSchedule if s.label == mask)
