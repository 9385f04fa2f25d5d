"""Mask schedules and quincunx stages as arrays over a token grid."""

from __future__ import annotations

import numpy as np

from hflow import masks

PERIOD = 12  # of every schedule and of the stages


def _tiled(h: int, w: int, cell: np.ndarray) -> np.ndarray:
    return np.tile(cell, (-(-h // PERIOD), -(-w // PERIOD)))[:h, :w]


def sent_grid(h: int, w: int, mask: str) -> np.ndarray:
    """(h, w) bool: whether the schedule labelled `mask` sends the token."""
    return _tiled(h, w, np.array([[masks.sent(r, c, mask) for c in range(PERIOD)] for r in range(PERIOD)]))


def stage_grid(h: int, w: int) -> np.ndarray:
    """(h, w) int: the quincunx stage, 1 to 5."""
    return _tiled(h, w, np.array([[masks.stage(r, c) for c in range(PERIOD)] for r in range(PERIOD)]))
