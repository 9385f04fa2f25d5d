"""Complexity-aware masks (HybridFlow, ACM MM 2024, 3.2): more tokens where a picture is harder to guess.

Four measures of a region, each scaled by what photos show, are averaged; two thresholds make three schedules.
"""

from __future__ import annotations

import numpy as np

from hflow.codec.geometry import TOKEN
from hflow.codec.masking import REGION
from hflow.masks import LABELS

SIDE = REGION * TOKEN  # pixels on a side of a region
THRESHOLDS = (0.24, 0.77)
SCHEDULES = ("1_9", "1_4", "1_2")
# 5th and 95th percentiles on the training photos (`python -m hflow.train.complexity`).
RANGES = {"entropy": (3.7, 7.5), "contrast": (5.0, 69.0), "colours": (1.2, 28.0), "frequency": (0.5, 20.0)}


def measures(rgb: np.ndarray) -> dict[str, np.ndarray]:
    """Of a picture (H, W, 3) uint8, each (rows, columns) over its regions; edge pixels are repeated up to whole ones.

    entropy: of the luminance histogram, bits. contrast: standard deviation of luminance. colours: mean of the standard
    deviations of the two chroma planes. frequency: mean magnitude of luminance steps between neighbours.
    """
    pad = [(0, -n % SIDE) for n in rgb.shape[:2]]
    x = np.pad(rgb, (*pad, (0, 0)), mode="edge").astype(np.float32)
    rows, columns = x.shape[0] // SIDE, x.shape[1] // SIDE

    def tiles(plane: np.ndarray) -> np.ndarray:
        return plane.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2).reshape(rows, columns, -1)

    y = x @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    steps = np.abs(np.diff(y, axis=0, append=y[-1:])) + np.abs(np.diff(y, axis=1, append=y[:, -1:]))
    bins = tiles(y).astype(np.int64).clip(0, 255)
    place = np.arange(rows * columns).reshape(rows, columns, 1)
    counts = np.bincount((256 * place + bins).ravel(), minlength=256 * rows * columns).reshape(rows, columns, 256)
    p = counts / SIDE**2
    return {
        "entropy": -(p * np.log2(np.maximum(p, 1e-12))).sum(2),
        "contrast": tiles(y).std(2),
        "colours": (tiles(x[..., 0] - y).std(2) + tiles(x[..., 2] - y).std(2)) / 2,
        "frequency": tiles(steps).mean(2) / 2,
    }


def complexity(rgb: np.ndarray) -> np.ndarray:
    """The mean of the scaled measures of each region, (rows, columns) in 0..1."""
    found = measures(rgb)
    return np.mean([((found[k] - a) / (b - a)).clip(0, 1) for k, (a, b) in RANGES.items()], axis=0)


def mask(rgb: np.ndarray) -> np.ndarray:
    """The schedule of each region, (rows, columns), as an index into `masks.LABELS`."""
    steps = np.searchsorted(THRESHOLDS, complexity(rgb), side="right")
    return np.array([LABELS.index(s) for s in SCHEDULES])[steps]
