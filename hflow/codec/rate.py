"""Choosing settings for a size: the bundle's ladder names the tokens, a search over rate steps fills what is left.

A rate level changes the continuous stream by some five per cent. Between two levels lie finer steps, which are the
encoder's own: the next level with a little more rounded to zero. The decoder sees the level only.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from hflow.codec import latents, masking, pixels, tokens
from hflow.codec.geometry import LEVELS, RATE_ONE, Geometry
from hflow.codec.guess import stream_bytes
from hflow.codec.regions import Region
from hflow.container import MaskSchedule
from hflow.errors import TargetError
from hflow.nets.analysis import OFFSET
from hflow.nets.bundle import Model
from hflow.nets.grids import sent_grid

FINE = 16  # steps to a level
TOP = FINE * (LEVELS - 1)
NARROW = 0.026 / FINE  # of the rounding offset, to a step: a level's worth of steps changes about as much as a level
CLOSE, FEW = 0.005, 4.0  # of the budget, or bytes: near enough
FIXED = 18  # bytes of a file that are not entropy-coded: header, checksums and the first section's length, at least

FEW_BITS = 5.0  # that a token takes, in a picture that is easy to guess

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
    layers: tuple[tuple[int, np.ndarray, bytes], ...] = ()  # enhancements: rate level, y, section
    offset: float = OFFSET  # with which y was rounded

    def above(self, level: int, y: np.ndarray, data: bytes) -> Choice:
        """With one enhancement layer more."""
        return replace(self, layers=(*self.layers, (level, y, data)))

    @property
    def sections(self) -> list[bytes]:
        """The entropy-coded sections, in file order."""
        continuous = [self.continuous] if self.level is not None else []
        return continuous + ([] if self.mask_data is None else [self.mask_data]) + list(self.chunks)

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        parts = self.sections + [data for *_, data in self.layers]
        explicit = 1 + len(parts) if self.layers else 0
        return 16 + explicit + sum(len(p) + max(1, -(-len(p).bit_length() // 7)) for p in parts)

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
    guesses: dict[int, float] = field(default_factory=dict)

    def continuous(self, level: int, offset: float = OFFSET) -> tuple[np.ndarray, np.ndarray, float]:
        """z, y and the estimated bytes of the continuous stream at a rate level and rounding offset."""
        if (level, offset) not in self.tried:
            least = self.region.least(self.model, level, offset) if self.region else None
            z, y = pixels.latents(self.model, self.found, level, offset, least)
            self.tried[level, offset] = z, y, latents.measure(self.model, self.geo, level, z, y) / 8
        return self.tried[level, offset]

    def highest(self, budget: float, measure: Callable[[int], float] | None = None) -> int | None:
        """A rate step whose continuous stream fits in `budget` bytes, and near enough below the highest such.

        A guess, what it was wrong by, a better guess: three or four measurements do. measure: bytes at a rate step, of
        something else than the continuous stream that grows like it.
        """
        measure = measure or (lambda step: self.continuous(*setting(step))[2])
        low, high = -1, TOP + 1  # `low` fits, `high` does not; both are beyond what has been tried
        enough = max(CLOSE * budget, FEW)
        wrong: dict[int, float] = {}  # logarithm of size over guess of what has been measured
        step = self.aim(budget, 0.0)
        while high - low > 1 and budget > 0:
            step = min(max(step, low + 1), high - 1)
            size = max(1.0, measure(step))
            low, high = (step, high) if size <= budget else (low, step)
            if budget - enough <= size <= budget:
                break
            wrong[step] = math.log(size / self.guess(step))
            error = wrong[step]
            if low in wrong and high in wrong:  # what is looked for lies between the two
                ends = [math.log(self.guess(k)) + wrong[k] for k in (low, high)]
                part = (math.log(budget) - ends[0]) / max(1e-9, ends[1] - ends[0])
                error = wrong[low] + min(1.0, max(0.0, part)) * (wrong[high] - wrong[low])
            step = self.aim(budget - enough / 2, error)
        return None if low < 0 else low

    def guess(self, step: int) -> float:
        """Bytes of the continuous stream at a rate step, without a measurement."""
        if step not in self.guesses:
            self.guesses[step] = stream_bytes(self.model, self.found[1], step / FINE)
        return self.guesses[step]

    def aim(self, budget: float, error: float) -> int:
        """The highest rate step that should fit if guesses are too low by `error`, in the logarithm."""
        return (
            bisect_right(range(TOP + 1), math.log(max(budget, 1.0)) - error, key=lambda k: math.log(self.guess(k))) - 1
        )

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
        alone = Choice(level, 0, "none", y, data, offset=offset)
        if m == 0:
            return alone
        q = pixels.token_indices(self.model, self.found, y, level)[: self.geo.th, : self.geo.tw]
        sent = self.sent(mask)
        chunks, full = tokens.write(self.model, self.geo, level, y, m, sent, q)
        whole = replace(alone, m=m, mask=mask, chunks=tuple(chunks), tokens=full, sent=sent)
        if isinstance(mask, str):
            return replace(whole, chunks=()) if mask == "none" else whole
        return replace(whole, mask_data=masking.write(mask))

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
    waiting: list[tuple[int, Mask]] = list(given or steps(coder.model.ladder, 8 * budget / area))
    while waiting:
        choice = coder.fit(budget, *waiting.pop(0))
        if choice is not None and (best is None or choice.size > best.size):
            best = choice
        # A picture that its richest continuous stream does not fill may take more tokens; others are done.
        if best is not None:
            left = budget - best.size
            if left <= 0.02 * budget or best.level != LEVELS - 1:
                return best
            counts = [m * int(coder.sent(kind).sum()) for m, kind in waiting]
            while len(counts) > 1 and counts[0] < counts[1] and FEW_BITS / 8 * counts[0] < left:
                waiting.pop(0)  # too few tokens to use up what is left
                counts.pop(0)
    if best is not None:
        return best
    smallest = coder.code(0, 0, "none")  # with less, a file would say nothing of this picture
    if smallest.size <= budget:
        return smallest
    last = coder.model.ladder[-1]
    largest = coder.code(LEVELS - 1, int(last["m"]), str(last["mask"]))
    raise TargetError(
        f"{budget} bytes are too few for {coder.geo.width}x{coder.geo.height} pixels: this picture takes "
        f"{smallest.size} to {largest.size} bytes ({bpp(smallest.size, area)} to {bpp(largest.size, area)} bpp); "
        "a smaller copy of it takes fewer"
    )


def bpp(size: int, area: int) -> str:
    """Bits per pixel of so many bytes, rounded up: this much is enough."""
    return f"{-(-8_000_000 * size // area) / 1e6:.6f}"


FULL = 90.0  # the quality of the highest level that networks were trained at


def at_quality(coder: Coder, quality: float) -> Choice:
    """The settings of a quality, 0 to 100: the continuous stream alone, from the lowest rate level to the highest."""
    beyond = max(0.0, quality - FULL) / (100 - FULL)
    step = FINE * (RATE_ONE * min(quality, FULL) / FULL + (LEVELS - 1 - RATE_ONE) * beyond)
    level, offset = setting(round(step))
    return coder.code(level, 0, "none", offset)
