"""The continuous stream (decoding.md, section 3): section data to y."""

from __future__ import annotations

import numpy as np

from hflow.errors import FormatError
from hflow.reference.bundle import Bundle
from hflow.reference.ops import act, conv3, grid_mean, linear, scale_index, shift, table, upscale
from hflow.reference.range_decoder import CutDecoder, RangeDecoder, latents
from hflow.reference.tables import GELU, LATENT, SQUASH


def group(decoder: RangeDecoder | CutDecoder, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Sections 3.1 and 3.5: values of the shape of their means, coded in the order in which they are stored."""
    numbers = (8 * scale + mean % 8).ravel().tolist()
    nearest = (mean % 8 >= 4).ravel().tolist()
    values = [n if v is None else v for v, n in zip(latents(decoder, LATENT, numbers), nearest, strict=True)]
    return np.array(values, np.int64).reshape(mean.shape) + mean // 8


def continuous(bundle: Bundle, data: bytes, cut: bool, anchor: int, h: int, w: int) -> np.ndarray:
    """y (h, w, C). FormatError for data that cannot be. cut: the end may be missing."""
    decoder = CutDecoder(data) if cut else RangeDecoder(data)
    z = hyper_latent(bundle, decoder, anchor, -(-h // 4), -(-w // 4))
    if not decoder.open:
        raise FormatError("too short: not all of z is there")
    hyper = hyper_features(bundle, z, anchor)[:h, :w]
    y = np.zeros((h, w, bundle.channels), np.int64)
    first = 0
    for s, size in enumerate(bundle.slices):
        channels = slice(first, first + size)
        for odd in (0, 1):
            mean, scale = slice_parameters(bundle, f"latent.slices.{s}", hyper, y)
            rows, cols = np.nonzero(np.add.outer(np.arange(h), np.arange(w)) % 2 == odd)
            y[rows, cols, channels] = group(decoder, mean[rows, cols], scale[rows, cols])
        first += size
    if np.abs(y).max() > 32767:
        raise FormatError("damaged: a latent is out of range")
    return y


def hyper_latent(bundle: Bundle, decoder: RangeDecoder | CutDecoder, anchor: int, rows: int, cols: int) -> np.ndarray:
    """Section 3.2: z (rows, cols, Z)."""
    mean = bundle.rows("latent.z_mean")[anchor]
    scale = scale_index(bundle.rows("latent.z_scale")[anchor], 3)
    shape = (rows, cols, bundle.hyper)
    return group(decoder, np.broadcast_to(mean, shape), np.broadcast_to(scale, shape))


def hyper_features(bundle: Bundle, z: np.ndarray, anchor: int) -> np.ndarray:
    """Section 3.3, on the whole grid above z."""
    up1, up2 = bundle.layer("latent.up1"), bundle.layer("latent.up2")
    x = upscale(act(conv3(table(z, SQUASH), up1), up1))
    x = upscale(act(conv3(table(x, GELU), up2), up2))
    return table(x + bundle.rows("latent.rate")[anchor], GELU)


def slice_parameters(bundle: Bundle, name: str, hyper: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Section 3.4: means in eighths and scale indices of a slice, both (h, w, c_S), from what is known of y."""
    local, mix, everywhere, out = (bundle.layer(f"{name}.{k}") for k in ("local", "mix", "everywhere", "out"))
    x = np.concatenate([hyper, table(y, SQUASH)], axis=-1)
    x = table(act(conv3(x, local), local), GELU)
    g = act(linear(grid_mean(x), everywhere), everywhere)
    x = table(act(linear(x, mix), mix) + g, GELU)
    o = linear(x, out)
    size = o.shape[-1] // 2
    return shift(o[..., :size], out.acc_bits - 3, 1024), scale_index(o[..., size:], out.acc_bits)
