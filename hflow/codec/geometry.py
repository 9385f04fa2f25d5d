"""Which grids belong to a picture's size."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = 80  # rate levels: a file's rate byte is 1 + level, 0 means no continuous stream
RATE_ONE = 63  # the level of rate 1, where anchors end; from there on their last line is carried on
CELL, TOKEN = 32, 16  # pixels per cell of the latent and per token


@dataclass(frozen=True)
class Geometry:
    """Grids of a width x height picture: y on 1/32 (h, w), z on 1/128, tokens on 1/16.

    The token network works on (2h, 2w), the tokens of the picture itself are the top left (th, tw) of it.
    """

    width: int
    height: int

    @property
    def h(self) -> int:
        return -(-self.height // CELL)

    @property
    def w(self) -> int:
        return -(-self.width // CELL)

    @property
    def area(self) -> int:
        """Pixels of all of its cells, which is what networks work on: at a strip's edge most of a cell is outside."""
        return self.h * self.w * CELL**2

    @property
    def zh(self) -> int:
        return -(-self.h // 4)

    @property
    def zw(self) -> int:
        return -(-self.w // 4)

    @property
    def th(self) -> int:
        return -(-self.height // TOKEN)

    @property
    def tw(self) -> int:
        return -(-self.width // TOKEN)


def anchor(level: int, rates: int) -> int:
    """The anchor rate nearest to a level, rounded half up; beyond the last the last."""
    return min((2 * level * (rates - 1) + RATE_ONE) // (2 * RATE_ONE), rates - 1)
