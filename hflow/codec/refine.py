"""Effort: the continuous stream refined by gradient, for one picture, at its size (Yang et al., NeurIPS 2020).

One pass of an analysis network is a guess. Here the latent of this very picture moves downhill through the decoder and
the entropy model, both frozen. Rounding passes gradients straight through, as it did in training; with some hundred
steps that got further than annealed noise (docs/effort.md). What is kept is always a real file within the size, judged
by decoding it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hflow.codec import latents, pixels
from hflow.codec.geometry import CELL, Geometry
from hflow.codec.likeness import Likeness
from hflow.codec.rate import FIXED, Choice
from hflow.codec.relaxed import stream_bits
from hflow.nets.analysis import OFFSET, quantize
from hflow.nets.bundle import Model, exact
from hflow.nets.precision import mixed

STEPS = (0, 5, 10, 15, 20, 30, 40, 60, 80, 110)  # gradient steps of each effort, 0 to 9
PACE, SLOWER_FROM = 0.0025, 30  # mean move of a value in a step, in its quantizer steps; falls as 1/sqrt beyond
SETTLE = 0.2  # of the running mean of the latent: values that waver around a threshold come to rest
CLIP = 0.3  # of one value in one step
LOOK = 5  # steps between candidates
STEER, TRIM = 5.0, 0.3  # answer of the rate's weight to an excess now, and to the sum of excesses
WIDE = 0.15  # excesses beyond this count no more
TILES = 2**20, 768, 96  # pixels of a picture that is refined whole; side and margin of a tile
TINY = 1e-12
OFFSETS = 0.2, 0.6  # of the rounding, in which a candidate is made to fit

Watch = Callable[[float, float, float], bool]  # share done, cost now, cost at the start; whether to go on


@dataclass(frozen=True)
class Tune:
    """What is minimised: mse times the mean squared error of values in 0..1, plus likeness times `Likeness`."""

    mse: float
    likeness: float


TUNES = {"psnr": Tune(20.0, 0.0), "balanced": Tune(20.0, 0.8), "perceptual": Tune(10.0, 1.0)}


class Refiner:
    """One picture on its way, in tiles where it is large, so that memory is bounded."""

    def __init__(self, model: Model, geo: Geometry, rgb: np.ndarray, tune: Tune) -> None:
        self.model, self.geo, self.tune = model, geo, tune
        edge = ((0, geo.h * CELL - geo.height), (0, geo.w * CELL - geo.width), (0, 0))
        picture = np.pad(rgb, edge, mode="edge")
        self.parts = [Part(model, picture, *cells) for cells in pixels.tiles(geo, *TILES)]

    def descend(self, y: Tensor, gain: Tensor, level: int) -> Tensor:
        """The gradient of the cost with respect to y (1, C, h, w) in steps; rounding passes it on."""
        total = torch.zeros_like(y)
        rounded = quantize(y.detach())
        for part in self.parts:
            here = rounded[:, :, part.rows, part.cols].requires_grad_(True)
            x = synthesis(self.model, here / gain, level)[:, :, part.core[0], part.core[1]]
            down = torch.autograd.grad(part.cost(x, self.tune), here)[0]
            total[:, :, part.rows, part.cols] += part.share * down
        return total

    @torch.no_grad()
    def cost(self, level: int, y: np.ndarray) -> float:
        """The cost of what a decoder makes of y (h, w, C)."""
        whole = Geometry(self.geo.w * CELL, self.geo.h * CELL)
        picture = pixels.synthesize(self.model, whole, level, y, None, None)
        return sum(part.share * float(part.cost(part.of(picture), self.tune)) for part in self.parts)


class Part:
    """A tile: which cells it takes (rows, cols), which pixels of those are its own (core), and its share of all."""

    def __init__(
        self, model: Model, picture: np.ndarray, rows: slice, cols: slice, core_rows: slice, core_cols: slice
    ) -> None:
        self.device, self.rows, self.cols = model.device, rows, cols
        self.core = pixels.scaled(core_rows, CELL), pixels.scaled(core_cols, CELL)
        top, left = CELL * rows.start + self.core[0].start, CELL * cols.start + self.core[1].start
        height, width = (s.stop - s.start for s in self.core)
        self.place = slice(top, top + height), slice(left, left + width)
        self.share = height * width / (picture.shape[0] * picture.shape[1])
        self.own = self.of(picture)
        with mixed(self.device):
            self.likeness = Likeness(model, self.own)

    def of(self, picture: np.ndarray) -> Tensor:
        """Its pixels of a picture (H, W, 3) uint8, as (1, 3, h, w) in 0..1."""
        x = torch.from_numpy(picture[self.place].astype(np.float32) / 255).to(self.device).permute(2, 0, 1)[None]
        return x.contiguous(memory_format=torch.channels_last)

    def cost(self, x: Tensor, tune: Tune) -> Tensor:
        """The cost of its decoded pixels (1, 3, h, w)."""
        total = tune.mse * (x - self.own).square().mean()
        if not tune.likeness:
            return total
        with mixed(self.device):
            return total + tune.likeness * self.likeness.distance(x)


def synthesis(model: Model, y: Tensor, level: int) -> Tensor:
    """Dequantised y (1, C, h, w) to the picture (1, 3, 32h, 32w), with gradients."""
    planes = y.new_zeros(1, model.cfg.m_max * model.cfg.dims + 2, 2 * y.shape[2], 2 * y.shape[3])
    with mixed(model.device):
        continuous = model.nets.decoder.correction(y, pixels.rate_tensor(model, level))
        x: Tensor = model.nets.decoder(planes, continuous).float()
    return x


def integers(x: Tensor) -> np.ndarray:
    """(1, C, h, w) of whole numbers to (h, w, C)."""
    return x.detach()[0].permute(1, 2, 0).cpu().numpy().astype(np.int64)


@exact
def refine(
    model: Model, geo: Geometry, rgb: np.ndarray, found: tuple[Tensor, Tensor], start: Choice, budget: int, steps: int,
    tune: Tune, watch: Watch | None = None,
) -> Choice:  # fmt: skip
    """The best file of at most `budget` bytes that so many steps come by; `start` if none is better.

    rgb: (H, W, 3) uint8; found: what `pixels.trunk` gives; start: without tokens. More steps never give a higher cost:
    they begin with the same ones. watch: called after every step; False ends it.
    """
    level = start.level
    best, bits = start, 8 * (budget - FIXED - 1)
    if level is None or start.m or start.y is None or steps == 0 or bits <= 0:
        return start
    job = Refiner(model, geo, rgb, tune)
    first = best_cost = job.cost(level, start.y)
    rate = pixels.rate_tensor(model, level)
    with torch.no_grad():
        gain = model.nets.gain(rate)
        y = model.nets.analysis.latent(*found, rate) * gain
        z = model.nets.hyper(quantize(y))
    y, z = y.clone().requires_grad_(True), z.clone().requires_grad_(True)
    moving, size, weight, excesses = torch.zeros_like(y), 0.0, None, 0.0
    settled = y.detach().clone()
    for step in range(steps):
        hard = y + (quantize(y) - y).detach()
        down = job.descend(y, gain, level)
        took = stream_bits(model, level, y, hard, z)
        up, up_z = torch.autograd.grad(took, [y, z])
        with torch.no_grad():
            if weight is None:  # at first the one that leaves the size as it is
                weight = max(1e-9, -float((down * up).sum() / (up.square().sum() + TINY)))
            now = latents.measure(model, geo, level, integers(torch.floor(z + 0.5)), integers(quantize(y)))
            excess = max(-WIDE, min(WIDE, math.log(max(now, 1.0) / bits)))
            excesses += excess
            g = down + weight * math.exp(STEER * excess + TRIM * excesses) * up
            norm = float(g.square().mean().sqrt()) + TINY
            size = norm if step == 0 else 0.8 * size + 0.2 * norm
            moving = g / size if step == 0 else moving.lerp(g / size, 0.1)
            pace = PACE * min(1.0, SLOWER_FROM / (step + 1)) ** 0.5
            y -= (pace * moving).clamp(-CLIP, CLIP)
            settled.lerp_(y, SETTLE)
            z -= (pace * up_z / (up_z.square().mean().sqrt() + TINY)).clamp(-CLIP, CLIP)
        if (step + 1) % LOOK == 0:
            fitted = fit(model, geo, level, settled, z, bits)
            if fitted is not None and (c := job.cost(level, fitted[1])) < best_cost:
                data = latents.write(model, geo, level, *fitted)
                found_choice = replace(start, y=fitted[1], continuous=data)
                if found_choice.size <= budget:
                    best, best_cost = found_choice, c
        if watch is not None and not watch((step + 1) / steps, best_cost, first):
            break
    return best


@torch.no_grad()
def fit(
    model: Model, geo: Geometry, level: int, y: Tensor, z: Tensor, bits: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """z and y rounded to integers, y with the largest offset with which they take at most `bits`; None if none does."""
    whole = integers(torch.floor(z + 0.5))
    low, high = OFFSETS
    best = None
    for middle in (OFFSET, *([0.0] * 6)):
        middle = middle or (low + high) / 2
        tried = integers(quantize(y, middle))
        if latents.measure(model, geo, level, whole, tried) <= bits:
            low, best = middle, (whole, tried)
        else:
            high = middle
    return best
