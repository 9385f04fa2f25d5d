"""The continuous stream and what enhances it (decoding.md, section 3): section data to y."""

from __future__ import annotations

import numpy as np

from hflow.errors import FormatError
from hflow.reference.bundle import Bundle
from hflow.reference.ops import act, conv3, grid_mean, linear, scale_index, shift, table, upscale
from hflow.reference.range_decoder import CutDecoder, RangeDecoder, latents
from hflow.reference.tables import GELU, LATENT, POWER, SQUASH

Decoder = RangeDecoder | CutDecoder
Bounds = tuple[np.ndarray, np.ndarray]
RATES, RATE_ONE = 80, 63  # section 2: how many rate levels there are, and which of them is at the last anchor rate


def group(
    bundle: Bundle, decoder: Decoder, mean: np.ndarray, scale: np.ndarray, bounds: Bounds | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Sections 3.1 and 3.5: values of the shape of their means, in the order in which they are stored, and which are
    known."""
    numbers = (8 * scale + mean % 8).ravel().tolist()
    nearest = (mean % 8 >= 4).ravel().tolist()
    within = None
    if bounds is not None:
        within = list(zip(*((b - mean // 8).ravel().tolist() for b in bounds), strict=True))
    found = latents(decoder, LATENT[bundle.scales], numbers, within)
    values = [n if v is None else v for v, n in zip(found, nearest, strict=True)]
    known = np.array([v is not None for v in found], bool).reshape(mean.shape)
    return np.array(values, np.int64).reshape(mean.shape) + mean // 8, known


def continuous(bundle: Bundle, data: bytes, cut: bool, rate: int, h: int, w: int) -> np.ndarray:
    """y (h, w, C) of a section 1. FormatError for data that cannot be. cut: the end may be missing."""
    decoder = CutDecoder(data) if cut else RangeDecoder(data)
    y, _, complete = stream(bundle, decoder, anchor_rate(rate, bundle), h, w)
    if not complete:
        raise FormatError("too short: not all of z is there")
    return y


def anchor_rate(rate: int, bundle: Bundle) -> int:
    """Section 2, and 5.1 for files without a continuous stream."""
    if rate == 0:
        return bundle.rates
    level = rate - 1
    return min((2 * level * (bundle.rates - 1) + RATE_ONE) // (2 * RATE_ONE), bundle.rates - 1)


def enhancement(bundle: Bundle, data: bytes, cut: bool, below: tuple[int, np.ndarray]) -> tuple[int, np.ndarray]:
    """Section 3.6: rate and y, with 0 where it is not known. below: the same of the layer below."""
    rate, y = data[0], below[1]
    if not 1 <= rate <= RATES:
        raise FormatError(f"rate {rate} of an enhancement needs a newer version")
    decoder = CutDecoder(data[1:]) if cut else RangeDecoder(data[1:])
    limits = bounds(bundle, below[0], rate, y)
    found, known, _ = stream(bundle, decoder, anchor_rate(rate, bundle), y.shape[0], y.shape[1], limits)
    return rate, np.where(known, found, 0)


def bounds(bundle: Bundle, low: int, high: int, y: np.ndarray) -> Bounds:
    """Section 3.6: the least and the greatest that values of rate `high` should be, by y of rate `low`."""
    ratio = np.array([step_ratio(e) for e in octaves(bundle, low, high)])
    size = np.abs(y)
    most = (ratio * (16 * size + 10) + 7 * 2**16) // 2**20
    least = np.where(size > 0, (ratio * (16 * size - 7) + 6 * 2**16) // 2**20, -most)
    return np.where(y < 0, -most, least), np.where(y < 0, -least, most)


def octaves(bundle: Bundle, low: int, high: int) -> list[int]:
    """How much finer the steps of rate `high` are, in 64ths of an octave."""

    def logarithm(rate: int, channel: int) -> int:
        place = (rate - 1) * (bundle.rates - 1)
        row = min(place // RATE_ONE, max(0, bundle.rates - 2))  # beyond the last row the line goes on
        part = place - RATE_ONE * row
        column = [*bundle.gains[:, channel].tolist(), 0]  # with one row there is no part
        return (RATE_ONE - part) * column[row] + part * column[row + 1]

    apart = [logarithm(high, c) - logarithm(low, c) for c in range(bundle.channels)]
    return [max(-640, min(640, (375 * d + 2**23) // 2**24)) for d in apart]


def step_ratio(octaves: int) -> int:
    """2^(16 + octaves / 64), rounded down twice."""
    return POWER[octaves % 64] * 2**640 // 2 ** (640 - octaves // 64)


def stream(
    bundle: Bundle, decoder: Decoder, anchor: int, h: int, w: int, bounds: Bounds | None = None
) -> tuple[np.ndarray, np.ndarray, bool]:
    """y (h, w, C), which of it is known, and whether z is."""
    z = hyper_latent(bundle, decoder, anchor, -(-h // 4), -(-w // 4))
    complete = decoder.open
    hyper = hyper_features(bundle, z, anchor)[:h, :w]
    y = np.zeros((h, w, bundle.channels), np.int64)
    known = np.zeros(y.shape, bool)
    first = 0
    for s, size in enumerate(bundle.slices):
        channels = slice(first, first + size)
        passes = bundle.passes[s] if bundle.passes else 2
        for turn in range(passes):
            own = f"latent.slices.{s}.own.{turn - 1}" if turn and bundle.passes else None
            mean, scale = slice_parameters(bundle, f"latent.slices.{s}", own, hyper, y, channels)
            rows, cols = positions(h, w, passes, turn)
            within = None
            if bounds is not None:
                within = bounds[0][rows, cols, channels], bounds[1][rows, cols, channels]
            values, there = group(bundle, decoder, mean[rows, cols], scale[rows, cols], within)
            y[rows, cols, channels], known[rows, cols, channels] = values, there
        first += size
    if np.abs(y).max() > 32767:
        raise FormatError("damaged: a latent is out of range")
    return y, known, complete


def positions(h: int, w: int, passes: int, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """Section 3.4: rows and columns of a pass, in order."""
    rows, cols = np.indices((h, w))
    order = {1: 0 * rows, 2: (rows + cols) % 2, 4: 2 * ((rows + cols) % 2) + rows % 2}[passes]
    here = order == turn
    return rows[here], cols[here]


def hyper_latent(bundle: Bundle, decoder: Decoder, anchor: int, rows: int, cols: int) -> np.ndarray:
    """Section 3.2: z (rows, cols, Z)."""
    mean = bundle.rows("latent.z_mean")[anchor]
    scale = scale_index(bundle.rows("latent.z_scale")[anchor], 3, bundle.scales)
    shape = (rows, cols, bundle.hyper)
    return group(bundle, decoder, np.broadcast_to(mean, shape), np.broadcast_to(scale, shape))[0]


def hyper_features(bundle: Bundle, z: np.ndarray, anchor: int) -> np.ndarray:
    """Section 3.3, on the whole grid above z."""
    up1, up2 = bundle.layer("latent.up1"), bundle.layer("latent.up2")
    x = upscale(act(conv3(table(z, SQUASH), up1), up1))
    x = upscale(act(conv3(table(x, GELU), up2), up2))
    return table(x + bundle.rows("latent.rate")[anchor], GELU)


def slice_parameters(
    bundle: Bundle, name: str, own: str | None, hyper: np.ndarray, y: np.ndarray, channels: slice
) -> tuple[np.ndarray, np.ndarray]:
    """Section 3.4: means in eighths and scale indices of a slice, both (h, w, c_S), from what is known of y."""
    local, mix, everywhere, out = (bundle.layer(f"{name}.{k}") for k in ("local", "mix", "everywhere", "out"))
    x = np.concatenate([hyper, table(y, SQUASH)], axis=-1)[..., : local.weight.shape[1] // 9]
    x = act(conv3(x, local), local)
    if own is not None:
        layer = bundle.layer(own)
        x = x + act(conv3(table(y[..., channels], SQUASH), layer), layer)
    x = table(x, GELU)
    g = act(linear(grid_mean(x), everywhere), everywhere)
    x = table(act(linear(x, mix), mix) + g, GELU)
    o = linear(x, out)
    size = o.shape[-1] // 2
    return shift(o[..., :size], out.acc_bits - 3, 1024), scale_index(o[..., size:], out.acc_bits, bundle.scales)
