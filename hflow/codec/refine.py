"""Effort: the continuous stream refined by gradient, for one picture, at its size (Yang et al., NeurIPS 2020).

One pass of an analysis network is a guess. Here the latent of this very picture moves downhill through the decoder and
the entropy model, both frozen. Rounding passes gradients straight through, as it did in training; with some hundred
steps that got further than annealed noise (docs/effort.md). What is kept is always a real file within the size, judged
by decoding it. Tokens stay as they are sent; what they cost and how the rest is filled in follows the latent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, count

import numpy as np
import torch
from torch import Tensor

from hflow.codec import latents, pixels, tokens
from hflow.codec.geometry import CELL, Geometry
from hflow.codec.likeness import WAYS, Likeness
from hflow.codec.rate import FIXED, Choice
from hflow.codec.relaxed import stream_bits
from hflow.codec.threads import steady
from hflow.nets.analysis import OFFSET, quantize
from hflow.nets.bundle import Model
from hflow.nets.caller import alone, exact
from hflow.nets.feedback import answered
from hflow.nets.fusion import Given
from hflow.nets.perceptual import load_perceptual
from hflow.nets.precision import mixed

STEPS = (0, 1, 3, 5, 7, 9, 13, 19, 27, 37)  # gradient steps of each effort, 0 to 9; a candidate after the last
LOOKS = 10, 20  # and after these on the way, with a new answer of the decoder's second look to it
PACE, SLOWER = 0.0385, 0.8  # mean move of a value in the first step, in quantizer steps; its fall, a power of the step
LATEST = 0.6  # share of the newest gradient in a move; more of the older ones is to move by what no longer holds
SETTLE = 0.07  # least share of the newest rounding in their mean: where a value wavers, most of the last steps decide
SAID = 0.3  # share of that mean in a candidate; the rest is the latent itself, which decides between equals
EVEN, FLOOR = 0.9, 0.02  # power of a channel's own gradient its moves are divided by; least share of the mean square
CLIP = 0.3  # of one value in one step
FIRST = 2.0  # the rate's weight, in those that would keep the size if it went by gradients: rounded values weigh more
STEER, TRIM = 8.0, 0.3  # answer of the rate's weight to an excess now, and to the sum of excesses
WIDE = 0.15  # excesses beyond this count no more
THROUGH = 0, 4, 6  # residual blocks of the decoder that gradients go through; through all they take 1.7 times as long
FRESH = 2  # steps from one look at likeness in full size to the next
TILES = 2**20, 768, 96  # pixels of a picture that is refined whole; side and margin of a tile
TINY = 1e-12
OFFSETS, HALVINGS = (0.0, 0.8), 8  # of a rounding, between which a candidate is made to fit
TRIES = 4  # of making it fit
SURE = 1e-4  # share by which a better file costs less: what its own second look would answer is not asked for that

Watch = Callable[[float, float, float], bool]  # share done, cost of the best file, of the first; whether to go on


@dataclass(frozen=True)
class Tune:
    """What is minimised: noise times the decibels of noise above `FAINT`, plus likeness times `Likeness`."""

    noise: float
    likeness: float


FAINT = 1e-5  # mean squared error of values in 0..1 that nobody sees, 50 dB of PSNR
TUNES = {"psnr": Tune(1.0, 0.0), "balanced": Tune(0.037, 1.0), "perceptual": Tune(0.016, 1.0)}


class Refiner:
    """One picture on its way, in tiles where it is large, so that memory is bounded."""

    planes: Tensor  # the tokens that it is decoded with, those of the choice taken last

    def __init__(self, model: Model, geo: Geometry, rgb: np.ndarray, tune: Tune) -> None:
        self.model, self.geo, self.tune = model, geo, tune
        picture = pixels.whole_cells(rgb, geo)
        self.parts = [Part(model, picture, *cells) for cells in pixels.tiles(geo, TILES)]

    def descend(self, y: Tensor, rate: Tensor, fresh: bool) -> tuple[Tensor, float]:
        """The gradient of the cost with respect to y (1, C, h, w) in steps, and the cost that judges saw; see `Part`.

        Rounding and clipping pass it.
        """
        total, seen = torch.zeros_like(y), 0.0
        rounded = quantize(y.detach())
        for part in self.parts:
            here = part.of_grid(rounded).requires_grad_(True)
            x = self.decoded(part, here, rate, fresh)
            down, cost = part.gradient(x.detach().clamp(0, 1), self.tune, fresh)
            part.of_grid(total).add_(part.share * torch.autograd.grad(x, here, down)[0])
            seen += part.share * cost
        return total, seen

    @torch.no_grad()
    def ask(self, choice: Choice) -> None:
        """Let a decoder look again at a choice: what it answers, everything is decoded with until the next time."""
        y, rate = self.take(choice)
        for part in self.parts:
            here = part.of_grid(y)
            with mixed(self.model.device):
                part.answer = answered(self.model.nets, part.of_grid(self.planes, 2), here, rate) - here

    @torch.no_grad()
    def cost(self, choice: Choice) -> float:
        """The cost of what a decoder makes of a choice, if its second look still answers as when it was asked."""
        y, rate = self.take(choice)
        total = 0.0
        for part in self.parts:
            x = self.decoded(part, part.of_grid(y), rate, True).clamp(0, 1)
            total += part.share * float(part.cost(x, self.tune))
        return total

    def take(self, choice: Choice) -> tuple[Tensor, Tensor]:
        """y and rate of a choice, whose tokens everything is decoded with from now on."""
        assert choice.level is not None and choice.y is not None
        self.planes = pixels.token_planes(self.model, self.geo, choice.tokens, choice.sent)
        return pixels.on_device(self.model, choice.y), pixels.rate_tensor(self.model, choice.level)

    def decoded(self, part: Part, y: Tensor, rate: Tensor, fresh: bool) -> Tensor:
        """y (1, C, h, w) in steps of a part, with the answer that it has, to the pixels that are its own.

        Unless `fresh`, what late blocks add is what they added the last time; the first must be.
        """
        nets, part.given.fresh = self.model.nets, fresh
        dequantised = (y + part.answer) / nets.gain(rate)
        with mixed(self.model.device):
            cont = nets.decoder.correction(dequantised, rate)
            x = nets.decoder(part.of_grid(self.planes, 2), cont, given=part.given).float()
        return x[:, :, part.core[0], part.core[1]]


class Part:
    """A tile: which cells it takes (rows, cols), which pixels of those are its own (core), and its share of all."""

    full: tuple[Tensor, float]  # the gradient of likeness at full size and that likeness, when last it was asked
    answer: Tensor  # what the decoder's second look made of y, less y, when last it was asked

    def __init__(
        self, model: Model, picture: np.ndarray, rows: slice, cols: slice, core_rows: slice, core_cols: slice
    ) -> None:
        self.device, self.rows, self.cols = model.device, rows, cols
        self.core = pixels.scaled(core_rows, CELL), pixels.scaled(core_cols, CELL)
        top, left = CELL * rows.start + self.core[0].start, CELL * cols.start + self.core[1].start
        height, width = (s.stop - s.start for s in self.core)
        self.share = height * width / (picture.shape[0] * picture.shape[1])
        own = torch.from_numpy(picture[top : top + height, left : left + width].astype(np.float32) / 255)
        self.own = own.to(self.device).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
        self.given = Given(THROUGH)
        with mixed(self.device):
            self.likeness = Likeness(model.nets.analysis, load_perceptual(model), self.own)
        chance = np.random.default_rng(0)
        by_chance = (int(chance.integers(WAYS)) for _ in count())
        self.ways = chain([0] * self.likeness.scales, by_chance)  # from which sides likeness is asked for

    def of_grid(self, x: Tensor, k: int = 1) -> Tensor:
        """Its cells of x (B, C, k * h, k * w), a view."""
        return x[:, :, pixels.scaled(self.rows, k), pixels.scaled(self.cols, k)]

    def cost(self, x: Tensor, tune: Tune) -> Tensor:
        """The cost of its decoded pixels (1, 3, h, w)."""
        noise = self.noise(x, tune)
        if not tune.likeness:
            return noise
        with mixed(self.device):
            return noise + tune.likeness * self.likeness.distance(x)

    def noise(self, x: Tensor, tune: Tune) -> Tensor:
        """The part of the cost that is squared error's."""
        return tune.noise * 10 * torch.log10(1 + (x - self.own).square().mean() / FAINT)

    def gradient(self, x: Tensor, tune: Tune, fresh: bool) -> tuple[Tensor, float]:
        """Of the cost, with respect to decoded pixels (1, 3, h, w) in 0..1, and the cost; the first must be `fresh`.

        The others take likeness at full size as it was last time. It is a quarter of a step, and from one step to the
        next it hardly changes its mind. Judges see the pictures from another side every time, so that what is learnt is
        not about one of them; only at first as they are, so that the first cost is `cost`'s.
        """
        x.requires_grad_(True)
        with mixed(self.device):
            terms = [self.noise(x, tune)]
            if tune.likeness:
                terms += [tune.likeness * self.likeness.at(x, k, self.way()) for k in range(1, self.likeness.scales)]
                if fresh:
                    full = tune.likeness * self.likeness.at(x, 0, self.way())
                    self.full = torch.autograd.grad(full, x)[0], float(full.detach())
        near = torch.stack(terms).sum()
        down = torch.autograd.grad(near, x)[0]
        if not tune.likeness:
            return down, float(near.detach())
        return down + self.full[0], float(near.detach()) + self.full[1]

    def way(self) -> int:
        """The next side; the same ones for every search, so that a higher effort begins as a lower one does."""
        return next(self.ways)


