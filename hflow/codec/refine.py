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
PACE, SLOWER_FROM = 0.004, 20  # mean move of a value in a step, in its quantizer steps; falls as 1/sqrt beyond
CLIP = 0.3  # of one value in one step
LOOK = 5  # steps between candidates
STEER, TRIM = 5.0, 0.3  # answer of the rate's weight to an excess now, and to the sum of excesses
WIDE = 0.15  # excesses beyond this count no more
OFFSETS = 0.2, 0.6  # of the rounding, in which a candidate is made to fit

Watch = Callable[[float, float, float], bool]  # share done, cost now, cost at the start; whether to go on


@dataclass(frozen=True)
class Tune:
    """What is minimised: mse times the mean squared error of values in 0..1, plus likeness times `Likeness`."""

    mse: float
    likeness: float


TUNES = {"psnr": Tune(20.0, 0.0), "balanced": Tune(20.0, 0.8), "perceptual": Tune(10.0, 1.0)}


class Refiner:
    """One picture on its way."""

    def __init__(self, model: Model, geo: Geometry, rgb: np.ndarray, tune: Tune) -> None:
        self.model, self.geo, self.tune = model, geo, tune
        edge = ((0, geo.h * CELL - geo.height), (0, geo.w * CELL - geo.width), (0, 0))
        self.picture = self._tensor(np.pad(rgb, edge, mode="edge"))
        with mixed(model.device):
            self.likeness = Likeness(model, self.picture)

    def _tensor(self, rgb: np.ndarray) -> Tensor:
        x = torch.from_numpy(rgb.astype(np.float32) / 255).to(self.model.device).permute(2, 0, 1)[None]
        return x.contiguous(memory_format=torch.channels_last)

    def loss(self, x: Tensor) -> Tensor:
        """The cost of a decoded picture (1, 3, H, W)."""
        total = self.tune.mse * (x - self.picture).square().mean()
        return total + self.tune.likeness * self.likeness.distance(x) if self.tune.likeness else total

    @torch.no_grad()
    def cost(self, level: int, y: np.ndarray) -> float:
        """The cost of what a decoder makes of y (h, w, C)."""
        whole = Geometry(self.geo.w * CELL, self.geo.h * CELL)
        with mixed(self.model.device):
            return float(self.loss(self._tensor(pixels.synthesize(self.model, whole, level, y, None, None))))

    def synthesis(self, y: Tensor, level: int) -> Tensor:
        """Dequantised y (1, C, h, w) to the picture, with gradients."""
        cfg, nets = self.model.cfg, self.model.nets
        planes = y.new_zeros(1, cfg.m_max * cfg.dims + 2, 2 * self.geo.h, 2 * self.geo.w)
        with mixed(self.model.device):
            return nets.decoder(planes, nets.decoder.correction(y, pixels.rate_tensor(self.model, level))).float()


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
    if level is None or start.m or start.y is None or steps == 0:
        return start
    job = Refiner(model, geo, rgb, tune)
    first = best_cost = job.cost(level, start.y)
    best, bits = start, 8 * (budget - FIXED - 1)
    rate = pixels.rate_tensor(model, level)
    with torch.no_grad():
        gain = model.nets.gain(rate)
        y = model.nets.analysis.latent(*found, rate) * gain
        z = model.nets.hyper(quantize(y))
    y, z = y.clone().requires_grad_(True), z.clone().requires_grad_(True)
    moving, size, weight, excesses = torch.zeros_like(y), 0.0, None, 0.0
    for step in range(steps):
        hard = y + (quantize(y) - y).detach()
        cost = job.loss(job.synthesis(hard / gain, level))
        down = torch.autograd.grad(cost, y)[0]
        took = stream_bits(model, level, y, hard, z)
        up, up_z = torch.autograd.grad(took, [y, z])
        with torch.no_grad():
            if weight is None:  # at first the one that leaves the size as it is
                weight = max(1e-9, -float((down * up).sum() / up.square().sum()))
            now = latents.measure(model, geo, level, integers(torch.floor(z + 0.5)), integers(quantize(y)))
            excess = max(-WIDE, min(WIDE, math.log(now / bits)))
            excesses += excess
            g = down + weight * math.exp(STEER * excess + TRIM * excesses) * up
            norm = float(g.square().mean().sqrt())
            size = norm if step == 0 else 0.8 * size + 0.2 * norm
            moving = g / size if step == 0 else moving.lerp(g / size, 0.1)
            pace = PACE * min(1.0, SLOWER_FROM / (step + 1)) ** 0.5
            y -= (pace * moving).clamp(-CLIP, CLIP)
            z -= (pace * up_z / (up_z.square().mean().sqrt() + 1e-12)).clamp(-CLIP, CLIP)
        if (step + 1) % LOOK == 0:
            fitted = fit(model, geo, level, y, z, bits)
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
