"""Enhancement layers: the latent again in finer steps, coded by a decoder who has it in coarser ones.

What is known of a value narrows its table to the values that it can still have, so little is said twice (the base and
enhancement layers of scalable video; formats/decoding.md, 3.6). The beginning of such a file is a file of lower rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from hflow.codec import latents, pixels
from hflow.codec.geometry import LEVELS, RATE_ONE, Geometry
from hflow.entropy import Bounds
from hflow.errors import FormatError
from hflow.integer import scales as S
from hflow.nets.bundle import Model

POWERS = np.array(S.power_table(), dtype=np.int64)
Below = tuple[int, np.ndarray]  # rate level and y of the layer below


@dataclass(frozen=True)
class Layer:
    """One layer: its rate level, y (h, w, C) with 0 where it is not known, and where it is, (h, w, C) bool."""

    level: int
    y: np.ndarray
    known: np.ndarray


def ratios(model: Model, low: int, high: int) -> np.ndarray:
    """Steps of level `low` over those of level `high`, (C,), in units of 2^-16: integers from the stored gains."""
    gains = np.floor(model.nets.gain.log_gain.detach().double().cpu().numpy() * 2**16).astype(np.int64)

    def at(level: int) -> Any:  # 63 times the logarithm
        place = level * (len(gains) - 1)
        row = min(place // RATE_ONE, max(0, len(gains) - 2))
        part = place - row * RATE_ONE
        return (RATE_ONE - part) * gains[row] + part * gains[min(row + 1, len(gains) - 1)]

    octaves = (375 * (at(high) - at(low)) + 2**23) >> 24  # in 64ths
    octaves = octaves.clip(-S.OCTAVES * 64, S.OCTAVES * 64)
    power, shift = POWERS[octaves & 63], octaves >> 6
    return np.where(shift < 0, power >> np.maximum(-shift, 0), power << np.maximum(shift, 0))


def bounds(model: Model, below: Below, level: int) -> Bounds:
    """The least and the greatest that values of a layer should be, (h, w, C) both, by the layer below it."""
    low, y = below
    ratio, size = ratios(model, low, level), np.abs(y)
    most = ((16 * size + 10) * ratio + (7 << 16)) >> 20
    least = np.where(size == 0, -most, ((16 * size - 7) * ratio + (6 << 16)) >> 20)
    return np.where(y < 0, -most, least), np.where(y < 0, -least, most)


def write(model: Model, geo: Geometry, below: Below, level: int, z: np.ndarray, y: np.ndarray) -> bytes:
    """The section's bytes: the rate as in the header, then the stream."""
    return bytes([1 + level]) + latents.write(model, geo, level, z, y, bounds(model, below, level))


def measure(model: Model, geo: Geometry, below: Below, level: int, z: np.ndarray, y: np.ndarray) -> float:
    """The section's size in bytes, without writing it."""
    return 1 + latents.measure(model, geo, level, z, y, bounds(model, below, level)) / 8


def level_of(data: bytes) -> int:
    """The rate level of a section that is not empty. FormatError if there is none such."""
    if not 1 <= data[0] <= LEVELS:
        raise FormatError(f"rate {data[0]} of an enhancement needs a newer hflow")
    return data[0] - 1


def read(model: Model, geo: Geometry, below: Below, data: bytes, cut: bool) -> Layer:
    """A section that is not empty. cut: its end may be missing. FormatError if the bytes cannot be."""
    level = level_of(data)
    if cut:
        return Layer(level, *latents.read_known(model, geo, level, data[1:], bounds(model, below, level)))
    y = read_both(model, geo, below, data)[1]
    return Layer(level, y, np.ones(y.shape, dtype=bool))


def read_both(model: Model, geo: Geometry, below: Below, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """z and y of a whole section. FormatError if the bytes cannot be."""
    level = level_of(data)
    return latents.read_both(model, geo, level, data[1:], bounds(model, below, level))


def merged(model: Model, level: int, y: np.ndarray, layers: Sequence[Layer]) -> tuple[float, np.ndarray]:
    """What a synthesis is given for y and the layers above it: a rate level, which may lie between two, and y.

    Every value is the finest that is known. The level rises with the share that is, each slice counting alike.
    """
    if not layers:
        return level, y
    values, told, ends = y / gain(model, level), float(level), np.cumsum([0, *model.cfg.slices])
    for layer in layers:
        share = np.mean([layer.known[..., a:b].mean() for a, b in pairwise(ends)])
        told += float(share) * (layer.level - told)
        values = np.where(layer.known, layer.y / gain(model, layer.level), values)
    return told, values * gain(model, told)


def gain(model: Model, level: float) -> np.ndarray:
    """One over the step of each channel, (C,)."""
    with torch.no_grad():
        found: np.ndarray = model.nets.gain(pixels.rate_tensor(model, level))[0, :, 0, 0].double().cpu().numpy()
    return found
