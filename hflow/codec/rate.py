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

from hflow.codec import latents, masking, pixels, tokens
from hflow.codec.geometry import LEVELS, Geometry
from hflow.codec.regions import Region
from hflow.container import MaskSchedule
from hflow.errors import TargetError
from hflow.masks import LABELS
from hflow.nets.analysis import OFFSET
from hflow.nets.bundle import Model
from hflow.nets.grids import sent_grid

FINE = 16  # steps to a level
TOP = FINE * (LEVELS - 1)
NARROW = 0.03 / FINE  # of the rounding offset, to a step: a level's worth of steps changes a little more than a level
START, SPAN = 0.003, math.log(30)  # where a search begins: bpp at level 0, and how the rate grows to the top
CLOSE = 0.004  # of the budget: near enough
FIXED = 18  # bytes of a file that are not entropy-coded: header, checksums and the first section's length, at least

Mask = str | np.ndarray  # a schedule's label, or one for each region (rows, columns), as an index into LABELS


def setting(step: int) -> tuple[int, float]:
    """Rate level and rounding offset of a rate step, 0 to TOP."""
    return -(-step // FINE), OFFSET - NARROW * (-step % FINE)


@dataclass(frozen=True)
class Choice:
    """Everything the file will say. `level` None: no continuous stream; m = 0: no tokens."""

    level: int | None
    m: int
    mask: Mask
    y: np.ndarray | None = None
    continuous: bytes = b""
    mask_data: bytes | None = None
    chunks: tuple[bytes, ...] = ()
    tokens: np.ndarray | None = None  # (th, tw, m), as the decoder will hold them
    sent: np.ndarray | None = None  # (th, tw) bool

    @property
    def sections(self) -> list[bytes]:
        """The entropy-coded sections, in file order."""
        continuous = [self.continuous] if self.level is not None else []
        return continuous + ([] if self.mask_data is None else [self.mask_data]) + list(self.chunks)

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return 16 + sum(len(p) + max(1, -(-len(p).bit_length() // 7)) for p in self.sections)

    @property
    def schedule(self) -> MaskSchedule:
        """The container's name of the mask."""
        if isinstance(self.mask, str):
            return next(s for s in MaskSchedule if s.label == self.mask)
        return MaskSchedule.CODED


@dataclass
class Coder:
    """One picture's trunk features, and what has been tried with them. `region`: where bits count for more."""

    model: Model
    geo: Geometry
    found: tuple[Tensor, Tensor]
    region: Region | None = None
    tried: dict[tuple[int, float], tuple[np.ndarray, np.ndarray, float]] = field(default_factory=dict)

    def continuous(self, level: int, offset: float = OFFSET) -> tuple[np.ndarray, np.ndarray, float]:
        """z, y and the estimated bytes of the continuous stream at a rate level and rounding offset."""
        if (level, offset) not in self.tried:
            least = self.region.least(self.model, level, offset) if self.region else None
            z, y = pixels.latents(self.model, self.found, level, offset, least)
            self.tried[level, offset] = z, y, latents.measure(self.model, self.geo, level, z, y) / 8
        return self.tried[level, offset]

    def highest(self, budget: float) -> int | None:
        """A rate step whose continuous stream fits in `budget` bytes, and at most CLOSE of it below the highest such.

        The logarithm of the size is nearly linear in the step, so a few guesses do.
        """
        low, high = -1, TOP + 1  # `low` fits, `high` does not; both are beyond what has been tried
        sizes: dict[int, float] = {}
        step = round(TOP * min(1.0, max(0.0, math.log(8 * budget / self.area / START) / SPAN))) if budget > 0 else 0
        while high - low > 1:
            size = sizes[step] = max(1.0, self.continuous(*setting(step))[2])
            low, high = (step, high) if size <= budget else (low, step)
            if size <= budget and size >= (1 - CLOSE) * budget:
                break
            slope = SPAN / TOP
            if low in sizes and high in sizes and sizes[high] > sizes[low]:
                slope = math.log(sizes[high] / sizes[low]) / (high - low)
            aim = step + (math.log((1 - CLOSE / 2) * max(budget, 1.0) / size)) / slope
            step = min(max(math.floor(aim), low + 1), high - 1)
        return None if low < 0 else low

    @property
    def area(self) -> int:
        """Pixels."""
        return self.geo.width * self.geo.height

    def sent(self, mask: Mask) -> np.ndarray:
        """Which tokens a mask sends, (th, tw) bool."""
        if isinstance(mask, str):
            return sent_grid(self.geo.th, self.geo.tw, mask)
        return masking.sent_tokens(mask, self.geo.th, self.geo.tw)

    def code(self, level: int | None, m: int, mask: Mask, offset: float = OFFSET) -> Choice:
        """Real bytes at these settings."""
        data, y = b"", None
        if level is not None:
            z, y, _ = self.continuous(level, offset)
            data = latents.write(self.model, self.geo, level, z, y)
        if m == 0:
            return Choice(level, 0, "none", y, data)
        q = pixels.token_indices(self.model, self.found, y, level)[: self.geo.th, : self.geo.tw]
        sent = self.sent(mask)
        chunks, full = tokens.write(self.model, self.geo, level, y, m, sent, q)
        if isinstance(mask, str):
            return Choice(level, m, mask, y, data, None, () if mask == "none" else tuple(chunks), full, sent)
        return Choice(level, m, mask, y, data, masking.write(mask), tuple(chunks), full, sent)

    def fit(self, budget: int, m: int, mask: Mask) -> Choice | None:
        """The best choice with these tokens in at most `budget` bytes, None if there is none."""
        # What the tokens take is known once they have been coded; until then a guess is set aside.
        aside = min(0.6 * m * float(self.sent(mask).sum()), 0.5 * budget) if m else 0.0
        best: Choice | None = None
        least, limit = 0, TOP
        for _ in range(5):
            found = self.highest(budget - FIXED - 1 - aside)
            step = -1 if found is None else min(found, limit)
            if step < least:
                break
            level, offset = setting(step)
            choice = self.code(level, m, mask, offset)
            used = float(choice.size - FIXED - len(choice.continuous))
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


def choose(coder: Coder, budget: int, mask: Mask | None = None) -> Choice:
    """The settings for a file of at most `budget` bytes. TargetError names the smallest and the largest file.

    mask: which tokens are sent, with one sub-quantizer; default what the bundle's ladder says for this size.
    """
    area = coder.area
    best: Choice | None = None
    given = [(0 if isinstance(mask, str) and mask == "none" else 1, mask)] if mask is not None else None
    for m, sent in given or steps(coder.model.ladder, 8 * budget / area):
        choice = coder.fit(budget, m, sent)
        if choice is not None and (best is None or choice.size > best.size):
            best = choice
        # A picture that its richest continuous stream does not fill may take more tokens; others are done.
        if best is not None and (best.size >= 0.98 * budget or best.level != LEVELS - 1):
            return best
    if best is not None:
        return best
    bare = coder.code(0, 0, "none")
    if bare.size <= budget:
        return bare
    smallest = min((bare, coder.code(None, 1, "none")), key=lambda c: c.size)
    if smallest.size <= budget:
        return smallest
    last = coder.model.ladder[-1]
    largest = coder.code(LEVELS - 1, int(last["m"]), str(last["mask"]))
    raise TargetError(
        f"{budget} bytes are too few for {coder.geo.width}x{coder.geo.height} pixels: this picture takes "
        f"{smallest.size} to {largest.size} bytes ({bpp(smallest.size, area)} to {bpp(largest.size, area)} bpp)"
    )


def bpp(size: int, area: int) -> str:
    """Bits per pixel of so many bytes, rounded up: this much is enough."""
    return f"{-(-8_000_000 * size // area) / 1e6:.6f}"


# From here on quality adds tokens to the richest continuous stream.
FULL = 90.0


def at_quality(coder: Coder, quality: float) -> Choice:
    """The settings of a quality, 0 to 100: rate levels up to FULL, then more and more tokens."""
    step = round(min(quality, FULL) / FULL * TOP)
    level, offset = setting(step)
    part = max(0.0, quality - FULL) / (100 - FULL)
    mask = LABELS[round(part * (len(LABELS) - 1))]
    return coder.code(level, 0 if mask == "none" else 1, mask, offset)
