"""Entropy model of the continuous stream, integer-only: hyperprior, slices, checkerboard, local and global context.

After MLIC (Jiang et al., ACM MM 2023): each slice of the latent is coded in the passes of a checkerboard; its
parameters come from the hyper-latent, the slices before it, what is known of it, and a mean over the whole picture.
Slices with much to tell take four passes, after the quadtree partition of Li, Li and Lu (CVPR 2023).
The network is written once over `ops` (see hflow.integer): training, decoding and the reference run the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hflow.integer import scales as S
from hflow.integer.twin import QLinear, QTable
from hflow.nets.config import NetConfig
from hflow.nets.linear import start_scale

HIDDEN = 96  # features on the grid of y
WIDE = 128  # features inside a slice


class LatentTwin(nn.Module):
    """The trainable parameters; the forward pass is `hyper_features` and `walk`."""

    def __init__(self, cfg: NetConfig, hidden: int = HIDDEN, wide: int = WIDE) -> None:
        super().__init__()
        self.z_mean = QTable(cfg.rates, cfg.hyper, S.MEAN, 0.0)
        self.z_scale = QTable(cfg.rates, cfg.hyper, 3, 0.0)
        self.rate = QTable(cfg.rates, hidden, S.ACT, 0.0)
        self.up1 = QLinear(9 * cfg.hyper, 4 * hidden, S.ACT, 0.3)
        self.up2 = QLinear(9 * hidden, 4 * hidden, S.ACT)
        ends = np.cumsum([0, *cfg.slices])
        spread = start_scale(cfg.coarse, cfg.fine)
        self.slices = nn.ModuleList(
            SliceTwin(hidden + cfg.latent, wide, spread[a:b], n)
            for (a, b), n in zip(pairwise(ends), cfg.passes or [0] * len(cfg.slices), strict=True)
        )


class SliceTwin(nn.Module):
    """Parameters of one channel slice; spread (channels,): its rough log scales to start from.

    passes: in which it is coded, each but the first with a layer `own` for what the passes before it have told; or 0:
    two, and `local` sees that.
    """

    def __init__(self, context: int, wide: int, spread: Tensor, passes: int) -> None:
        super().__init__()
        channels = len(spread)
        self.local = QLinear(9 * context, wide, S.ACT, 0.5)
        self.own = nn.ModuleList(QLinear(9 * channels, wide, S.ACT, 0.5) for _ in range(1, passes))
        self.mix = QLinear(wide, wide, S.ACT)
        self.everywhere = QLinear(wide, wide, S.ACT)
        self.out = QLinear(wide, 2 * channels, S.ACT, 0.3)
        with torch.no_grad():  # see scale_index: eight indices per unit
            self.out.b[channels:] = (spread - S.SCALE_ZERO) / S.SCALE_STEP / 8


def upscale(ops: Any, x: Any) -> Any:
    """Pixel shuffle by 2, channel-last: (B, H, W, 4C) to (B, 2H, 2W, C), the four parts row by row."""
    b, h, w, c = x.shape
    x = ops.permute(x.reshape(b, h, w, 2, 2, c // 4), (0, 1, 3, 2, 4, 5))
    return x.reshape(b, 2 * h, 2 * w, c // 4)


def scale_index(ops: Any, x: Any, bits: int, scales: int) -> Any:
    """Network output to a scale index in 0..scales-1; eight indices per unit, zero at scales - WIDER."""
    middle = scales // 2
    return ops.shift(x + (scales - S.WIDER - middle) * 2 ** (bits - 3), bits - 3, middle - 1) + middle


def hyper_prior(ops: Any, p: Any, anchor: Any, scales: int) -> tuple[Any, Any]:
    """Means (in eighths) and scale indices of z for anchor rates (B,): both (B, 1, 1, Cz)."""
    mean, scale = (ops.embed(t.rows, anchor) for t in (p.z_mean, p.z_scale))
    shape = (mean.shape[0], 1, 1, mean.shape[1])
    return mean.reshape(shape), scale_index(ops, scale, 3, scales).reshape(shape)


def hyper_features(ops: Any, t: dict[str, Any], p: Any, z: Any, anchor: Any, h: int, w: int) -> Any:
    """z (B, hz, wz, Cz), anchor rates (B,) to features (B, h, w, hidden) on the grid of y."""
    x = ops.shift(ops.conv3(ops.table(z, t["squash"]), p.up1), p.up1.acc_bits - S.ACT, 127)
    x = ops.table(upscale(ops, x), t["gelu"])
    x = upscale(ops, ops.shift(ops.conv3(x, p.up2), p.up2.acc_bits - S.ACT, 127))
    rate = ops.embed(p.rate.rows, anchor)
    return ops.table(x[:, :h, :w] + rate.reshape(rate.shape[0], 1, 1, rate.shape[1]), t["gelu"])


class Layer(NamedTuple):
    """Weights (N, K) and bias (N,), or 0."""

    weight: Any
    bias: Any


class Local(NamedTuple):
    """The slices' `local` layers by what they look at. Sums of integers are exact, so they can be added up in parts.

    hyper: from the hyperprior's features to all slices, with their biases. onward: from a finished slice to all after
    it, so the last has none. own: from the half of a slice that is known to the other, where slices have no layers
    `own`.
    """

    hyper: Layer
    own: list[Layer]
    onward: list[Layer]


def by_source(ops: Any, p: Any, cfg: NetConfig) -> Local:
    """Of a `LatentTwin` or a tree of its integers."""
    channels = cfg.slices
    wide = p.slices[0].mix.weight.shape[0]
    weights = [s.local.weight.reshape(wide, 9, -1) for s in p.slices]
    biases = [s.local.bias for s in p.slices]
    hidden = weights[0].shape[2] - sum(channels)
    ends = np.cumsum([hidden, *channels])

    def rows(start: int, end: int, to: range) -> Any:
        return ops.cat([weights[s][:, :, start:end].reshape(wide, -1).T for s in to]).T

    n = len(channels)
    return Local(
        Layer(rows(0, hidden, range(n)), ops.cat(biases)),
        [] if cfg.passes else [Layer(rows(ends[s], ends[s + 1], range(s, s + 1)), 0) for s in range(n)],
        [Layer(rows(ends[s], ends[s + 1], range(s + 1, n)), 0) for s in range(n - 1)],
    )


def slice_params(
    ops: Any, t: dict[str, Any], p: Any, x: Any, scales: int, pick: Callable[[Any], Any] = lambda x: x
) -> tuple[Any, Any]:
    """What `local` and `own` say, (B, h, w, wide), to means in eighths and scale indices, both (B, h, w, C).

    pick: of several passes, one after the other in the batch, what each cell needs; from there on cells are on their
    own.
    """
    x = ops.table(x, t["gelu"])
    g = ops.shift(ops.linear(ops.grid_mean(x), p.everywhere), p.everywhere.acc_bits - S.ACT, 127)
    x, g = pick(x), pick(g)
    x = ops.table(ops.shift(ops.linear(x, p.mix), p.mix.acc_bits - S.ACT, 127) + g, t["gelu"])
    out = ops.linear(x, p.out)
    c = out.shape[-1] // 2
    mean = ops.shift(out[..., :c], p.out.acc_bits - S.MEAN, 2**10)
    return mean, scale_index(ops, out[..., c:], p.out.acc_bits, scales)


def passes(h: int, w: int, count: int) -> list[np.ndarray]:
    """The cells of each of 1, 2 or 4 passes, (h, w) int: a checkerboard, and of four passes even rows of it first."""
    rows, cols = np.ogrid[:h, :w]
    odd = (rows + cols) % 2
    order = {1: 0 * odd, 2: odd, 4: 2 * odd + rows % 2}[count]
    return [(order == k).astype(np.int64) for k in range(count)]


Passes = list[list[tuple[np.ndarray, Any]]]


def all_passes(ops: Any, h: int, w: int, cfg: NetConfig) -> Passes:
    """Of each slice, the cells of its passes, and the same as `ops` selects by them."""
    made = {n: [(m, ops.const(m[None, :, :, None])) for m in passes(h, w, n)] for n in set(cfg.turns)}
    return [made[n] for n in cfg.turns]


Fill = Callable[[int, int, np.ndarray, Any, Any], Any]


def walk(
    ops: Any, t: dict[str, Any], p: Any, hyper: Any, cfg: NetConfig, fill: Fill, local: Local | None = None,
    masks: Passes | None = None,
) -> Iterator[Any]:  # fmt: skip
    """Visits the latent in coding order.

    For every slice and pass calls `fill(slice, pass, mask (h, w), means, scale indices)`, which returns the slice's
    values (B, h, w, C), valid at least where the mask is 1. Yields the finished slices. local: what `by_source` makes
    of p, masks: what `all_passes` makes of the size, where they are at hand.
    """
    h, w = hyper.shape[1:3]
    masks = masks or all_passes(ops, h, w, cfg)
    local = local or by_source(ops, p, cfg)
    # A slice looks at all of those before it; what is not known yet is 0, which says nothing.
    sums = ops.conv3(hyper, local.hyper)
    wide = sums.shape[-1] // len(cfg.slices)
    for s, part in enumerate(p.slices):
        now: Any = 0
        here, sums = sums[..., :wide], sums[..., wide:]
        x = first = ops.shift(here, part.local.acc_bits - S.ACT, 127)
        own = local.own[s] if local.own else None
        for turn, (mask, ones) in enumerate(masks[s]):
            if turn:
                x = _heard(ops, part, own, turn, here, first, ops.table(now, t["squash"]))
            now = ops.where(ones, fill(s, turn, mask, *slice_params(ops, t, part, x, cfg.scales)), now)
        if s < len(local.onward):
            sums = sums + ops.conv3(ops.table(now, t["squash"]), local.onward[s])
        yield now


def known(
    ops: Any, t: dict[str, Any], p: Any, hyper: Any, cfg: NetConfig, y: Any, local: Local | None = None
) -> tuple[Any, Any]:
    """Means and scale indices, both (B, h, w, latent), of a latent y (B, h, w, latent) that is there as a whole.

    They are what `walk` says to `fill` when it comes to each value, but all passes of a slice are computed at once.
    """
    h, w = hyper.shape[1:3]
    masks = all_passes(ops, h, w, cfg)
    local = local or by_source(ops, p, cfg)
    ends = np.cumsum([0, *cfg.slices])
    sums = ops.conv3(hyper, local.hyper)
    wide = sums.shape[-1] // len(cfg.slices)
    found = []
    for s, part in enumerate(p.slices):
        here, sums = sums[..., :wide], sums[..., wide:]
        told = ops.table(y[..., ends[s] : ends[s + 1]], t["squash"])
        first = ops.shift(here, part.local.acc_bits - S.ACT, 127)
        ones = [mask for _, mask in masks[s]]
        x, own = [first], local.own[s] if local.own else None
        for turn in range(1, len(ones)):
            before = told * sum(ones[:turn])
            x.append(_heard(ops, part, own, turn, here, first, before))

        def pick(of: Any, ones: list[Any] = ones) -> Any:
            each = of.reshape(len(ones), -1, *of.shape[1:])
            out = each[0]
            for mask, other in zip(ones[1:], each[1:], strict=True):
                out = ops.where(mask, other, out)
            return out

        found.append(slice_params(ops, t, part, ops.stack(x), cfg.scales, pick))
        if s < len(local.onward):
            sums = sums + ops.conv3(told, local.onward[s])
    mean, scale = zip(*found, strict=True)
    return ops.cat(mean), ops.cat(scale)


def _heard(ops: Any, part: Any, own: Layer | None, turn: int, here: Any, first: Any, told: Any) -> Any:
    """What `local` says, with what passes before this one told of the slice; own: of a slice without layers `own`."""
    if own is None:
        layer = part.own[turn - 1]
        return first + ops.shift(ops.conv3(told, layer), layer.acc_bits - S.ACT, 127)
    return ops.shift(here + ops.conv3(told, own), part.local.acc_bits - S.ACT, 127)


def tables(ops: Any) -> dict[str, Any]:
    """The activation tables that both integer networks use, in the backend's own arrays."""
    return {
        "gelu": ops.const(S.gelu_table()),
        "squash": ops.const(S.squash_table()),
        "attention": ops.const(S.attention_table()),
        "exp2": ops.const(S.exp2_table()),
    }
