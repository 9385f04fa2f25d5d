"""Regions of interest: outside of them the continuous stream is as coarse as some rate levels below.

The decoder knows nothing of it. Values that a coarser quantizer would round to zero are zero; they cost next to
nothing, and what is saved goes into a higher rate level for the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hflow.codec.geometry import CELL, Geometry
from hflow.codec.pixels import rate_tensor
from hflow.errors import InputError
from hflow.nets.bundle import Model

BELOW = 12  # rate levels


@dataclass(frozen=True)
class Region:
    """How much each cell counts, (h, w) in 0..1."""

    weight: np.ndarray

    @staticmethod
    def of(mask: np.ndarray, geo: Geometry) -> Region:
        """Of a mask (height, width), bool or in 0..1: a cell counts as much as its most important pixel.

        InputError for a mask of another size, or one that marks nothing.
        """
        mask = np.asarray(mask, dtype=np.float32)
        if mask.shape != (geo.height, geo.width):
            sides = "x".join(str(n) for n in mask.shape[::-1])
            raise InputError(f"the mask is {sides}, the picture {geo.width}x{geo.height}")
        if not (mask.min() >= 0 and 0 < mask.max() <= 1):
            raise InputError("the mask marks nothing" if mask.max() == 0 else "mask values must be in 0..1")
        padded = np.zeros((geo.h * CELL, geo.w * CELL), dtype=np.float32)
        padded[: geo.height, : geo.width] = mask
        return Region(padded.reshape(geo.h, CELL, geo.w, CELL).max((1, 3)))

    def least(self, model: Model, level: int, offset: float) -> np.ndarray:
        """Below how many steps a value becomes 0, (h, w), at a rate level and rounding offset."""
        with torch.inference_mode():
            now, then = (model.nets.gain(rate_tensor(model, max(0, n))).log().mean() for n in (level, level - BELOW))
        coarser = float((now - then).exp())
        return (1 - offset) * coarser ** (1 - self.weight)


def rectangle(x: int, y: int, width: int, height: int, geo: Geometry) -> Region:
    """Of pixels [x, x + width) and [y, y + height). InputError unless they lie within the picture."""
    if not (0 <= x < x + width <= geo.width and 0 <= y < y + height <= geo.height):
        raise InputError(f"the region {x},{y},{width},{height} is not within {geo.width}x{geo.height} pixels")
    mask = np.zeros((geo.height, geo.width), dtype=np.bool_)
    mask[y : y + height, x : x + width] = True
    return Region.of(mask, geo)
