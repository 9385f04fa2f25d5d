"""Which tokens of a grid are sent, and in which order: the mask schedules and the five quincunx stages."""

from __future__ import annotations

PERIODS = {"1_16": 4, "1_9": 3, "1_4": 2}  # one token sent out of each n x n block: its top left one
LABELS = ("none", "1_16", "1_9", "1_4", "1_2", "all")
STAGES = 5


def sent(row: int, col: int, mask: str) -> bool:
    """Whether the schedule `mask` sends the token at (row, col)."""
    if mask in PERIODS:
        return row % PERIODS[mask] == 0 and col % PERIODS[mask] == 0
    if mask == "1_2":
        return (row + col) % 2 == 0
    if mask in ("all", "none"):
        return mask == "all"
    raise ValueError(f"{mask!r} is not a mask schedule")


def count(h: int, w: int, mask: str) -> int:
    """How many positions of an h x w grid the schedule `mask` sends."""
    if mask in PERIODS:
        n = PERIODS[mask]
        return -(-h // n) * -(-w // n)
    if mask == "1_2":
        return (h * w + 1) // 2
    return h * w if sent(0, 0, mask) else 0


def stage(row: int, col: int) -> int:
    """The stage, 1 to 5, in which the token at (row, col) is coded: each doubles the tokens known, or nearly."""
    if (row + col) % 2:
        return 5
    if row % 2:
        return 4
    if row % 4 == col % 4 == 0:
        return 1
    if row % 4 == col % 4 == 2:
        return 2
    return 3
