"""Which tokens are sent, and in which stage (decoding.md, section 4.1; container.md, section 1.4)."""

from __future__ import annotations

import numpy as np

from hflow.reference.range_decoder import RangeDecoder

SCHEDULES = ("none", "1_16", "1_9", "1_4", "1_2", "all")


def sent(row: int, col: int, schedule: str) -> bool:
    """Whether the token is sent."""
    if schedule in ("1_16", "1_9", "1_4"):
        n = {"1_16": 4, "1_9": 3, "1_4": 2}[schedule]
        return row % n == 0 and col % n == 0
    return {"none": False, "1_2": (row + col) % 2 == 0, "all": True}[schedule]


def stage(row: int, col: int) -> int:
    """The quincunx stage, 1 to 5."""
    if (row + col) % 2 == 1:
        return 5
    if row % 2 == 1:
        return 4
    if row % 4 == 0 and col % 4 == 0:
        return 1
    if row % 4 == 2 and col % 4 == 2:
        return 2
    return 3


def sent_grid(schedule: str, section: bytes | None, grid: tuple[int, int]) -> np.ndarray:
    """(*grid) bool. section: the mask section's data, where the schedule is `coded`."""
    out = np.zeros(grid, bool)
    regions = coded(section or b"", -(-grid[0] // 4), -(-grid[1] // 4)) if schedule == "coded" else None
    for r, c in np.ndindex(*grid):
        out[r, c] = sent(r, c, schedule if regions is None else SCHEDULES[regions[r // 4][c // 4]])
    return out


def coded(section: bytes, rows: int, cols: int) -> list[list[int]]:
    """The schedule of each region."""
    decoder = RangeDecoder(section)
    regions: list[list[int]] = []
    n = [0] * 6
    for r in range(rows):
        regions.append([])
        for c in range(cols):
            w = [2 + 2 * k for k in n]
            for neighbour in ([regions[r][c - 1]] if c > 0 else []) + ([regions[r - 1][c]] if r > 0 else []):
                w[neighbour] += sum(n) + 4
            f = [1 + 65530 * k // sum(w) for k in w]
            f[0] += 65536 - sum(f)
            s = decoder.symbol(f)
            n[s] += 1
            regions[r].append(s)
    return regions