def integers(x: Tensor) -> np.ndarray:
    """(1, C, h, w) of whole numbers to (h, w, C)."""
    return pixels.rows_first(x.detach()).astype(np.int64)


class Search:
    """The descent for one picture: `best` is the best file that a look has found, `cost` its cost, `first` the start's.

    Both costs are known from the first step on.

    rgb: (H, W, 3) uint8; found: what `pixels.trunk` gives; start: with a continuous stream; budget: bytes of a file.
    """

    @exact
    def __init__(
        self, model: Model, geo: Geometry, rgb: np.ndarray, found: tuple[Tensor, Tensor], start: Choice, budget: int,
        tune: Tune,
    ) -> None:  # fmt: skip
        assert start.level is not None and start.y is not None
        self.model, self.geo, self.level, self.budget = model, geo, start.level, budget
        self.bits = 8 * (budget - FIXED - 1 - max(0, start.size - FIXED - len(start.continuous)))
        self.picture = Refiner(model, geo, rgb, tune)
        self.start = self.best = start
        self.steps, self.first, self.cost = 0, math.inf, math.inf
        self.picture.ask(start)
        self.rate = pixels.rate_tensor(model, self.level)
        with torch.no_grad():
            y = model.nets.analysis.latent(*found, self.rate) * model.nets.gain(self.rate)
            y = y.sign() * (y.abs() + start.offset - OFFSET).clamp(min=0)  # so that it rounds to the start
            z = model.nets.hyper(quantize(y))
        self.y, self.z = y.clone().requires_grad_(True), z.clone().requires_grad_(True)
        self.settled, self.moving, self.size = quantize(y), torch.zeros_like(y), 0.0
        self.squares = torch.zeros_like(y)  # mean square of the gradient by channel, (1, C, 1, 1) from the first step
        self.weight, self.excesses = 0.0, 0.0  # of the rate; sum of how far it was too high

    @exact
    def step(self) -> None:
        """Move the latent."""
        y, z = self.y, self.z
        down, seen = self.picture.descend(y, self.rate, self.steps % FRESH == 0)
        hard = y + (quantize(y) - y).detach()
        bits, now = stream_bits(self.model, self.level, y, hard, z)
        up, up_z = torch.autograd.grad(bits, [y, z])
        with torch.no_grad():
            if self.steps == 0:
                self.first = self.cost = seen
                self.weight = FIRST * max(TINY, -float((down * up).sum() / (up.square().sum() + TINY)))
            excess = max(-WIDE, min(WIDE, math.log(max(1.0, now) / max(1.0, self.bits))))
            self.excesses += excess
            g = self.even(down + self.weight * math.exp(STEER * excess + TRIM * self.excesses) * up)
            norm = float(g.square().mean().sqrt()) + TINY
            self.size = norm if self.steps == 0 else 0.8 * self.size + 0.2 * norm
            self.moving.lerp_(g / self.size, 1.0 if self.steps == 0 else LATEST)
            pace = PACE / (self.steps + 1) ** SLOWER
            y -= (pace * self.moving).clamp(-CLIP, CLIP)
            z -= (pace * up_z / (up_z.square().mean().sqrt() + TINY)).clamp(-CLIP, CLIP)
            self.settled.lerp_(quantize(y), max(SETTLE, 1 / (1 + self.steps / 2)))
        self.steps += 1

    def even(self, g: Tensor) -> Tensor:
        """A gradient (1, C, h, w), its channels brought closer to one size.

        Adam's division (Kingma and Ba, ICLR 2015), but one for a channel and with a floor: of 320 channels most have
        next to no gradient, and those are to stay where they are.
        """
        square = g.square().mean((0, 2, 3), keepdim=True)
        self.squares = square if self.steps == 0 else torch.lerp(self.squares, square, 0.1)
        return g / (self.squares / (self.squares.mean() + TINY) + FLOOR) ** (EVEN / 2)

    def measure(self, y: np.ndarray) -> float:
        """Bits of integers y (h, w, C) with z as it is."""
        return latents.measure(self.model, self.geo, self.level, integers(torch.floor(self.z + 0.5)), y)

    @exact
    @torch.no_grad()
    def look(self, ask: bool = False) -> None:
        """Make a file of the latent as it is, and keep it if it is better.

        ask: what a decoder's second look answers to it; all that follows is decoded with that.
        """
        for _ in range(TRIES):
            if (y := self.fitting()) is None:
                return
            found = self.coded(y)
            if found.size <= self.budget:
                if ask:
                    self.picture.ask(found)
                if (cost := self.picture.cost(found)) < (1 - SURE) * self.cost:
                    self.best, self.cost = found, cost
                return
            self.bits -= 8 * (found.size - self.budget)  # tokens cost more beside this latent, or the coder's end does

    def fitting(self) -> np.ndarray | None:
        """Integers (h, w, C) that fit, with the largest offset with which they do.

        What is rounded lies between the latent and the mean of its roundings. After few steps that has few values.
        """
        low, high = OFFSETS
        mean = torch.lerp(self.y.detach(), self.settled, SAID)
        y = None
        for _ in range(HALVINGS):
            offset = (low + high) / 2
            tried = integers(quantize(mean, offset))
            if self.measure(tried) <= self.bits:
                low, y = offset, tried
            else:
                high = offset
        return y

    def coded(self, y: np.ndarray) -> Choice:
        """The start with other integers (h, w, C) in the continuous stream, and the same tokens sent beside it."""
        model, geo, level, start = self.model, self.geo, self.level, self.start
        data = latents.write(model, geo, level, integers(torch.floor(self.z + 0.5)), y)
        if start.tokens is None or start.sent is None:
            return replace(start, y=y, continuous=data)
        chunks, full = tokens.write(model, geo, level, y, start.m, start.sent, start.tokens)
        return replace(start, y=y, continuous=data, chunks=tuple(chunks) if start.chunks else (), tokens=full)


@alone
@steady(lambda geo: geo.area)
def refine(
    model: Model, geo: Geometry, rgb: np.ndarray, found: tuple[Tensor, Tensor], start: Choice, budget: int, steps: int,
    tune: Tune, watch: Watch | None = None,
) -> Choice:  # fmt: skip
    """The best file of at most `budget` bytes that so many steps come by; `start` if none is better.

    Arguments as for `Search`, but a start without a continuous stream is what is returned. More steps begin with the
    same ones. watch: called after every step; False ends it, with a look at what there is.
    """
    if not refinable(start, budget) or steps == 0:
        return start
    search = Search(model, geo, rgb, found, start, budget, tune)
    for step in range(1, steps + 1):
        search.step()
        if due := step in LOOKS or step == steps:
            search.look(ask=step < steps)
        if watch is not None and not watch(step / steps, search.cost, search.first):
            if not due:
                search.look()
            break
    return search.best


def refinable(start: Choice, budget: int) -> bool:
    """Whether there is something to refine: a continuous stream, and room for it."""
    return start.level is not None and budget > FIXED + 1
