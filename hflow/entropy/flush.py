"""From the range coder's last interval to the fewest bytes that lie in it."""

import numpy as np
import numpy.typing as npt

WORD = 32
STATE = 64


def shortest(words: npt.NDArray[np.uint32], position: int, lower: int, width: int) -> bytes:
    """The shortest bytes which, followed by zeros without end, decode to what was encoded.

    words: constriction's sealed output, a point in the final interval. position: words shifted out of the state.
    lower, width: the state, 64 bits each. The interval is [low, low + width) as integers of position + 2 words; a
    carry can still be on its way from `lower` into the words before it, so `low` is found backwards from the point.
    """
    size = WORD * position + STATE
    point = int.from_bytes(words.astype(">u4").tobytes(), "big") << (size - WORD * len(words))
    low = point - ((point - lower) & ((1 << STATE) - 1))
    best = low
    for shift in range(8, size + 1, 8):
        rounded = -(-low >> shift) << shift  # the first multiple of 2**shift that is not below
        if rounded >= low + width:
            break
        best = rounded
    return best.to_bytes(size // 8, "big").rstrip(b"\0")
