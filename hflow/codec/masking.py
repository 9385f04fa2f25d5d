"""Coded masks: a schedule for every region of 4x4 tokens, and the section that says which (formats/container.md, 1.4).

The model is adaptive: a region tends to have the schedule of its left and upper neighbours, and schedules that were
used are used again. A mask of one schedule costs a byte or two.
"""

from __future__ import annotations

import numpy as np

from hflow.entropy import TOTAL, Decoder, Encoder
from hflow.masks import LABELS
from hflow.nets.grids import sent_grid

REGION = 4  # tokens on a side, 64 pixels


def regions(th: int, tw: int) -> tuple[int, int]:
    """Rows and columns of the region grid over a token grid."""
    return -(-th // REGION), -(-tw // REGION)


def sent_tokens(labels: np.ndarray, th: int, tw: int) -> np.ndarray:
    """Which tokens are sent, (th, tw) bool, with these schedules (rows, columns) of the regions.

    A schedule is its index in `masks.LABELS`; it counts rows and columns of the whole picture.
    """
    wide = np.repeat(np.repeat(labels, REGION, 0), REGION, 1)[:th, :tw]
    every = np.stack([sent_grid(th, tw, label) for label in LABELS])
    return np.take_along_axis(every, wide[None], 0)[0]


def _frequencies(labels: np.ndarray, counts: np.ndarray, r: int, c: int) -> np.ndarray:
    """The table (1, 6) of the region at (r, c), given those before it."""
    weight = 2 + 2 * counts
    for near in ([labels[r, c - 1]] if c else []) + ([labels[r - 1, c]] if r else []):
        weight[near] += int(counts.sum()) + 4
    freq = 1 + (TOTAL - len(LABELS)) * weight // weight.sum()
    freq[0] += TOTAL - freq.sum()
    return freq[None]


def write(labels: np.ndarray) -> bytes:
    """Schedules (rows, columns), 0..5, to a mask section's bytes."""
    coder, counts = Encoder(), np.zeros(len(LABELS), dtype=np.int64)
    for r, c in np.ndindex(*labels.shape):
        coder.encode(labels[r, c : c + 1].astype(np.int64), _frequencies(labels, counts, r, c))
        counts[labels[r, c]] += 1
    return coder.finish()


def read(data: bytes, rows: int, columns: int) -> np.ndarray:
    """The mirror of `write`. FormatError if the bytes cannot be."""
    coder, counts = Decoder(data), np.zeros(len(LABELS), dtype=np.int64)
    labels = np.zeros((rows, columns), dtype=np.int64)
    for r, c in np.ndindex(rows, columns):
        labels[r, c] = coder.decode(_frequencies(labels, counts, r, c))[0]
        counts[labels[r, c]] += 1
    return labels
