"""Choosing settings for a size: the bundle's ladder names the tokens, a search over rate levels fills what is left."""

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
from hflow.nets.bundle import Model

FIXED = 18  # bytes of a file that are not entropy-coded: header, checksums and the first section's length, at least


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
    tried: dict[int, tuple[np.ndarray, np.ndarray, float]] = field(default_factory=dict)

    def continuous(self, level: int) -> tuple[np.ndarray, np.ndarray, float]:
        """z, y and the estimated bytes of the continuous stream at a rate level."""
        if level not in self.tried:
            z, y = pixels.latents(self.model, self.found, level)
            self.tried[level] = z, y, latents.measure(self.model, self.geo, level, z, y) / 8
        return self.tried[level]

    def highest(self, budget: float) -> int | None:
        """The highest rate level whose continuous stream fits in `budget` bytes."""
        low, high = -1, LEVELS - 1
        while low < high:
            mid = (low + high + 1) // 2
            low, high = (mid, high) if self.continuous(mid)[2] <= budget else (low, mid - 1)
        return low if low >= 0 else None

    def code(self, level: int | None, m: int, mask: str) -> Choice:
        """Real bytes at these settings."""
        data, y = b"", None
        if level is not None:
            z, y, _ = self.continuous(level)
            data = latents.write(self.model, self.geo, level, z, y)
        if m == 0:
            return Choice(level, 0, "none", y, data)
        q = pixels.token_indices(self.model, self.found, y, level)[: self.geo.th, : self.geo.tw]
        chunks, full = tokens.write(self.model, self.geo, level, y, m, mask, q)
        return Choice(level, m, mask, y, data, () if mask == "none" else tuple(chunks), full)

    def fit(self, budget: int, m: int, mask: str) -> Choice | None:
        """The best choice with these tokens in at most `budget` bytes, None if there is none."""
        share = 0.0  # bytes of the index chunks, known after the first try
        if m:
            guess = 0.6 * m * masks.count(self.geo.th, self.geo.tw, mask)
            share = min(guess, 0.5 * budget)
        best: Choice | None = None
        level: int | None = LEVELS
        for _ in range(4):
            found = self.highest(budget - FIXED - 2 - share)
            level = found if found is None or level is None else min(found, level - 1)
            if level is None or level < 0:
                break
            choice = self.code(level, m, mask)
            if choice.size <= budget:
                best = choice
                used = sum(map(len, choice.chunks))
                # Worth another try only if the tokens took clearly less than was set aside.
                if share - used < 0.04 * budget or level == LEVELS - 1:
                    break
                share, level = used + 0.01 * budget, LEVELS
                after = self.highest(budget - FIXED - 2 - share)
                if after is None or after <= choice.level:  # type: ignore[operator]
                    break
                again = self.code(after, m, mask)
                return again if again.size <= budget else best
            share = max(share, float(sum(map(len, choice.chunks))))
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
