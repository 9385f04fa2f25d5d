"""The range coder of formats/container.md in plain big-integer Python: slow, obvious, no float anywhere.

The encoder keeps the whole number instead of a window with carries, so it shares no trick with constriction.
"""

from dataclasses import dataclass, field

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


@dataclass
class ReferenceEncoder:
    low: int = 0  # of size 64 + 32 * shifts bits
    range: int = MASK64
    shifts: int = 0

    def put(self, start: int, frequency: int) -> None:
        """Code the interval [start, start + frequency) of 2**24."""
        scale = self.range >> 24
        self.low += scale * start
        self.range = scale * frequency
        if self.range < 1 << 32:
            self.low <<= 32
            self.range <<= 32
            self.shifts += 1

    def symbol(self, symbol: int, table: list[int]) -> None:
        self.put(256 * sum(table[:symbol]), 256 * table[symbol])

    def bits(self, value: int, nbits: int) -> None:
        if nbits:
            self.put(value << (24 - nbits), 1 << (24 - nbits))

    def finish(self) -> bytes:
        size = 8 + 4 * self.shifts
        for length in range(size + 1):  # fewest bytes first, then the lowest number
            unit = 1 << 8 * (size - length)
            first = -(-self.low // unit)
            if first * unit < self.low + self.range:
                return first.to_bytes(length, "big") if length else b""
        raise AssertionError


@dataclass
class ReferenceDecoder:
    data: bytes
    range: int = MASK64
    offset: int = field(init=False)  # the point minus the low end of the interval

    def __post_init__(self) -> None:
        self.offset = self.read(0, 8)
        self.used = 8

    def read(self, start: int, size: int) -> int:
        return int.from_bytes(self.data[start : start + size].ljust(size, b"\0"), "big")

    def symbol(self, table: list[int]) -> int:
        scale = self.range >> 24
        quantile = self.offset // scale
        assert quantile < 1 << 24, "invalid data"
        symbol, start = 0, 0
        while quantile >= start + 256 * table[symbol]:
            start += 256 * table[symbol]
            symbol += 1
        self.offset -= scale * start
        self.range = scale * 256 * table[symbol]
        if self.range < 1 << 32:
            self.range <<= 32
            self.offset = (self.offset << 32) | self.read(self.used, 4)
            self.used += 4
        return symbol
