"""Files whose beginnings are good pictures: a base layer of a fraction of the size, and enhancement layers above it.

A file in one layer spends its first bytes on the coarse channels, in steps as fine as the whole file needs; cut short,
it lacks the others. In layers each beginning has steps that suit its own size. That costs some of the whole file's
quality (docs/rate.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hflow.codec import enhancement
from hflow.codec.enhancement import Below
from hflow.codec.rate import FIXED, Choice, Coder, choose, setting

SHARES = 0.22, 0.52  # of the size, at which the layers below the last one end
EXPLICIT = 2  # bytes that a file grows by with the explicit layout and one section
EACH = 3  # type and length of one more section, at least


def choose_progressive(coder: Coder, budget: int) -> Choice:
    """The settings for a file of at most `budget` bytes, in layers, without tokens. TargetError as `rate.choose`."""
    room = float(budget - FIXED - EXPLICIT - 1)
    first = coder.highest(SHARES[0] * room)
    if first is None:
        return choose(coder, budget, "none")
    choice = coder.code(setting(first)[0], 0, "none", setting(first)[1])
    assert choice.level is not None and choice.y is not None
    below: Below = choice.level, choice.y
    for share in (*SHARES[1:], 1.0):
        left = share * room - (choice.size - FIXED) - EACH
        step = coder.highest(left, sizes(coder, below))
        while step is not None and setting(step)[0] > below[0]:
            found = layered(coder, choice, below, step)
            if found.size <= budget:
                level, y = found.layers[-1][:2]
                choice, below = found, (level, y)
                break
            step -= 1
    return choice


def layered(coder: Coder, choice: Choice, below: Below, step: int) -> Choice:
    """A choice with one layer more, at a rate step."""
    level, offset = setting(step)
    z, y, _ = coder.continuous(level, offset)
    data = enhancement.write(coder.model, coder.geo, below, level, z, y)
    return choice.above(level, y, data)


def sizes(coder: Coder, below: Below) -> Callable[[int], float]:
    """Bytes of the next layer at a rate step."""

    def size(step: int) -> float:
        level, offset = setting(step)
        z, y, _ = coder.continuous(level, offset)
        return enhancement.measure(coder.model, coder.geo, below, level, z, y)

    return size


def ys(choice: Choice) -> list[np.ndarray]:
    """What the enhancement layers of a choice say."""
    return [y for _, y, _ in choice.layers]
