"""Symbols out of bytes (container.md, section 2), in Python's integers, which have no bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hflow.errors import FormatError

ESCAPE = 31
MAX_PREFIX = 20


class RangeDecoder:
    """One message. The bytes are followed by zeros without end."""

    open = True  # no symbol was missing

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.position = 0
        self.offset = self.take(8)
        self.range = 2**64 - 1

    def take(self, n: int) -> int:
        """The next n bytes as a big-endian number."""
        taken = self.message[self.position : self.position + n]
        self.position += n
        return int.from_bytes(taken + bytes(n - len(taken)), "big")

    def symbol(self, frequencies: Sequence[int]) -> int:
        """One symbol in 0..V-1 under V frequencies >= 1 that sum to a power of two, at most 2^24."""
        if len(frequencies) == 1:
            return 0
        quantile = self.quantile()
        start, unit = 0, 2**24 // sum(frequencies)
        for s, f in enumerate(frequencies):
            if quantile < start + unit * f:
                self.consume(start, unit * f)
                return s
            start += unit * f
        raise ValueError("the frequencies do not sum to a power of two")

    def raw(self, bits: int) -> int:
        """One raw value of n bits."""
        if bits == 0:
            return 0
        size = 2 ** (24 - bits)
        value = self.quantile() // size
        self.consume(value * size, size)
        return value

    def escaped(self) -> int:
        """A value of magnitude 16 or more (section 2.5): its sign, then its magnitude as Exp-Golomb of order 0."""
        negative = self.raw(1)
        p = 0
        while self.raw(1) == 0:
            p += 1
            if p > MAX_PREFIX:
                raise FormatError("damaged: a latent is out of range")
        u = self.raw(p) + 2**p - 1
        return -(u + 16) if negative else u + 16

    def quantile(self) -> int:
        quantile = self.offset // (self.range // 2**24)
        if quantile >= 2**24:
            raise FormatError("damaged: a stream holds what no encoder writes")
        return quantile

    def consume(self, start: int, size: int) -> None:
        scale = self.range // 2**24
        self.offset -= scale * start
        self.range = scale * size
        if self.range < 2**32:
            self.range *= 2**32
            self.offset = self.offset * 2**32 + self.take(4)


class CutDecoder:
    """A message whose end is missing (section 2.6): what its bytes determine, and None from there on."""

    def __init__(self, message: bytes) -> None:
        self.readings = RangeDecoder(message), RangeDecoder(message + b"\xff" * 64)
        self.open = True

    def symbol(self, frequencies: Sequence[int]) -> int | None:
        return self.agreed(lambda reading: reading.symbol(frequencies))

    def escaped(self) -> int | None:
        return self.agreed(lambda reading: reading.escaped())

    def agreed(self, read: Callable[[RangeDecoder], int]) -> int | None:
        if self.open:
            try:
                one, other = (read(reading) for reading in self.readings)
                self.open = one == other
            except FormatError:
                self.open = False
        return one if self.open else None


def latents(
    decoder: RangeDecoder | CutDecoder, tables: Sequence[Sequence[int]], numbers: Sequence[int],
    bounds: Sequence[tuple[int, int]] | None = None,
) -> list[int | None]:  # fmt: skip
    """A group of latents minus their integer means: value n under tables[numbers[n]] (sections 2.4 and 2.5).

    bounds: the least and the greatest that each value should be, by which its table is narrowed (section 2.7).
    """
    order = sorted(range(len(numbers)), key=lambda n: (numbers[n], n))
    values: dict[int, int | None] = {}
    for n in order:
        table = tables[numbers[n]]
        symbol = decoder.symbol(table if bounds is None else narrowed(table, *bounds[n]))
        values[n] = None if symbol is None else symbol - 15
    for n in order:
        if values[n] == ESCAPE - 15:
            values[n] = decoder.escaped()
    return [values[n] for n in range(len(numbers))]


def narrowed(table: Sequence[int], low: int, high: int) -> list[int]:
    """Section 2.7: the table of a value that should be in low..high."""
    inside = [low <= s - 15 <= high for s in range(ESCAPE)] + [high > 15 or low < -15]
    kept = [f if there else f // 256 for f, there in zip(table, inside, strict=True)]
    total = sum(table)
    out = [1 + k * (total - 32) // sum(kept) for k in kept]
    out[out.index(max(out))] += total - sum(out)
    return out
